#pragma once

// What the .cc files of identity share about OpenSSL. Not for other folders: their headers stay
// free of OpenSSL's.

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/invariant.h"
#include "base/node_id.h"

namespace postern {

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* thing) const {
    kFree(thing);
  }
};

using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using X509RequestPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;

/// Why OpenSSL's last call failed, in its words, and forgets it: a stale error must not be read
/// as the reason of a later failure.
std::string openssl_reason();

/// A BIO that reads `bytes`, which must outlive it.
BioPtr reading(ByteView bytes);
inline BioPtr reading(std::string_view text) { return reading(as_bytes(text)); }
/// Memory that is wiped when the BIO ends.
BioPtr writing();
std::string written(BIO* bio);

/// Calls an i2d_... function into a fresh buffer; empty when it fails.
template <typename Encode, typename Thing>
Bytes encoded(Encode encode, Thing* thing) {
  unsigned char* der = nullptr;
  const int size = encode(thing, &der);
  if (size <= 0) return {};
  Bytes bytes(reinterpret_cast<std::byte*>(der), reinterpret_cast<std::byte*>(der) + size);
  OPENSSL_free(der);
  return bytes;
}

inline const unsigned char* unsigned_data(ByteView bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

/// "EC P-256", "RSA 3072", "Ed25519", "DSA 1024", "unknown".
std::string key_kind_of(EVP_PKEY* key);
/// Strong enough for TLS 1.3 today; see Certificate::key_strong().
bool key_strong_enough(EVP_PKEY* key);
/// What a signature of this kind of key is made over; Ed25519 hashes by itself.
inline const EVP_MD* digest_for(EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}
Digest spki_sha256_of(EVP_PKEY* key);
std::string private_key_pem(EVP_PKEY* key);
/// A PEM block with a private key that asks for a password, by its header lines.
bool needs_password(std::string_view pem);

}  // namespace postern
