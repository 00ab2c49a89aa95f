#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "identity/check.h"
#include "settings/settings.h"

namespace postern::doctor {

/// Where a machine keeps what it knows of certificates that count no more.
struct RevocationPlaces {
  /// State folders with the deny lists that were taken there; the newest believed one counts.
  std::vector<std::filesystem::path> states;
  CertificateSettings certificates;  // with the files of outside authorities' lists
};

struct RevocationView {
  std::vector<Finding> findings;   // "deny list", "revocation"
  std::vector<std::string> notes;  // what was not checked, why, and what to do
};

/// Holds a chain, leaf first, against the newest deny list that a node of this machine has taken
/// and believes, and against the lists that its settings name, as the running program does. Blocks
/// on the disk and changes nothing.
RevocationView look_at_revocation(Disk& disk, const RevocationPlaces& places,
                                  std::span<const Certificate> chain, const Anchors& anchors,
                                  WallTime now);

}  // namespace postern::doctor
