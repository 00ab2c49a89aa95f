#include "identity/key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/kdf.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "identity/openssl.h"

namespace postern {
namespace {

using EcdsaSignature = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;
using Number = std::unique_ptr<BIGNUM, FreeWith<BN_clear_free>>;
using NumberContext = std::unique_ptr<BN_CTX, FreeWith<BN_CTX_free>>;
using Curve = std::unique_ptr<EC_GROUP, FreeWith<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, FreeWith<EC_POINT_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, FreeWith<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;

/// Everything in front of X and Y: SEQUENCE, id-ecPublicKey, prime256v1, BIT STRING, 0x04.
constexpr std::array<unsigned char, 27> kSpkiPrefix = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};

/// The order n of P-256 and its half, rounded down, big-endian.
constexpr std::array<unsigned char, 32> kOrder = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
constexpr std::array<unsigned char, 32> kHalfOrder = {
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};

/// Fetched once: a fetch takes locks and costs more than hashing a small message.
const EVP_MD* sha256_method() {
  static EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  invariant(method != nullptr, "OpenSSL has SHA-256");
  return method;
}

Digest digest_of(std::string_view context, ByteView bytes) {
  constexpr std::byte kSeparator{0};
  return Sha256().update(as_bytes(context)).update(ByteView(&kSeparator, 1)).update(bytes).finish();
}

bool lower_half(const unsigned char* s) { return std::memcmp(s, kHalfOrder.data(), 32) <= 0; }

/// The DER that OpenSSL wants, from r and s. Fits 8 + 2 * 33 bytes.
struct DerSignature {
  std::array<unsigned char, 72> bytes{};
  std::size_t size = 0;
};

void append_integer(DerSignature& der, const unsigned char* number) {
  std::size_t skip = 0;
  while (skip < 31 && number[skip] == 0) ++skip;
  const bool pad = (number[skip] & 0x80) != 0;
  const std::size_t length = 32 - skip;
  der.bytes[der.size++] = 0x02;
  der.bytes[der.size++] = static_cast<unsigned char>(length + (pad ? 1 : 0));
  if (pad) der.bytes[der.size++] = 0;
  std::memcpy(der.bytes.data() + der.size, number + skip, length);
  der.size += length;
}

DerSignature der_of(const Signature& signature) {
  const auto* raw = unsigned_data(signature);
  DerSignature der;
  der.size = 2;
  append_integer(der, raw);
  append_integer(der, raw + 32);
  der.bytes[0] = 0x30;
  der.bytes[1] = static_cast<unsigned char>(der.size - 2);
  return der;
}

/// r and s as 32 bytes each, the lower s.
Signature raw_of(const unsigned char* der, std::size_t size) {
  const EcdsaSignature parsed(d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(size)));
  invariant(parsed != nullptr, "our own signature can be read");
  Signature raw{};
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  bool fits = BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), out, 32) == 32 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), out + 32, 32) == 32;
  if (fits && !lower_half(out + 32)) {
    const Number order(BN_bin2bn(kOrder.data(), 32, nullptr));
    const Number lower(BN_new());
    fits = order && lower &&
           BN_sub(lower.get(), order.get(), ECDSA_SIG_get0_s(parsed.get())) == 1 &&
           BN_bn2binpad(lower.get(), out + 32, 32) == 32;
  }
  invariant(fits, "a P-256 signature has two numbers of 32 bytes");
  return raw;
}

/// A context in the state that every sign or verify starts from.
KeyContextPtr prepared(EVP_PKEY* key, int (*init)(EVP_PKEY_CTX*)) {
  KeyContextPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  invariant(context != nullptr && init(context.get()) == 1, "OpenSSL does ECDSA with P-256");
  return context;
}

KeyContextPtr duplicate(const EVP_PKEY_CTX* prepared_context) {
  KeyContextPtr context(EVP_PKEY_CTX_dup(prepared_context));
  invariant(context != nullptr, "a prepared context can be duplicated");
  return context;
}

}  // namespace

