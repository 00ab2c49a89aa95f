#include "identity/openssl.h"

#include <openssl/crypto.h>
#include <openssl/pem.h>

#include <array>

#include "identity/key.h"

namespace postern {

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* words = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return words == nullptr ? "unknown reason" : words;
}

BioPtr reading(ByteView bytes) {
  invariant(bytes.size() < (1u << 30), "what OpenSSL reads is small");
  BioPtr bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  invariant(bio != nullptr, "memory for a BIO");
  return bio;
}

BioPtr writing() {
  BioPtr bio(BIO_new(BIO_s_secmem()));
  invariant(bio != nullptr, "memory for a BIO");
  return bio;
}

std::string written(BIO* bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size <= 0 ? std::string() : std::string(data, static_cast<std::size_t>(size));
}

namespace {

std::string group_of(EVP_PKEY* key) {
  std::array<char, 64> name{};
  std::size_t size = 0;
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), &size) != 1) {
    ERR_clear_error();
    return "unnamed curve";
  }
  const std::string_view group(name.data(), size);
  if (group == "prime256v1") return "P-256";
  if (group == "secp384r1") return "P-384";
  if (group == "secp521r1") return "P-521";
  return std::string(group);
}

}  // namespace

std::string key_kind_of(EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_EC:
      return "EC " + group_of(key);
    case EVP_PKEY_RSA:
      return "RSA " + std::to_string(EVP_PKEY_get_bits(key));
    case EVP_PKEY_RSA_PSS:
      return "RSA-PSS " + std::to_string(EVP_PKEY_get_bits(key));
    case EVP_PKEY_ED25519:
      return "Ed25519";
    case EVP_PKEY_ED448:
      return "Ed448";
    default: {
      const char* name = EVP_PKEY_get0_type_name(key);
      if (name == nullptr) return "unknown";
      return std::string(name) + " " + std::to_string(EVP_PKEY_get_bits(key));
    }
  }
}

bool key_strong_enough(EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_EC: {
      const std::string group = group_of(key);
      return group == "P-256" || group == "P-384" || group == "P-521";
    }
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
      return EVP_PKEY_get_bits(key) >= 2048;
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
      return true;
    default:
      return false;
  }
}

Digest spki_sha256_of(EVP_PKEY* key) {
  const Bytes spki = encoded(i2d_PUBKEY, key);
  invariant(!spki.empty(), "a key that was read can be written");
  return sha256(spki);
}

std::string private_key_pem(EVP_PKEY* key) {
  const BioPtr out = writing();
  const bool wrote =
      PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
  invariant(wrote, "a private key can be written as PKCS#8");
  return written(out.get());
}

bool needs_password(std::string_view pem) {
  return pem.find("BEGIN ENCRYPTED PRIVATE KEY") != std::string_view::npos ||
         pem.find("Proc-Type: 4,ENCRYPTED") != std::string_view::npos;
}

}  // namespace postern
