#include "identity/state_folder.h"

#include <unistd.h>

#include "base/invariant.h"

namespace postern {
namespace {

constexpr unsigned kSecretMode = 0600;
constexpr unsigned kPublicMode = 0644;

}  // namespace

StateFolder::StateFolder(Disk& disk, std::filesystem::path path)
    : disk_(disk), path_(std::move(path)) {}

std::optional<StateFolder::Owner> StateFolder::owner() const {
  const auto found = disk_.status(path_);
  if (!found) return std::nullopt;
  return Owner{found->user, found->group};
}

std::optional<unsigned> StateFolder::owner_user() const {
  const auto found = owner();
  return found ? std::optional(found->user) : std::nullopt;
}

Result<> StateFolder::prepare() {
  auto exists = disk_.exists(path_);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) {
    if (auto made = disk_.make_directories(path_); !made) return made;
    return disk_.set_mode(path_, 0700);
  }
  const auto found = disk_.status(path_);
  if (!found) return std::unexpected(found.error());
  if (!found->folder)
    return fail(Errc::denied, "{} is not a folder; the state needs one", path_.string());
  if ((found->mode & 022) != 0)
    return fail(Errc::denied,
                "{} has mode {:04o}: others than its owner can replace the node's keys; run: "
                "chmod 700 {}",
                path_.string(), found->mode, path_.string());
  return {};
}

Result<PrivateKey> StateFolder::load_or_create_identity() {
  if (auto ready = prepare(); !ready) return std::unexpected(ready.error());
  const auto file = path_ / "identity.key";
  auto exists = disk_.exists(file);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) return load_private_key(disk_, file, owner_user());
  PrivateKey key = PrivateKey::generate();
  std::string pem = key.to_pem();
  auto wrote = write(file, pem, kSecretMode);
  wipe(pem);
  if (!wrote) return fail(wrote.error(), "making the identity key");
  return key;
}

Result<TlsCredential> StateFolder::pair_in(const std::filesystem::path& folder) {
  auto text = disk_.read_file(folder / "chain.pem", kPemBytesMax);
  if (!text) return std::unexpected(text.error());
  auto chain = certificates_from_pem(as_text(*text));
  if (!chain) return fail(chain.error(), (folder / "chain.pem").string());
  auto pem = read_private_file(disk_, folder / "key.pem", owner_user());
  if (!pem) return std::unexpected(pem.error());
  auto key = TlsKey::from_pem(*pem);
  wipe(*pem);
  if (!key) return fail(key.error(), (folder / "key.pem").string());
  if (!key->matches(chain->front()))
    return fail(Errc::corrupt, "{}/key.pem does not belong to the first certificate of chain.pem",
                folder.string());
  return TlsCredential{std::move(*key), std::move(*chain)};
}

Result<TlsCredential> StateFolder::tls() {
  const auto folder = path_ / "tls";
  auto current = pair_in(folder);
  if (current || current.error().code == Errc::denied) return current;
  for (const char* other : {"next", "previous"})
    if (auto pair = pair_in(folder / other)) return pair;
  auto exists = disk_.exists(folder / "chain.pem");
  if (exists && !*exists)
    return fail(Errc::unavailable,
                "no certificate is installed in {}; request one and import it (postern cert "
                "request, postern cert import)",
                folder.string());
  return current;
}

Result<std::vector<Certificate>> StateFolder::chain() {
  auto pair = tls();
  if (!pair) return std::unexpected(pair.error());
  return std::move(pair->chain);
}

Result<Anchors> StateFolder::anchors() {
  const auto file = path_ / "anchors.pem";
  auto exists = disk_.exists(file);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists)
    return fail(Errc::unavailable,
                "no trust anchors are installed in {}; import the group's file (postern group "
                "export on the server, postern cert import here)",
                path_.string());
  auto text = disk_.read_file(file, kPemBytesMax);
  if (!text) return std::unexpected(text.error());
  auto anchors = Anchors::from_pem(as_text(*text));
  if (!anchors) return fail(anchors.error(), file.string());
  return anchors;
}

Result<std::optional<PublicKey>> StateFolder::group_root() {
  const auto file = path_ / "group.pem";
  auto exists = disk_.exists(file);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) return std::optional<PublicKey>();
  auto text = disk_.read_file(file, kPemBytesMax);
  if (!text) return std::unexpected(text.error());
  auto root = PublicKey::from_pem(as_text(*text));
  if (!root) return fail(root.error(), file.string());
  return std::optional(std::move(*root));
}