Digest sha256(ByteView bytes) {
  Digest digest;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 nullptr, sha256_method(), nullptr);
  invariant(done == 1, "SHA-256 works");
  return digest;
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  invariant(context_ != nullptr && EVP_DigestInit_ex2(context_, sha256_method(), nullptr) == 1,
            "SHA-256 works");
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
      EVP_DigestInit_ex2(context_, nullptr, nullptr) == 1;
  invariant(done, "SHA-256 works");
  return digest;
}

struct PublicKey::Parts {
  std::array<std::byte, kSpkiBytes> spki{};
  Digest digest{};
  KeyPtr key;
  KeyContextPtr verifier;
};

Result<PublicKey> PublicKey::from_spki(ByteView der) {
  if (der.size() != kSpkiBytes)
    return fail(Errc::invalid,
                "a public key of {} bytes; a P-256 key as uncompressed SubjectPublicKeyInfo has {}",
                der.size(), kSpkiBytes);
  if (std::memcmp(der.data(), kSpkiPrefix.data(), kSpkiPrefix.size()) != 0)
    return fail(Errc::invalid,
                "a public key that is not an uncompressed P-256 (prime256v1) SubjectPublicKeyInfo");
  const unsigned char* at = unsigned_data(der);
  auto parts = std::make_shared<Parts>();
  parts->key.reset(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  if (!parts->key)
    return fail(Errc::invalid, "a public key that is no point of P-256 ({})", openssl_reason());
  std::copy(der.begin(), der.end(), parts->spki.begin());
  parts->digest = sha256(der);
  parts->verifier = prepared(parts->key.get(), EVP_PKEY_verify_init);
  return PublicKey(std::move(parts));
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const BioPtr in = reading(pem);
  const KeyPtr key(PEM_read_bio_PUBKEY(in.get(), nullptr, nullptr, nullptr));
  if (!key) return fail(Errc::invalid, "no readable PUBLIC KEY block ({})", openssl_reason());
  return from_spki(encoded(i2d_PUBKEY, key.get()));
}

ByteView PublicKey::spki() const { return parts_->spki; }

std::string PublicKey::to_pem() const {
  const BioPtr out = writing();
  invariant(PEM_write_bio_PUBKEY(out.get(), parts_->key.get()) == 1, "a public key can be written");
  return written(out.get());
}

Digest PublicKey::fingerprint() const { return parts_->digest; }
NodeId PublicKey::node_id() const { return node_id_of(parts_->digest); }
bool PublicKey::operator==(const PublicKey& other) const {
  return parts_->spki == other.parts_->spki;
}

bool PublicKey::verifies(std::string_view context, ByteView bytes,
                         const Signature& signature) const {
  if (!lower_half(unsigned_data(signature) + 32)) return false;
  const DerSignature der = der_of(signature);
  const Digest digest = digest_of(context, bytes);
  const KeyContextPtr verifier = duplicate(parts_->verifier.get());
  const int verdict = EVP_PKEY_verify(verifier.get(), der.bytes.data(), der.size,
                                      unsigned_data(digest), digest.size());
  if (verdict != 1) ERR_clear_error();
  return verdict == 1;
}

void PrivateKey::FreeKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }
void PrivateKey::FreeContext::operator()(evp_pkey_ctx_st* context) const {
  EVP_PKEY_CTX_free(context);
}

PrivateKey::PrivateKey(evp_pkey_st* owned)
    : key_(owned), signer_(prepared(owned, EVP_PKEY_sign_init).release()) {}

PrivateKey PrivateKey::generate() {
  auto key = from_native(EVP_EC_gen("P-256"));
  invariant(key.has_value(), "OpenSSL makes P-256 keys");
  return std::move(*key);
}

