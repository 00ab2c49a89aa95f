#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/disk.h"
#include "base/node_id.h"
#include "base/result.h"

struct evp_pkey_st;
struct evp_pkey_ctx_st;
struct evp_md_ctx_st;

namespace postern {

Digest sha256(ByteView bytes);

/// SHA-256 in pieces. One thread at a time; reusable after finish().
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  Sha256& update(ByteView bytes);
  Digest finish();  // and starts anew

 private:
  evp_md_ctx_st* context_;
};

/// The public half of a P-256 key that signs: identity keys, the group root, delegated keys.
/// A value, cheap to copy; one object may be used by several threads at once.
class PublicKey {
 public:
  static constexpr std::size_t kSpkiBytes = 91;

  /// Takes a SubjectPublicKeyInfo in DER in its one canonical form: prime256v1 by name, the point
  /// uncompressed and on the curve, 91 bytes. Anything else is `invalid`: one key has one
  /// encoding, hence one node id.
  static Result<PublicKey> from_spki(ByteView der);
  /// "-----BEGIN PUBLIC KEY-----" around the same bytes; text around the block is ignored.
  static Result<PublicKey> from_pem(std::string_view pem);

  ByteView spki() const;
  std::string to_pem() const;
  Digest fingerprint() const;  // SHA-256 of spki(); what operators compare
  NodeId node_id() const;

  /// Whether `signature` was made by sign() of the private half over the same context and bytes.
  /// Of the two values of s that satisfy the equation only the lower one (at most half of the
  /// curve's order) is accepted, so nobody but the signer can make a second signature of a message.
  bool verifies(std::string_view context, ByteView bytes, const Signature& signature) const;

  bool operator==(const PublicKey& other) const;

 private:
  friend class PrivateKey;
  struct Parts;
  explicit PublicKey(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const Parts> parts_;  // shared: immutable, and set up once for many verifications
};

/// A P-256 key that signs. Moved, never copied; its memory is wiped when it ends. After a move
/// only destruction and assignment are allowed. sign() may be called by several threads at once.
class PrivateKey {
 public:
  static PrivateKey generate();
  /// The key that a secret stands for: 1 + (HKDF-SHA256(seed, no salt, `use`, 48 bytes) mod (n -
  /// 1)), n the order of P-256 (NIST SP 800-56A, 5.6.1.2.1). The same seed and use give the same
  /// key.
  static PrivateKey from_seed(ByteView seed, std::string_view use);
  /// PKCS#8 PEM of a P-256 key; another kind of key is `invalid` and named.
  static Result<PrivateKey> from_pem(std::string_view pkcs8);
  std::string to_pem() const;  // unencrypted PKCS#8: for files of mode 0600 only

  const PublicKey& public_key() const { return *public_key_; }
  NodeId node_id() const { return public_key_->node_id(); }

  /// ECDSA with SHA-256 over (context, 0x00, bytes). `context` says what is being signed, e.g.
  /// "postern batch v1", so that a signature over one kind of thing never passes for another; it
  /// holds no 0x00. 64 bytes: r, s big-endian, the lower s.
  Signature sign(std::string_view context, ByteView bytes) const;

 private:
  explicit PrivateKey(evp_pkey_st* owned);
  static Result<PrivateKey> from_native(evp_pkey_st* owned);
  struct FreeKey {
    void operator()(evp_pkey_st* key) const;
  };
  struct FreeContext {
    void operator()(evp_pkey_ctx_st* context) const;
  };
  std::unique_ptr<evp_pkey_st, FreeKey> key_;
  std::unique_ptr<evp_pkey_ctx_st, FreeContext> signer_;  // set up once, duplicated per signature
  std::optional<PublicKey> public_key_;
};

/// Passes when only its owner can read or write the file, and that owner is root, we, or
/// `also_owner`. Otherwise `denied`: the message says why and the command that repairs it. `what`
/// is what lies in it.
Result<> check_private_file(Disk& disk, const std::filesystem::path& path,
                            std::optional<unsigned> also_owner = std::nullopt,
                            const char* what = "private key");

/// Reads the text of a key file after check_private_file(). The caller wipes it with wipe().
Result<std::string> read_private_file(Disk& disk, const std::filesystem::path& path,
                                      std::optional<unsigned> also_owner = std::nullopt);
/// A password or passphrase in a file that passes check_private_file(): all of it but the end of
/// its last line. `invalid` when it is over kPasswordBytesMax or has a zero byte in it. The caller
/// wipes it.
inline constexpr std::size_t kPasswordBytesMax = 1024;
Result<std::string> read_password_file(Disk& disk, const std::filesystem::path& path,
                                       std::optional<unsigned> also_owner = std::nullopt);
/// Overwrites a secret so that it does not stay in freed memory, and empties it.
void wipe(std::string& secret);

/// The P-256 key in a file that passes check_private_file().
Result<PrivateKey> load_private_key(Disk& disk, const std::filesystem::path& path,
                                    std::optional<unsigned> also_owner = std::nullopt);

}  // namespace postern
