#include "server/authority_tool.h"

#include "identity/key.h"
#include "server/group.h"

namespace postern {
namespace {

constexpr std::uint64_t kExportBytesMax = 64 << 10;

Result<CertificateAuthority> root_of_file(const AuthorityRequest& request, Disk& disk) {
  if (!request.file || !request.passphrase_file)
    return fail(Errc::invalid, "name the root's file and its passphrase: --passphrase-file FILE");
  auto passphrase = read_password_file(disk, *request.passphrase_file);
  if (!passphrase) return std::unexpected(passphrase.error());
  auto text = disk.read_file(*request.file, kExportBytesMax);
  if (!text) {
    wipe(*passphrase);
    return std::unexpected(text.error());
  }
  auto root = CertificateAuthority::import_with(*passphrase, as_text(*text));
  wipe(*passphrase);
  if (!root) return fail(root.error(), request.file->string());
  return root;
}

std::string line_of(const char* what, const Certificate& certificate, WallTime now) {
  const bool over = certificate.not_after() < now;
  return fmt::format("{:13} {}\n              serial {}, {} {}\n", what, certificate.subject(),
                     certificate.serial(), over ? "ended" : "valid until",
                     to_rfc3339(certificate.not_after()));
}

}  // namespace

Result<std::string> show_authority(const AuthorityRequest& request, Disk& disk,
                                   const Clock& clock) {
  GroupFolder folder(disk, request.state_dir);
  const auto root = folder.root_certificate();
  if (!root) return std::unexpected(root.error());
  const auto here = folder.has_root_key();
  if (!here) return std::unexpected(here.error());
  const auto issuing = folder.issuing_certificates();
  if (!issuing) return std::unexpected(issuing.error());
  std::string text = line_of("root", *root, clock.wall());
  text += *here ? "              its key is on this server; take it off: postern-server ca export "
                  "FILE --passphrase-file FILE --remove\n"
                : "              its key is not on this server\n";
  const auto rollover = folder.rollover();
  if (!rollover) return std::unexpected(rollover.error());
  if (rollover->next) text += line_of("next root", *rollover->next, clock.wall());
  if (rollover->former) text += line_of("former root", *rollover->former, clock.wall());
  if (issuing->empty())
    return text +
           "issuing       the root itself; change that: postern-server ca "
           "issue-intermediate\n";
  for (std::size_t i = 0; i < issuing->size(); ++i)
    text += line_of(i == 0 ? "issuing" : "before", (*issuing)[i], clock.wall());
  return text;
}

Result<std::string> export_authority(const AuthorityRequest& request, Disk& disk) {
  if (!request.file || !request.passphrase_file)
    return fail(Errc::invalid, "export needs FILE and --passphrase-file FILE");
  GroupFolder folder(disk, request.state_dir);
  const auto root = folder.root();
  if (!root) return std::unexpected(root.error());
  if (const auto there = disk.exists(*request.file); !there || *there)
    return there ? fail(Errc::denied, "{} is there already; nothing was changed",
                        request.file->string())
                 : std::unexpected(there.error());
  if (request.remove)
    if (auto may = folder.may_remove_root_key(); !may) return std::unexpected(may.error());
  auto passphrase = read_password_file(disk, *request.passphrase_file);
  if (!passphrase) return std::unexpected(passphrase.error());
  auto text = root->export_with(*passphrase);
  wipe(*passphrase);
  if (!text) return std::unexpected(text.error());
  if (auto done = disk.write_file(*request.file, as_bytes(*text), 0600); !done)
    return std::unexpected(done.error());
  const auto back = root_of_file(request, disk);
  if (!back) return fail(back.error(), "what was written cannot be read back");
  if (!request.remove)
    return fmt::format("The root of the group's CA is in {}; its key is still on this server.\n",
                       request.file->string());
  if (auto done = folder.remove_root_key(); !done) return std::unexpected(done.error());
  return fmt::format(
      "The root of the group's CA is in {}, and its key not on this server any more.\n"
      "Take the file away and keep it and its passphrase in two places: who has both can name "
      "nodes.\n",
      request.file->string());
}

Result<std::string> import_authority(const AuthorityRequest& request, Disk& disk) {
  const auto root = root_of_file(request, disk);
  if (!root) return std::unexpected(root.error());
  if (auto done = GroupFolder(disk, request.state_dir).put_root_key(*root); !done)
    return std::unexpected(done.error());
  return "The key of the group's CA is on this server again.\n";
}

Result<std::string> issue_intermediate(const AuthorityRequest& request, Disk& disk,
                                       const Clock& clock, Random& random) {
  GroupFolder folder(disk, request.state_dir);
  const auto ours = folder.root_certificate();
  if (!ours) return std::unexpected(ours.error());
  const auto root = request.file ? root_of_file(request, disk) : folder.root();
  if (!root) return std::unexpected(root.error());
  if (root->certificate() != *ours)
    return fail(Errc::denied, "{} holds the CA '{}' with serial {}; this group's is serial {}",
                request.file->string(), root->certificate().subject(), root->certificate().serial(),
                ours->serial());
  const auto issuing = root->make_issuing(clock.wall(), random);
  if (!issuing) return std::unexpected(issuing.error());
  if (auto done = folder.install_issuing(*issuing); !done) return std::unexpected(done.error());
  return "Nodes' certificates are signed by this one from now on; those in use stay good.\n" +
         line_of("issuing", issuing->certificate(), clock.wall());
}

}  // namespace postern
