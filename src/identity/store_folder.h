#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "identity/certificate.h"
#include "identity/check.h"
#include "identity/group_file.h"
#include "identity/pkcs12.h"

namespace postern {

/// Everything that could be read out of a folder of certificates, and where it was found.
struct StoreContents {
  template <typename T>
  struct Found {
    T what;
    std::filesystem::path file;
    bool locked = false;  // the file is encrypted with a password
  };
  std::vector<Found<Certificate>> certificates;  // each one once
  std::vector<Found<TlsKey>> keys;
  std::vector<Found<GroupFile>> groups;
  std::vector<Found<Error>> damaged_groups;
  std::vector<Found<Error>> damaged_certificates;   // each has a note, too
  std::vector<Found<Pkcs12::Password>> containers;  // PKCS#12 files that are not damaged
  std::vector<Found<Error>> damaged_containers;     // each has a note, too
  std::vector<std::string> notes;                   // what was skipped and how to make it readable
  std::size_t files = 0;
};

/// Reads the regular files of `folder`, in the order of their names; limits and formats are those
/// of import.h. PKCS#12 files are tried with the empty password. A file that cannot be read is
/// noted, not an error. `unavailable` when the folder cannot be listed, `invalid` when it has more
/// than kStoreFilesMax files.
Result<StoreContents> read_store_folder(Disk& disk, const std::filesystem::path& folder);

/// The same of these files, in this order. Naming a file is asking for it: one that cannot be read
/// is an error, `unavailable` or `invalid`; but a PKCS#12 file that `password` does not open, or
/// that is damaged, only stands in `containers` or `damaged_containers`.
Result<StoreContents> read_store_files(Disk& disk, std::span<const std::filesystem::path> files,
                                       std::optional<std::string_view> password = std::nullopt);

/// How a PKCS#12 file of these was opened, as a requirement of its own; nothing for another file.
std::optional<Finding> password_finding(const StoreContents& store,
                                        const std::filesystem::path& file);

}  // namespace postern
