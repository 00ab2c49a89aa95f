#include <openssl/core_names.h>
#include <openssl/pem.h>

#include <openssl/rsa.h>

#include "base/cursor.h"
#include "identity/certificate.h"
#include "identity/openssl.h"

namespace postern {
namespace {

constexpr std::size_t kRsaBits = 3072;

/// Made ready for a signature of `key`'s kind; false when OpenSSL cannot.
template <typename Begin>
bool begin(EVP_MD_CTX* context, Begin begin, EVP_PKEY* key) {
  EVP_PKEY_CTX* how = nullptr;
  if (begin(context, &how, digest_for(key), nullptr, key) != 1) return false;
  return EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA ||
         (EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
          EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1);
}

Bytes signed_bytes(std::string_view context, ByteView bytes) {
  Writer out;
  out.bytes(as_bytes(context)).u8(0).bytes(bytes);
  return out.take();
}

/// Never asks a terminal: a daemon would hang there.
int no_password(char*, int, int, void*) { return -1; }

std::unexpected<Error> encrypted() {
  return fail(Errc::denied,
              "the private key is encrypted with a password; write it without one: "
              "openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.new");
}

}  // namespace

struct TlsKey::Details {
  KeyPtr key;
  std::string kind;
  Digest spki_digest{};
};

TlsKey TlsKey::generate(Kind kind) {
  EVP_PKEY* key = nullptr;
  if (kind == Kind::ec) key = EVP_EC_gen("P-256");
  if (kind == Kind::rsa) key = EVP_RSA_gen(kRsaBits);
  if (kind == Kind::ed25519) key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  auto made = from_owned(key);
  invariant(made.has_value(), "OpenSSL makes keys");
  return std::move(*made);
}

Result<TlsKey> TlsKey::from_owned(evp_pkey_st* owned) {
  KeyPtr key(owned);
  if (!key) return fail(Errc::invalid, "no readable private key ({})", openssl_reason());
  const int base = EVP_PKEY_get_base_id(key.get());
  const bool usable = base == EVP_PKEY_RSA || base == EVP_PKEY_EC || base == EVP_PKEY_ED25519;
  auto details = std::make_shared<Details>();
  details->kind = key_kind_of(key.get());
  if (!usable)
    return fail(Errc::invalid, "a private key of kind {}; TLS keys are RSA, EC or Ed25519",
                details->kind);
  details->spki_digest = spki_sha256_of(key.get());
  details->key = std::move(key);
  return TlsKey(std::move(details));
}

Result<TlsKey> TlsKey::from_pem(std::string_view pem) {
  if (needs_password(pem)) return encrypted();
  const BioPtr in = reading(pem);
  return from_owned(PEM_read_bio_PrivateKey(in.get(), nullptr, no_password, nullptr));
}

Result<TlsKey> TlsKey::from_der(ByteView der) {
  const unsigned char* at = unsigned_data(der);
  return from_owned(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
}

std::string TlsKey::to_pem() const { return private_key_pem(native()); }
const std::string& TlsKey::kind_text() const { return details_->kind; }
const Digest& TlsKey::spki_sha256() const { return details_->spki_digest; }
evp_pkey_st* TlsKey::native() const { return details_->key.get(); }

bool TlsKey::matches(const Certificate& certificate) const {
  const EVP_PKEY* theirs = X509_get0_pubkey(certificate.native());
  const bool equal = theirs != nullptr && EVP_PKEY_eq(native(), theirs) == 1;
  ERR_clear_error();  // different kinds leave one behind
  return equal;
}

Bytes TlsKey::sign(std::string_view context, ByteView bytes) const {
  const Bytes all = signed_bytes(context, bytes);
  const DigestContextPtr digest(EVP_MD_CTX_new());
  std::size_t size = 0;
  bool done = begin(digest.get(), EVP_DigestSignInit, native()) &&
              EVP_DigestSign(digest.get(), nullptr, &size, unsigned_data(all), all.size()) == 1;
  Bytes signature(size);
  done = done && EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(signature.data()),
                                &size, unsigned_data(all), all.size()) == 1;
  invariant(done, "a TLS key signs");
  signature.resize(size);
  return signature;
}

bool Certificate::verifies(std::string_view context, ByteView bytes, ByteView signature) const {
  EVP_PKEY* key = X509_get0_pubkey(native());
  const Bytes all = signed_bytes(context, bytes);
  const DigestContextPtr digest(EVP_MD_CTX_new());
  const bool fine = key != nullptr && begin(digest.get(), EVP_DigestVerifyInit, key) &&
                    EVP_DigestVerify(digest.get(), unsigned_data(signature), signature.size(),
                                     unsigned_data(all), all.size()) == 1;
  ERR_clear_error();
  return fine;
}

}  // namespace postern
