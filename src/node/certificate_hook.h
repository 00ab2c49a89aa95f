#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/worker.h"
#include "identity/certificate.h"
#include "net/loop.h"
#include "node/hook_times.h"
#include "settings/settings.h"

namespace postern::node {

/// Runs the command of `certificates: {hook}` when the certificate in use is to be renewed and
/// nobody here does it. What it fetches it leaves in `certificates: {folder}`, where
/// CertificateInbox finds it; nothing else of it counts. Belongs to the core loop; the command runs
/// on a thread of its own, and is killed when this ends.
class CertificateHook {
 public:
  struct Facts {
    std::vector<std::string> command;
    std::filesystem::path folder, state;
    std::string name, role;
    bool operator==(const Facts&) const = default;
  };
  /// All of these outlive it. Says at once when the program cannot be trusted; it is asked again
  /// before each run.
  CertificateHook(Loop& core, Workers& workers, const Clock& clock, Random& random, const Log& log,
                  Facts facts);
  ~CertificateHook();
  CertificateHook(const CertificateHook&) = delete;
  CertificateHook& operator=(const CertificateHook&) = delete;

  const Facts& facts() const { return facts_; }
  /// The certificate in use; again whenever it is another one.
  void use(const Certificate& leaf);
  /// The group's authority did not issue it, or nobody asks it.
  void issued_elsewhere();

 private:
  void look();
  void run();

  Loop& core_;
  const Clock& clock_;
  const Log& log_;
  const Facts facts_;
  HookTimes times_;
  WallTime not_after_{};
  // Shared with the run that is under way and with its late post.
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  Loop::Timer timer_;
  std::unique_ptr<Worker> worker_;  // last: ends first, and with it the run
};

/// Keeps `hook` as the settings say: none without a command, the one that runs when nothing about
/// it has changed. `leaf` is in use.
void keep_hook(std::unique_ptr<CertificateHook>& hook, Loop& core, Workers& workers,
               const Clock& clock, Random& random, const Log& log,
               const CertificateSettings& settings, const std::filesystem::path& state,
               const std::string& name, const std::string& role, const Certificate& leaf);

/// For check-config: what is loose about the program of `certificates: {hook}`. It may belong to
/// the owner of the state folder, too, whose rights it gets.
Result<> check_hook(const CertificateSettings& settings, const std::filesystem::path& state);

}  // namespace postern::node
