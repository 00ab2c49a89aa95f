#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "base/result.h"
#include "identity/check.h"

namespace postern {

inline constexpr const char* kCertificateStore = "/etc/postern/certificates";
inline constexpr std::size_t kStoreFilesMax = 256;
inline constexpr std::uint64_t kStoreFileBytesMax = 1 << 20;

struct ImportRequest {
  std::string subject_name;  // FQDN, any case
  std::filesystem::path store_folder = kCertificateStore;
  std::filesystem::path state_folder;
  WallTime now{};
  /// Only certificates of this file are candidates; the folder, when there is one, gives the group
  /// file and intermediates.
  std::optional<std::filesystem::path> pkcs12 = std::nullopt;
  std::optional<std::string> password = std::nullopt;  // of `pkcs12`
};

struct ImportReport {
  std::string subject_name;
  std::filesystem::path certificate_file;  // where the chosen certificate was found
  std::string key_file;                    // where its key was found; "" when nowhere
  std::optional<Certificate> certificate;  // the chosen one
  std::vector<Finding> findings;           // every requirement, passed or not
  std::vector<std::string> notes;          // what was chosen, skipped or taken, one sentence each
  bool installed = false;                  // the certificate was new and is installed now
  bool already_installed = false;          // it was there before: no harm

  /// All requirements passed.
  bool passed() const { return !first_failure(findings); }
  /// Every failed requirement with its fix, one a line; "" when all passed.
  std::string failures() const;
};

/// Looks for a certificate of the name among the files of the store folder, holds it against every
/// requirement, and changes nothing. `invalid` when the name is no FQDN, `unavailable` when the
/// folder cannot be read, no certificate is found or the state folder cannot be read; everything
/// that is wrong with a found certificate is a finding of the report.
///
/// Files may be PEM (certificates, chains, keys, combined), DER (.cer .crt .der: certificates,
/// keys), PKCS#12 (.p12 .pfx) and one group file (group_file.h), in any mix. A PKCS#12 file that
/// does not open with the empty password is skipped with a note that says how to name it and its
/// password. Sub-folders are not searched.
Result<ImportReport> examine_certificate(Disk& disk, const ImportRequest& request);

/// examine_certificate(), and when everything passed installs key, chain, anchors and group root
/// durably in the state folder; the replaced pair is kept. After a failed requirement nothing is
/// changed and the error's message holds ImportReport::failures(). Importing what is installed
/// already does no harm and is said in the report.
Result<ImportReport> import_certificate(Disk& disk, const ImportRequest& request);

}  // namespace postern