PrivateKey PrivateKey::from_seed(ByteView seed, std::string_view use) {
  std::array<unsigned char, 48> wide{};
  std::size_t size = wide.size();
  const KeyContextPtr kdf(EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr));
  bool good = kdf && EVP_PKEY_derive_init(kdf.get()) == 1 &&
              EVP_PKEY_CTX_set_hkdf_md(kdf.get(), EVP_sha256()) == 1 &&
              EVP_PKEY_CTX_set1_hkdf_key(kdf.get(), unsigned_data(seed),
                                         static_cast<int>(seed.size())) == 1 &&
              EVP_PKEY_CTX_add1_hkdf_info(kdf.get(), unsigned_data(as_bytes(use)),
                                          static_cast<int>(use.size())) == 1 &&
              EVP_PKEY_derive(kdf.get(), wide.data(), &size) == 1;
  const NumberContext context(BN_CTX_secure_new());
  const Number scalar(BN_bin2bn(wide.data(), static_cast<int>(wide.size()), nullptr));
  const Number order(BN_bin2bn(kOrder.data(), 32, nullptr));
  good = good && context && scalar && order && BN_sub_word(order.get(), 1) == 1 &&
         BN_mod(scalar.get(), scalar.get(), order.get(), context.get()) == 1 &&
         BN_add_word(scalar.get(), 1) == 1;
  OPENSSL_cleanse(wide.data(), wide.size());

  const Curve curve(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Point point(curve ? EC_POINT_new(curve.get()) : nullptr);
  std::array<unsigned char, 65> octets{};
  good =
      good && point &&
      EC_POINT_mul(curve.get(), point.get(), scalar.get(), nullptr, nullptr, context.get()) == 1 &&
      EC_POINT_point2oct(curve.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED, octets.data(),
                         octets.size(), context.get()) == octets.size();
  const Builder builder(OSSL_PARAM_BLD_new());
  good = good && builder &&
         OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1",
                                         0) == 1 &&
         OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, octets.data(),
                                          octets.size()) == 1 &&
         OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar.get()) == 1;
  const Params params(good ? OSSL_PARAM_BLD_to_param(builder.get()) : nullptr);
  const KeyContextPtr maker(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* native = nullptr;
  good = params && maker && EVP_PKEY_fromdata_init(maker.get()) == 1 &&
         EVP_PKEY_fromdata(maker.get(), &native, EVP_PKEY_KEYPAIR, params.get()) == 1;
  auto key = from_native(native);
  invariant(good && key.has_value(), "every seed is a key of P-256");
  return std::move(*key);
}

Result<PrivateKey> PrivateKey::from_native(evp_pkey_st* owned) {
  KeyPtr key(owned);
  if (!key) return fail(Errc::invalid, "no readable private key ({})", openssl_reason());
  if (const std::string kind = key_kind_of(key.get()); kind != "EC P-256")
    return fail(Errc::invalid, "a private key of kind {}; it must be EC P-256", kind);
  // Files may say explicit parameters or a compressed point; what we show is always canonical.
  EVP_PKEY_set_utf8_string_param(key.get(), "point-format", "uncompressed");
  auto public_key = PublicKey::from_spki(encoded(i2d_PUBKEY, key.get()));
  if (!public_key) return std::unexpected(public_key.error());
  PrivateKey made(key.release());
  made.public_key_ = std::move(*public_key);
  constexpr std::string_view kTrial = "postern key trial";
  // A file may hold a public half that belongs to another key: everything it signs would be
  // refused.
  if (!made.public_key_->verifies(kTrial, {}, made.sign(kTrial, {})))
    return fail(Errc::invalid, "a private key whose public half is that of another key");
  return made;
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pkcs8) {
  if (needs_password(pkcs8))
    return fail(Errc::denied,
                "the private key is encrypted with a password; write it without one: "
                "openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.new");
  const BioPtr in = reading(pkcs8);
  return from_native(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
}

std::string PrivateKey::to_pem() const { return private_key_pem(key_.get()); }

Signature PrivateKey::sign(std::string_view context, ByteView bytes) const {
  const Digest digest = digest_of(context, bytes);
  const KeyContextPtr signer = duplicate(signer_.get());
  std::array<unsigned char, 80> der{};
  std::size_t size = der.size();
  const int done =
      EVP_PKEY_sign(signer.get(), der.data(), &size, unsigned_data(digest), digest.size());
  invariant(done == 1, "a P-256 key signs");
  return raw_of(der.data(), size);
}

}  // namespace postern
