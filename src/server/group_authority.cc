// The files of the built-in certificate authority.

#include <unistd.h>

#include "identity/certificate.h"
#include "server/group.h"

namespace postern {
namespace {

constexpr const char* kRootKey = "ca.key";
constexpr const char* kRootCertificate = "ca.pem";
constexpr const char* kIssuing = "issuing.pem";

}  // namespace

Result<> GroupFolder::write(const char* name, std::string text, unsigned mode) {
  const auto folder = disk_.status(state_);
  const bool ours = !folder || folder->user == ::geteuid();
  const std::filesystem::path path = state_ / name;
  const std::filesystem::path first = ours ? path : state_ / (std::string(name) + ".prepared");
  auto done = disk_.write_file(first, as_bytes(text), mode);
  wipe(text);
  if (!done || ours) return done;
  // The administrator is root, the server is not: it must never find a file that it cannot read.
  if (done = disk_.hand_over(first, folder->user, folder->group); !done) return done;
  if (done = disk_.rename(first, path); !done) return done;
  return disk_.sync_directory(state_);
}

std::optional<unsigned> GroupFolder::owner() {
  const auto folder = disk_.status(state_);
  return folder ? std::optional(folder->user) : std::nullopt;
}

Result<bool> GroupFolder::has_root_key() { return disk_.exists(state_ / kRootKey); }

Result<Certificate> GroupFolder::root_certificate() {
  auto text = disk_.read_file(state_ / kRootCertificate, kPemBytesMax);
  if (!text) return std::unexpected(text.error());
  auto certificate = Certificate::from_pem(as_text(*text));
  if (!certificate) return fail(certificate.error(), (state_ / kRootCertificate).string());
  return certificate;
}

Result<CertificateAuthority> GroupFolder::root() {
  const auto here = has_root_key();
  if (!here) return std::unexpected(here.error());
  if (!*here)
    return fail(Errc::unavailable,
                "the key of the group's CA was taken off this server; name the file that "
                "`postern-server ca export` wrote");
  auto certificate = root_certificate();
  if (!certificate) return std::unexpected(certificate.error());
  auto key = read_private_file(disk_, state_ / kRootKey, owner());
  if (!key) return std::unexpected(key.error());
  auto loaded = CertificateAuthority::load(*key, certificate->pem());
  wipe(*key);
  return loaded;
}

Result<std::vector<Certificate>> GroupFolder::issuing_certificates() {
  const auto there = disk_.exists(state_ / kIssuing);
  if (!there) return std::unexpected(there.error());
  if (!*there) return std::vector<Certificate>();
  auto text = read_private_file(disk_, state_ / kIssuing, owner());
  if (!text) return std::unexpected(text.error());
  auto certificates = certificates_from_pem(*text);
  wipe(*text);
  if (!certificates) return fail(certificates.error(), (state_ / kIssuing).string());
  return certificates;
}

Result<CertificateAuthority> GroupFolder::authority() {
  const auto there = disk_.exists(state_ / kIssuing);
  if (!there) return std::unexpected(there.error());
  if (!*there) return root();
  auto certificates = issuing_certificates();
  if (!certificates) return std::unexpected(certificates.error());
  auto text = read_private_file(disk_, state_ / kIssuing, owner());
  if (!text) return std::unexpected(text.error());
  auto authority = CertificateAuthority::load(*text, certificates->front().pem());
  wipe(*text);
  if (!authority) return fail(authority.error(), (state_ / kIssuing).string());
  for (auto other = certificates->begin() + 1; other != certificates->end(); ++other)
    authority->also_know(*other);
  auto root = root_certificate();
  if (!root) return std::unexpected(root.error());
  authority->also_know(*root);
  auto before = rollover();
  if (!before) return std::unexpected(before.error());
  if (before->former) authority->also_know(*before->former);
  return authority;
}

Result<GroupFolder::Facts> GroupFolder::facts() {
  auto root = root_certificate();
  if (!root) return std::unexpected(root.error());
  auto certificates = issuing_certificates();
  if (!certificates) return std::unexpected(certificates.error());
  certificates->push_back(*root);
  const Certificate& signer = certificates->front();
  auto before = rollover();
  if (!before) return std::unexpected(before.error());
  Facts facts{signer.not_before(), signer.not_after(), signer.subject(), {}};
  if (before->former) certificates->push_back(*before->former);
  for (const Certificate& one : *certificates)
    facts.names.emplace(one.subject_sha256(), one.subject());
  return facts;
}

Result<> GroupFolder::install_issuing(const CertificateAuthority& issuing) {
  auto earlier = issuing_certificates();
  if (!earlier) return std::unexpected(earlier.error());
  if (earlier->size() > kEarlierMax) earlier->erase(earlier->begin() + kEarlierMax, earlier->end());
  return write(kIssuing, issuing.key_pem() + issuing.certificate().pem() + to_pem(*earlier), 0600);
}

Result<> GroupFolder::put_root_key(const CertificateAuthority& root) {
  auto ours = root_certificate();
  if (!ours) return std::unexpected(ours.error());
  if (root.certificate() != *ours)
    return fail(
        Errc::denied, "it is the CA '{}' with serial {}; this group's is '{}' with serial {}",
        root.certificate().subject(), root.certificate().serial(), ours->subject(), ours->serial());
  return write(kRootKey, root.key_pem(), 0600);
}

Result<> GroupFolder::may_remove_root_key() {
  auto issuing = issuing_certificates();
  if (!issuing) return std::unexpected(issuing.error());
  if (issuing->empty())
    return fail(Errc::denied,
                "nodes' certificates are signed with the root key itself; first run: "
                "postern-server ca issue-intermediate");
  return {};
}

Result<> GroupFolder::remove_root_key() {
  if (auto may = may_remove_root_key(); !may) return may;
  if (auto gone = disk_.remove(state_ / kRootKey); !gone) return gone;
  return disk_.sync_directory(state_);
}

}  // namespace postern
