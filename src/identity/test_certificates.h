#pragma once

// Certificates of every wrong kind, for the tests of this folder and of those above it. Header
// only; no product code includes it.

#include <openssl/pem.h>

#include <string>
#include <vector>

#include "identity/authority.h"
#include "identity/check.h"
#include "identity/openssl.h"

namespace postern::testing_support {

/// What a certificate made by make() says. The defaults are a good leaf for gw1.site.example.
struct Recipe {
  std::string common_name = "gw1.site.example";
  std::vector<std::string> dns_names = {"gw1.site.example"};
  WallTime not_before = wall_from_ms(1'790'000'000'000);
  WallTime not_after = wall_from_ms(1'810'000'000'000);
  std::string basic_constraints = "critical,CA:FALSE";
  std::string key_usage = "critical,digitalSignature";       // "" leaves the extension out
  std::string extended_key_usage = "serverAuth,clientAuth";  // "" leaves the extension out
  std::string name_constraints;
  const char* digest = "SHA256";
  bool names_issuers_key = false;  // an authorityKeyIdentifier
};

struct Issued {
  KeyPtr key;
  Certificate certificate;
};

inline KeyPtr key_of(const char* kind, unsigned bits = 0) {
  if (std::string_view(kind) == "RSA") return KeyPtr(EVP_RSA_gen(bits));
  if (std::string_view(kind) == "ED25519")
    return KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  return KeyPtr(EVP_EC_gen(kind));
}

inline void extend(X509* x509, X509* issuer, int kind, const std::string& value) {
  if (value.empty()) return;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  invariant(extension != nullptr && X509_add_ext(x509, extension, -1) == 1, "an extension");
  X509_EXTENSION_free(extension);
}

/// Signed by `issuer`, or by itself when that is null.
inline Issued make(const Recipe& recipe, const Issued* issuer = nullptr,
                   KeyPtr key = key_of("P-256")) {
  static long serial = 1000;
  X509Ptr x509(X509_new());
  X509_set_version(x509.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), ++serial);
  ASN1_TIME_set(X509_getm_notBefore(x509.get()), to_ms(recipe.not_before) / 1000);
  ASN1_TIME_set(X509_getm_notAfter(x509.get()), to_ms(recipe.not_after) / 1000);
  X509_set_pubkey(x509.get(), key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(recipe.common_name.c_str()), -1,
                             -1, 0);
  X509* parent = issuer == nullptr ? x509.get() : issuer->certificate.native();
  X509_set_issuer_name(x509.get(), X509_get_subject_name(parent));
  extend(x509.get(), parent, NID_basic_constraints, recipe.basic_constraints);
  extend(x509.get(), parent, NID_key_usage, recipe.key_usage);
  extend(x509.get(), parent, NID_ext_key_usage, recipe.extended_key_usage);
  extend(x509.get(), parent, NID_name_constraints, recipe.name_constraints);
  extend(x509.get(), parent, NID_subject_key_identifier, "hash");
  if (recipe.names_issuers_key)
    extend(x509.get(), parent, NID_authority_key_identifier, "keyid:always");
  std::string san;
  for (const std::string& name : recipe.dns_names) san += (san.empty() ? "DNS:" : ",DNS:") + name;
  extend(x509.get(), parent, NID_subject_alt_name, san);
  EVP_PKEY* signer = issuer == nullptr ? key.get() : issuer->key.get();
  const EVP_MD* digest = EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519
                             ? nullptr
                             : EVP_get_digestbyname(recipe.digest);
  invariant(X509_sign(x509.get(), signer, digest) > 0, "a test certificate");
  auto certificate = Certificate::from_native(x509.get());
  invariant(certificate.has_value(), "a test certificate can be read");
  return {std::move(key), std::move(*certificate)};
}

inline Recipe authority_recipe(std::string common_name) {
  Recipe recipe;
  recipe.common_name = std::move(common_name);
  recipe.dns_names = {};
  recipe.basic_constraints = "critical,CA:TRUE";
  recipe.key_usage = "critical,keyCertSign,cRLSign";
  recipe.extended_key_usage = "";
  return recipe;
}

}  // namespace postern::testing_support
