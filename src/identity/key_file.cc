#include <openssl/crypto.h>
#include <unistd.h>

#include "identity/key.h"

namespace postern {

Result<> check_private_file(Disk& disk, const std::filesystem::path& path,
                            std::optional<unsigned> also_owner, const char* what) {
  const auto found = disk.status(path);
  if (!found) return std::unexpected(found.error());
  if (!found->regular)
    return fail(Errc::denied, "{} is not a regular file; a {} must be in one", path.string(), what);
  if ((found->mode & 077) != 0)
    return fail(Errc::denied,
                "{} has mode {:04o}: others than its owner can reach the {}; run: "
                "chmod 600 {}",
                path.string(), found->mode, what, path.string());
  if (found->user != 0 && found->user != ::geteuid() && found->user != also_owner)
    return fail(Errc::denied,
                "{} belongs to user {}, who could replace the {}; it must belong to root "
                "or to user {}; run: chown {} {}",
                path.string(), found->user, what, also_owner.value_or(::geteuid()),
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

Result<std::string> read_password_file(Disk& disk, const std::filesystem::path& path,
                                       std::optional<unsigned> also_owner) {
  if (auto safe = check_private_file(disk, path, also_owner, "password"); !safe)
    return std::unexpected(safe.error());
  auto bytes = disk.read_file(path, kPasswordBytesMax + 2);
  if (!bytes) return std::unexpected(bytes.error());
  std::string text = to_string(*bytes);
  OPENSSL_cleanse(bytes->data(), bytes->size());
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.size() <= kPasswordBytesMax && text.find('\0') == std::string::npos) return text;
  wipe(text);
  return fail(Errc::invalid, "{} is no password: it is over {} bytes or has a zero byte in it",
              path.string(), kPasswordBytesMax);
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
