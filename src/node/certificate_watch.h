#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/worker.h"
#include "net/loop.h"

namespace postern::node {

/// Notices within a second or two that somebody (`postern cert import`) has put another certificate
/// or other anchors into a state folder, or changed one of `others`. Looks at the files' own data
/// only, on a worker, so that a disk that hangs holds up nobody. Belongs to the core loop.
class CertificateWatch {
 public:
  static constexpr Duration kEvery = std::chrono::seconds(1);

  /// `changed` is called on the loop. The worker ends after this.
  CertificateWatch(Loop& core, Worker& worker, std::filesystem::path state,
                   std::vector<std::string> others, std::function<void()> changed);
  ~CertificateWatch();
  CertificateWatch(const CertificateWatch&) = delete;
  CertificateWatch& operator=(const CertificateWatch&) = delete;

 private:
  void look();

  Loop& core_;
  Worker& worker_;
  const std::filesystem::path state_;
  const std::vector<std::string> others_;
  const std::function<void()> changed_;
  std::string known_;
  bool looking_ = false;
  Loop::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with late posts
};

/// Tells apart what stands in the files of a certificate now and at another time; empty while an
/// installation is under way.
std::string state_of_certificate(const std::filesystem::path& state,
                                 const std::vector<std::string>& others = {});

}  // namespace postern::node
