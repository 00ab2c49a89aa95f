#include "sim/fake_key.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/cursor.h"
#include "base/invariant.h"
#include "base/random.h"
#include "identity/key.h"

// What the product's header holds by pointer; ours to define, because no OpenSSL key is ever made.
struct evp_pkey_st {
  postern::Digest secret;
};
struct evp_pkey_ctx_st {};

namespace postern {
namespace {

constexpr std::string_view kPrivateBegin = "-----BEGIN PRIVATE KEY-----\n";
constexpr std::string_view kPrivateEnd = "\n-----END PRIVATE KEY-----\n";
constexpr std::string_view kPublicBegin = "-----BEGIN PUBLIC KEY-----\n";
constexpr std::string_view kPublicEnd = "\n-----END PUBLIC KEY-----\n";

/// In front of the secret, as in a real SubjectPublicKeyInfo of P-256.
constexpr std::array<unsigned char, 27> kSpkiPrefix = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};

SeededRandom& generator() {
  static SeededRandom random(1);
  return random;
}

Signature signature_of(const Digest& secret, std::string_view context, ByteView bytes) {
  constexpr std::byte kSeparator{0};
  static Sha256 hash;  // one thread
  const Digest first = hash.update(secret)
                           .update(as_bytes(context))
                           .update(ByteView(&kSeparator, 1))
                           .update(bytes)
                           .finish();
  Signature signature{};
  std::copy(first.begin(), first.end(), signature.begin());
  std::copy(secret.begin(), secret.begin() + 31, signature.begin() + 33);
  return signature;
}

/// What stands between two lines, from hex.
Result<Bytes> between(std::string_view pem, std::string_view begin, std::string_view end) {
  const auto at = pem.find(begin);
  const auto stop = at == std::string_view::npos ? at : pem.find(end, at);
  if (stop == std::string_view::npos) return fail(Errc::invalid, "no readable key");
  return from_hex(pem.substr(at + begin.size(), stop - at - begin.size()));
}

}  // namespace

void sim::seed_keys(std::uint64_t seed) { generator() = SeededRandom(seed); }

struct PublicKey::Parts {
  std::array<std::byte, kSpkiBytes> spki{};
  Digest secret{}, digest{};
};

Result<PublicKey> PublicKey::from_spki(ByteView der) {
  if (der.size() != kSpkiBytes ||
      std::memcmp(der.data(), kSpkiPrefix.data(), kSpkiPrefix.size()) != 0)
    return fail(Errc::invalid, "a public key of {} bytes that is none", der.size());
  auto parts = std::make_shared<Parts>();
  std::copy(der.begin(), der.end(), parts->spki.begin());
  const ByteView secret = der.subspan(kSpkiPrefix.size(), parts->secret.size());
  std::copy(secret.begin(), secret.end(), parts->secret.begin());
  const Digest check = sha256(secret);
  if (!std::equal(check.begin(), check.end(), der.begin() + kSpkiPrefix.size() + secret.size()))
    return fail(Errc::invalid, "a public key that is no point of the curve");
  parts->digest = sha256(der);
  return PublicKey(std::move(parts));
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  auto der = between(pem, kPublicBegin, kPublicEnd);
  if (!der) return std::unexpected(der.error());
  return from_spki(*der);
}

ByteView PublicKey::spki() const { return parts_->spki; }
std::string PublicKey::to_pem() const {
  return std::string(kPublicBegin) + to_hex(parts_->spki) + std::string(kPublicEnd);
}
Digest PublicKey::fingerprint() const { return parts_->digest; }
NodeId PublicKey::node_id() const { return node_id_of(parts_->digest); }
bool PublicKey::operator==(const PublicKey& other) const {
  return parts_->spki == other.parts_->spki;
}
bool PublicKey::verifies(std::string_view context, ByteView bytes,
                         const Signature& signature) const {
  return signature == signature_of(parts_->secret, context, bytes);
}

void PrivateKey::FreeKey::operator()(evp_pkey_st* key) const { delete key; }
void PrivateKey::FreeContext::operator()(evp_pkey_ctx_st* context) const { delete context; }

PrivateKey::PrivateKey(evp_pkey_st* owned) : key_(owned) {}

PrivateKey PrivateKey::generate() {
  auto key = std::make_unique<evp_pkey_st>();
  generator().fill(key->secret);
  auto made = from_native(key.release());
  invariant(made.has_value(), "a key of the simulation");
  return std::move(*made);
}

PrivateKey PrivateKey::from_seed(ByteView seed, std::string_view use) {
  auto key = std::make_unique<evp_pkey_st>();
  key->secret = Sha256().update(seed).update(as_bytes(use)).finish();
  auto made = from_native(key.release());
  invariant(made.has_value(), "a key of the simulation");
  return std::move(*made);
}

Result<PrivateKey> PrivateKey::from_native(evp_pkey_st* owned) {
  PrivateKey made(owned);
  Writer spki;
  for (const unsigned char byte : kSpkiPrefix) spki.u8(byte);
  spki.bytes(owned->secret).bytes(sha256(owned->secret));
  auto public_key = PublicKey::from_spki(spki.written());
  if (!public_key) return std::unexpected(public_key.error());
  made.public_key_ = std::move(*public_key);
  return made;
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pkcs8) {
  auto bytes = between(pkcs8, kPrivateBegin, kPrivateEnd);
  auto key = std::make_unique<evp_pkey_st>();
  if (!bytes || bytes->size() != key->secret.size())
    return fail(Errc::invalid, "no readable private key");
  std::copy(bytes->begin(), bytes->end(), key->secret.begin());
  return from_native(key.release());
}

std::string PrivateKey::to_pem() const {
  return std::string(kPrivateBegin) + to_hex(key_->secret) + std::string(kPrivateEnd);
}

Signature PrivateKey::sign(std::string_view context, ByteView bytes) const {
  return signature_of(key_->secret, context, bytes);
}

// ---- Hashes are the real ones

Digest sha256(ByteView bytes) {
  static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Digest digest;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 nullptr, method, nullptr);
  invariant(done == 1, "SHA-256 works");
  return digest;
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  invariant(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1, "SHA-256 works");
}
Sha256::~Sha256() { EVP_MD_CTX_free(context_); }
Sha256& Sha256::update(ByteView bytes) {
  invariant(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1, "SHA-256 works");
  return *this;
}
Digest Sha256::finish() {
  Digest digest;
  const bool done =
      EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.data()), nullptr) == 1 &&
      EVP_DigestInit_ex(context_, nullptr, nullptr) == 1;
  invariant(done, "SHA-256 works");
  return digest;
}

}  // namespace postern
