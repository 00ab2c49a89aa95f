// The files of a CA that takes another one's place.

#include "identity/state_folder.h"
#include "server/group.h"

namespace postern {
namespace {

constexpr const char* kRootKey = "ca.key";
constexpr const char* kRootCertificate = "ca.pem";
constexpr const char* kNextKey = "next-ca.key";
constexpr const char* kNextCertificate = "next-ca.pem";
constexpr const char* kNextIssuing = "next-issuing.pem";
constexpr const char* kFormer = "former-ca.pem";

}  // namespace

Result<> GroupFolder::remove(const char* name) {
  const auto there = disk_.exists(state_ / name);
  if (!there) return std::unexpected(there.error());
  if (!*there) return {};
  if (auto gone = disk_.remove(state_ / name); !gone) return gone;
  return disk_.sync_directory(state_);
}

Result<std::optional<Certificate>> GroupFolder::certificate_in(const char* name) {
  const auto there = disk_.exists(state_ / name);
  if (!there) return std::unexpected(there.error());
  if (!*there) return std::nullopt;
  auto text = disk_.read_file(state_ / name, kPemBytesMax);
  if (!text) return std::unexpected(text.error());
  auto certificate = Certificate::from_pem(as_text(*text));
  if (!certificate) return fail(certificate.error(), (state_ / name).string());
  return std::move(*certificate);
}

Result<GroupFolder::Rollover> GroupFolder::rollover() {
  auto next = certificate_in(kNextCertificate);
  if (!next) return std::unexpected(next.error());
  auto former = certificate_in(kFormer);
  if (!former) return std::unexpected(former.error());
  // Both: the change was broken off, and is to be made again.
  if (*next) former->reset();
  return Rollover{std::move(*next), std::move(*former)};
}

Result<Certificate> GroupFolder::prepare_next(WallTime now, Random& random) {
  auto there = certificate_in(kNextCertificate);
  if (!there) return std::unexpected(there.error());
  if (*there) return std::move(**there);
  const auto root = root_certificate();
  if (!root) return std::unexpected(root.error());
  const auto next = CertificateAuthority::create_after(*root, now, random);
  if (!next) return std::unexpected(next.error());
  const auto issuing = next->make_issuing(now, random);
  if (!issuing) return std::unexpected(issuing.error());
  if (auto done = write(kNextKey, next->key_pem(), 0600); !done)
    return std::unexpected(done.error());
  if (auto done = write(kNextIssuing, issuing->key_pem() + issuing->certificate().pem(), 0600);
      !done)
    return std::unexpected(done.error());
  // Last: it says that the others are there.
  if (auto done = write(kNextCertificate, next->certificate().pem(), 0644); !done)
    return std::unexpected(done.error());
  return next->certificate();
}

Result<> GroupFolder::switch_to_next() {
  const auto next = certificate_in(kNextCertificate);
  if (!next) return std::unexpected(next.error());
  if (!*next) return fail(Errc::denied, "there is no next CA");
  const auto root = root_certificate();
  if (!root) return std::unexpected(root.error());
  if (*root != **next)
    if (auto done = write(kFormer, root->pem(), 0644); !done) return done;

  auto issuing_text = read_private_file(disk_, state_ / kNextIssuing, owner());
  if (!issuing_text) return std::unexpected(issuing_text.error());
  auto certificate = Certificate::from_pem(*issuing_text);
  auto issuing = certificate ? CertificateAuthority::load(*issuing_text, certificate->pem())
                             : std::unexpected(certificate.error());
  wipe(*issuing_text);
  if (!issuing) return fail(issuing.error(), (state_ / kNextIssuing).string());
  const auto known = issuing_certificates();
  if (!known) return std::unexpected(known.error());
  if (known->empty() || known->front() != issuing->certificate())
    if (auto done = install_issuing(*issuing); !done) return done;

  auto key = read_private_file(disk_, state_ / kNextKey, owner());
  if (!key) return std::unexpected(key.error());
  if (auto done = write(kRootKey, std::move(*key), 0600); !done) return done;
  if (auto done = write(kRootCertificate, (*next)->pem(), 0644); !done) return done;
  for (const char* name : {kNextCertificate, kNextIssuing, kNextKey})
    if (auto done = remove(name); !done) return done;
  return {};
}

Result<> GroupFolder::forget_former() { return remove(kFormer); }

Result<Anchors> GroupFolder::anchors() { return StateFolder(disk_, state_).anchors(); }

Result<> GroupFolder::install_anchors(const Anchors& anchors) {
  return StateFolder(disk_, state_).install_anchors(anchors);
}

}  // namespace postern
