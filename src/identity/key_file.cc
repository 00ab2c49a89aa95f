#include <openssl/crypto.h>
#include <unistd.h>

#include "identity/key.h"

namespace postern {

Result<> check_private_file(Disk& disk, const std::filesystem::path& path,
                            std::optional<unsigned> also_owner) {
  const auto found = disk.status(path);
  if (!found) return std::unexpected(found.error());
  if (!found->regular)
    return fail(Errc::denied, "{} is not a regular file; a private key must be one", path.string());
  if ((found->mode & 077) != 0)
    return fail(Errc::denied,
                "{} has mode {:04o}: others than its owner can reach the private key; run: "
                "chmod 600 {}",
                path.string(), found->mode, path.string());
  if (found->user != 0 && found->user != ::geteuid() && found->user != also_owner)
    return fail(Errc::denied,
                "{} belongs to user {}, who could replace the private key; it must belong to root "
                "or to user {}; run: chown {} {}",
                path.string(), found->user, also_owner.value_or(::geteuid()),
                also_owner.value_or(::geteuid()), path.string());
  return {};
}

Result<std::string> read_private_file(Disk& disk, const std::filesystem::path& path,
                                      std::optional<unsigned> also_owner) {
  constexpr std::uint64_t kKeyFileBytesMax = 64 << 10;
  if (auto safe = check_private_file(disk, path, also_owner); !safe)
    return std::unexpected(safe.error());
  auto bytes = disk.read_file(path, kKeyFileBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  std::string text = to_string(*bytes);
  OPENSSL_cleanse(bytes->data(), bytes->size());
  return text;
}

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

Result<PrivateKey> load_private_key(Disk& disk, const std::filesystem::path& path,
                                    std::optional<unsigned> also_owner) {
  auto text = read_private_file(disk, path, also_owner);
  if (!text) return std::unexpected(text.error());
  auto key = PrivateKey::from_pem(*text);
  wipe(*text);
  if (!key) return fail(key.error(), path.string());
  return key;
}

}  // namespace postern
