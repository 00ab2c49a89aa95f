#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/worker.h"
#include "identity/import.h"
#include "net/loop.h"

namespace postern::node {

/// Takes certificates over that somebody else issues and leaves in a folder, as `postern cert
/// import` would: only one that meets every requirement, and only if it lives longer than the one
/// that is installed. CertificateWatch then sees it used. Belongs to the core loop; looks and
/// installs on a worker.
class CertificateInbox {
 public:
  static constexpr Duration kEvery = std::chrono::seconds(10);

  struct Places {
    std::filesystem::path folder, state;
    std::string name;
  };
  /// All of these outlive it but the worker, which ends after this.
  CertificateInbox(Loop& core, Worker& worker, Disk& disk, const Clock& clock, const Log& log,
                   Places places);
  ~CertificateInbox();
  CertificateInbox(const CertificateInbox&) = delete;
  CertificateInbox& operator=(const CertificateInbox&) = delete;

 private:
  void look();

  Loop& core_;
  Worker& worker_;
  Disk& disk_;
  const Clock& clock_;
  const Log& log_;
  const Places places_;
  /// The worker's: what the folder held when it was examined last.
  std::shared_ptr<std::string> known_ = std::make_shared<std::string>();
  bool looking_ = false;
  Loop::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with late posts
};

/// One look: what it installed; nothing when there is nothing better than what is installed; the
/// error when what is there cannot be used.
Result<std::optional<ImportReport>> take_from_inbox(Disk& disk,
                                                    const CertificateInbox::Places& places,
                                                    WallTime now);

}  // namespace postern::node
