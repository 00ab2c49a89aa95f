#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "identity/certificate.h"
#include "identity/group_file.h"

namespace postern {

/// Everything that could be read out of a folder of certificates, and where it was found.
struct StoreContents {
  template <typename T>
  struct Found {
    T what;
    std::filesystem::path file;
  };
  std::vector<Found<Certificate>> certificates;  // each one once
  std::vector<Found<TlsKey>> keys;
  std::vector<Found<GroupFile>> groups;
  std::vector<Found<Error>> damaged_groups;
  std::vector<Found<Error>> damaged_certificates;  // each has a note, too
  std::vector<std::string> notes;                  // what was skipped and how to make it readable
  std::size_t files = 0;
};

/// Reads the regular files of `folder`, in the order of their names; limits and formats are those
/// of import.h. A file that cannot be read is noted, not an error. `unavailable` when the folder
/// cannot be listed, `invalid` when it has more than kStoreFilesMax files.
Result<StoreContents> read_store_folder(Disk& disk, const std::filesystem::path& folder);

/// The same of these files, in this order. Naming a file is asking for it: one that cannot be read
/// is an error, `unavailable` or `invalid`.
Result<StoreContents> read_store_files(Disk& disk, std::span<const std::filesystem::path> files);

}  // namespace postern
