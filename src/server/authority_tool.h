#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "base/result.h"

/// `postern-server ca ...`: the files of the built-in authority, for the administrator at the
/// machine. A running server takes over what is changed with the next certificate it signs.
namespace postern {

struct AuthorityRequest {
  std::filesystem::path state_dir;
  std::optional<std::filesystem::path> file;  // what export wrote, or will
  std::optional<std::filesystem::path> passphrase_file;
  bool remove = false;  // export: then take the key off this machine
};

/// Each returns what to tell the administrator. After an error nothing is changed.
Result<std::string> show_authority(const AuthorityRequest& request, Disk& disk, const Clock& clock);
/// Writes the root, encrypted, and reads it back before its key may be removed. `denied` when the
/// file is there already.
Result<std::string> export_authority(const AuthorityRequest& request, Disk& disk);
Result<std::string> import_authority(const AuthorityRequest& request, Disk& disk);
/// By the root in `file`, or by the one on this machine.
Result<std::string> issue_intermediate(const AuthorityRequest& request, Disk& disk,
                                       const Clock& clock, Random& random);

}  // namespace postern
