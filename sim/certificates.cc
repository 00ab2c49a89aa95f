#include "sim/certificates.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/invariant.h"
#include "identity/key.h"
#include "identity/openssl.h"
#include "sim/events.h"

namespace postern::sim {
namespace {

constexpr const char* kAuthority = "Simulated root";

KeyPtr key_for(const std::string& name) {
  const Digest seed = sha256(as_bytes("postern simulation: " + name));
  KeyPtr key(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(seed.data()), seed.size()));
  invariant(key != nullptr, "an Ed25519 key");
  return key;
}

void extend(X509* x509, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  invariant(extension != nullptr && X509_add_ext(x509, extension, -1) == 1, "an extension");
  X509_EXTENSION_free(extension);
}

void set_name(X509* x509, const std::string& name) {
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
}

/// A year around the start of every run, as in production.
X509Ptr certificate(const std::string& name, X509* issuer, EVP_PKEY* signer) {
  constexpr long kDay = 24 * 3600;
  const long start = static_cast<long>(to_ms(MachineClock::kStart) / 1000);
  const KeyPtr key = key_for(name);
  X509Ptr x509(X509_new());
  X509_set_version(x509.get(), 2);
  const Digest serial = sha256(as_bytes(name));
  ASN1_INTEGER_set(X509_get_serialNumber(x509.get()),
                   1 + std::to_integer<long>(serial[0]) * 256 + std::to_integer<long>(serial[1]));
  ASN1_TIME_set(X509_getm_notBefore(x509.get()), start - kDay);
  ASN1_TIME_set(X509_getm_notAfter(x509.get()), start + 364 * kDay);
  X509_set_pubkey(x509.get(), key.get());
  set_name(x509.get(), name);
  X509* const parent = issuer == nullptr ? x509.get() : issuer;
  X509_set_issuer_name(x509.get(), X509_get_subject_name(parent));
  extend(x509.get(), parent, NID_basic_constraints,
         issuer == nullptr ? "critical,CA:TRUE" : "critical,CA:FALSE");
  extend(x509.get(), parent, NID_key_usage,
         issuer == nullptr ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (issuer != nullptr) {
    extend(x509.get(), parent, NID_ext_key_usage, "serverAuth,clientAuth");
    extend(x509.get(), parent, NID_subject_alt_name, "DNS:" + name);
  }
  extend(x509.get(), parent, NID_subject_key_identifier, "hash");
  invariant(X509_sign(x509.get(), signer, nullptr) > 0, "an Ed25519 signature");
  return x509;
}

std::string pem_of(X509* x509) {
  auto made = Certificate::from_native(x509);
  invariant(made.has_value(), "a certificate that can be read");
  return made->pem();
}

}  // namespace

Certificates::Certificates() {
  const KeyPtr root = key_for(kAuthority);
  anchors_pem_ = pem_of(certificate(kAuthority, nullptr, root.get()).get());
}

const Certificates::Pair& Certificates::of(const std::string& name) {
  auto [at, fresh] = pairs_.try_emplace(name);
  if (fresh) {
    const KeyPtr root = key_for(kAuthority);
    const X509Ptr authority = certificate(kAuthority, nullptr, root.get());
    const X509Ptr leaf = certificate(name, authority.get(), root.get());
    at->second = {private_key_pem(key_for(name).get()), pem_of(leaf.get())};
  }
  return at->second;
}

}  // namespace postern::sim
