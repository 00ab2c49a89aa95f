#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/disk.h"
#include "base/log.h"
#include "identity/revocation_list.h"
#include "settings/settings.h"

namespace postern::node {

inline constexpr std::chrono::hours kStaleListSaidEvery{24};

/// The revocation lists of outside authorities that `certificates: {crl}` names. A file that cannot
/// be read or believed is said in the log, and what it said before goes on counting: half a file
/// must not bring anybody back. Belongs to the core loop; reads on it, at the start and when a file
/// changes.
class RevocationFiles {
 public:
  explicit RevocationFiles(const Log& log) : log_(log) {}

  /// Reads all of them anew; `chain` is our own, whose issuers may sign lists too. Whether
  /// anything is another thing now.
  bool read(Disk& disk, const CertificateSettings& settings, const Anchors& anchors,
            std::span<const Certificate> chain, WallTime now);
  /// Null while no file is named.
  const std::shared_ptr<const RevocationLists>& lists() const { return lists_; }
  /// Says which ones should have been replaced: each file once a day.
  void say_stale(WallTime now);
  /// When the next one should be replaced, as far as they say; max: never, or before `now`.
  WallTime next_update(WallTime now) const;

 private:
  const Log& log_;
  std::map<std::string, std::vector<RevocationList>> files_;
  std::map<std::string, std::string> complaints_;  // said last, by file
  std::map<std::string, WallTime> stale_said_;
  bool refuse_ = false;
  // Shared with the TLS contexts of connections that are open.
  std::shared_ptr<const RevocationLists> lists_;
};

}  // namespace postern::node
