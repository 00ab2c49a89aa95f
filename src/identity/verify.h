#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "base/result.h"
#include "identity/certificate.h"
#include "identity/check.h"

namespace postern {

struct VerifyRequest {
  /// Certificates as a peer would be shown them: the node's own first, then intermediates; in PEM,
  /// DER or PKCS#12. Private keys and a group file may stand among them.
  std::vector<std::filesystem::path> files;
  std::optional<std::filesystem::path> key;      // the private key, when it is in none of them
  std::optional<std::filesystem::path> anchors;  // CA certificates or a group file
  Anchors known_anchors;                         // without `anchors` and without a group file
  std::optional<std::string> name;               // FQDN, any case; default: the first that it has
  std::optional<std::string> password;           // of PKCS#12 files among them
  bool as_server = true;                         // false: a node that never has children
  WallTime now{};
  /// Whose the private key may be besides ours and root's: the owner of a state folder.
  std::optional<unsigned> also_owner;
};

struct VerifyReport {
  std::filesystem::path file;               // of the node's certificate
  std::optional<Certificate> certificate;   // absent when it cannot be read
  std::vector<Certificate> chain;           // with its intermediates, as a peer is shown it
  std::optional<TlsCredential> credential;  // the same, when its key was there
  Anchors anchors;                          // that it was held against
  std::vector<Finding> findings;            // every requirement, passed or not
  std::vector<std::string> notes;           // what was not looked at and why, one sentence each

  bool passed() const { return !first_failure(findings); }
};

/// Holds a certificate against what both sides of a handshake hold it against, by the same
/// check_certificate(), and against its private key when there is one; changes nothing. Everything
/// that is wrong with it is a finding. `invalid` when the name is no FQDN or there is no
/// certificate in the files, `unavailable` when a file cannot be read.
Result<VerifyReport> verify_certificate(Disk& disk, const VerifyRequest& request);

}  // namespace postern