Result<> StateFolder::make_folder(const std::filesystem::path& folder) {
  auto exists = disk_.exists(folder);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) return {};
  if (auto made = disk_.make_directories(folder); !made) return made;
  if (auto closed = disk_.set_mode(folder, 0700); !closed) return closed;
  if (const auto to = owner())
    if (auto handed = disk_.hand_over(folder, to->user, to->group); !handed) return handed;
  return disk_.sync_directory(folder.parent_path());
}

Result<> StateFolder::write(const std::filesystem::path& path, std::string_view text,
                            unsigned mode) {
  const auto to = owner();
  if (::geteuid() != 0 || !to || to->user == 0) return disk_.write_file(path, as_bytes(text), mode);
  // The owner is set before the file gets its name, so the daemon never finds one it cannot read.
  const std::filesystem::path prepared = path.string() + ".prepared";
  if (auto wrote = disk_.write_file(prepared, as_bytes(text), mode); !wrote) return wrote;
  if (auto handed = disk_.hand_over(prepared, to->user, to->group); !handed) return handed;
  if (auto renamed = disk_.rename(prepared, path); !renamed) return renamed;
  return disk_.sync_directory(path.parent_path());
}

Result<> StateFolder::write_pair(const std::filesystem::path& folder, std::string_view key_pem,
                                 std::string_view chain_pem) {
  if (auto made = make_folder(folder); !made) return made;
  if (auto wrote = write(folder / "key.pem", key_pem, kSecretMode); !wrote) return wrote;
  return write(folder / "chain.pem", chain_pem, kPublicMode);
}

Result<> StateFolder::install_tls(const TlsCredential& credential) {
  if (credential.chain.empty() || !credential.key.matches(credential.chain.front()))
    return fail(Errc::invalid, "the key to install does not belong to the certificate");
  if (auto ready = prepare(); !ready) return ready;
  const auto folder = path_ / "tls";
  if (auto made = make_folder(folder); !made) return made;

  // What tls() finds now, which after a crash need not be what lies in tls/.
  auto replaced = tls();
  std::string key = credential.key.to_pem();
  const std::string chain = to_pem(credential.chain);
  const auto install = [&]() -> Result<> {
    // From here to the end either the old pair in tls/ or the new one in next/ is whole: previous/
    // is written only while both are, tls/ only while next/ is.
    if (auto wrote = write_pair(folder / "next", key, chain); !wrote) return wrote;
    if (replaced) {
      std::string old_key = replaced->key.to_pem();
      auto kept = write_pair(folder / "previous", old_key, to_pem(replaced->chain));
      wipe(old_key);
      if (!kept) return kept;
    }
    if (auto wrote = write_pair(folder, key, chain); !wrote) return wrote;
    if (auto gone = disk_.remove(folder / "next" / "key.pem"); !gone) return gone;
    if (auto gone = disk_.remove(folder / "next" / "chain.pem"); !gone) return gone;
    return disk_.sync_directory(folder / "next");
  };
  auto installed = install();
  wipe(key);
  if (!installed) return fail(installed.error(), "installing the certificate");
  return {};
}

Result<> StateFolder::roll_back_tls() {
  auto previous = pair_in(path_ / "tls" / "previous");
  if (!previous) return fail(previous.error(), "rolling back to the previous certificate");
  return install_tls(*previous);
}

Result<> StateFolder::install_anchors(const Anchors& anchors) {
  if (anchors.certificates().empty())
    return fail(Errc::invalid, "a group without trust anchors would trust nobody");
  if (auto ready = prepare(); !ready) return ready;
  return write(path_ / "anchors.pem", anchors.to_pem(), kPublicMode);
}

Result<> StateFolder::pin_group_root(const PublicKey& root) {
  if (auto ready = prepare(); !ready) return ready;
  auto pinned = group_root();
  if (!pinned) return std::unexpected(pinned.error());
  if (*pinned && **pinned == root) return {};
  if (*pinned)
    return fail(Errc::denied,
                "this node belongs to the group whose root is {}, not {}; if it is to change "
                "groups, remove {}/group.pem first",
                to_hex((*pinned)->fingerprint()), to_hex(root.fingerprint()), path_.string());
  return write(path_ / "group.pem", root.to_pem(), kPublicMode);
}

}  // namespace postern
