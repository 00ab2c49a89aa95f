#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "identity/key.h"

namespace postern {

Result<> check_private_file(const std::filesystem::path& path, std::optional<unsigned> also_owner) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return fail(Errc::unavailable, "stat {}: {}", path.string(), std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return fail(Errc::denied, "{} is not a regular file; a private key must be one", path.string());
  if ((info.st_mode & 077) != 0)
    return fail(Errc::denied,
                "{} has mode {:04o}: others than its owner can reach the private key; run: "
                "chmod 600 {}",
                path.string(), info.st_mode & 07777, path.string());
  if (info.st_uid != 0 && info.st_uid != ::geteuid() && info.st_uid != also_owner)
    return fail(Errc::denied,
                "{} belongs to user {}, who could replace the private key; it must belong to root "
                "or to user {}; run: chown {} {}",
                path.string(), info.st_uid, also_owner.value_or(::geteuid()),
                also_owner.value_or(::geteuid()), path.string());
  return {};
}

Result<std::string> read_private_file(Disk& disk, const std::filesystem::path& path,
                                      std::optional<unsigned> also_owner) {
  constexpr std::uint64_t kKeyFileBytesMax = 64 << 10;
  if (auto safe = check_private_file(path, also_owner); !safe) return std::unexpected(safe.error());
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
