// The simulator links this in place of identity/state_folder.cc: it reads the same files, but what
// stands in them is decoded once a process, because OpenSSL's decoders cost more than the rest of a
// node's start. Nothing is ever installed in a simulation.

#include <map>

#include "identity/state_folder.h"

namespace postern {
namespace {

std::unexpected<Error> not_here() {
  return fail(Errc::unavailable, "nothing is installed in a simulation");
}

/// The value of `decode` for this text, made at most once.
template <typename Value, typename Decode>
Result<Value> decoded_once(const std::string& text, Decode decode) {
  static std::map<std::string, Value> known;
  const auto found = known.find(text);
  if (found != known.end()) return found->second;
  Result<Value> value = decode();
  if (value) known.emplace(text, *value);
  return value;
}

}  // namespace

StateFolder::StateFolder(Disk& disk, std::filesystem::path path)
    : disk_(disk), path_(std::move(path)) {}

Result<> StateFolder::prepare() {
  auto there = disk_.exists(path_);
  if (!there) return std::unexpected(there.error());
  if (!*there) return disk_.make_directories(path_);
  return {};
}

Result<PrivateKey> StateFolder::load_or_create_identity() {
  return load_private_key(disk_, path_ / "identity.key");
}

Result<TlsCredential> StateFolder::tls() {
  auto chain_text = disk_.read_file(path_ / "tls/chain.pem", kPemBytesMax);
  if (!chain_text) return std::unexpected(chain_text.error());
  auto key_text = disk_.read_file(path_ / "tls/key.pem", kPemBytesMax);
  if (!key_text) return std::unexpected(key_text.error());
  return decoded_once<TlsCredential>(to_string(*chain_text) + to_string(*key_text),
                                     [&]() -> Result<TlsCredential> {
                                       auto chain = certificates_from_pem(as_text(*chain_text));
                                       if (!chain) return std::unexpected(chain.error());
                                       auto key = TlsKey::from_pem(as_text(*key_text));
                                       if (!key) return std::unexpected(key.error());
                                       return TlsCredential{std::move(*key), std::move(*chain)};
                                     });
}

Result<std::vector<Certificate>> StateFolder::chain() {
  auto pair = tls();
  if (!pair) return std::unexpected(pair.error());
  return std::move(pair->chain);
}

Result<Anchors> StateFolder::anchors() {
  auto text = disk_.read_file(path_ / "anchors.pem", kPemBytesMax);
  if (!text) return std::unexpected(text.error());
  return decoded_once<Anchors>(to_string(*text), [&] { return Anchors::from_pem(as_text(*text)); });
}

Result<std::optional<PublicKey>> StateFolder::group_root() {
  auto text = disk_.read_file(path_ / "group.pem", kPemBytesMax);
  if (!text) return std::unexpected(text.error());
  auto root = PublicKey::from_pem(as_text(*text));
  if (!root) return std::unexpected(root.error());
  return std::optional(std::move(*root));
}

Result<> StateFolder::install_tls(const TlsCredential&) { return not_here(); }
Result<> StateFolder::roll_back_tls() { return not_here(); }
Result<> StateFolder::install_anchors(const Anchors&) { return not_here(); }
Result<> StateFolder::pin_group_root(const PublicKey&) { return not_here(); }

}  // namespace postern
