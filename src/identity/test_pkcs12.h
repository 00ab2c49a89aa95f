#pragma once

// PKCS#12 files of every kind, for tests and fuzz targets; no product code includes it.

#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#include "identity/test_certificates.h"

namespace postern::testing_support {

/// How a file is made. The defaults are what OpenSSL writes.
struct Pkcs12Recipe {
  int key_cipher = NID_aes_256_cbc;
  int certificate_cipher = NID_aes_256_cbc;
  int rounds = 1;       // of what is encrypted
  int code_rounds = 1;  // of the authentication code; -1: it has none
  std::vector<Certificate> more;
};

inline Bytes pkcs12_of(const Issued& issued, const char* password,
                       const Pkcs12Recipe& recipe = {}) {
  using Context = std::unique_ptr<OSSL_LIB_CTX, FreeWith<OSSL_LIB_CTX_free>>;
  using Provider = std::unique_ptr<OSSL_PROVIDER, FreeWith<OSSL_PROVIDER_unload>>;
  using Stack = std::unique_ptr<STACK_OF(X509),
                                decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })>;
  const Context context(OSSL_LIB_CTX_new());
  const Provider common(OSSL_PROVIDER_load(context.get(), "default"));
  const Provider old(OSSL_PROVIDER_load(context.get(), "legacy"));
  const Stack more(sk_X509_new_null());
  for (const Certificate& one : recipe.more) sk_X509_push(more.get(), one.native());
  const std::unique_ptr<PKCS12, FreeWith<PKCS12_free>> made(PKCS12_create_ex(
      password, "gw1", issued.key.get(), issued.certificate.native(), more.get(), recipe.key_cipher,
      recipe.certificate_cipher, recipe.rounds, recipe.code_rounds, 0, context.get(), nullptr));
  invariant(made != nullptr, "a PKCS#12 file");
  return encoded(i2d_PKCS12, made.get());
}

}  // namespace postern::testing_support
