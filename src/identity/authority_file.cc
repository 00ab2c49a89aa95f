// The root as it lies in a safe: encrypted with a passphrase.

#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include <array>

#include "identity/authority.h"
#include "identity/openssl.h"

namespace postern {
namespace {

using PlainKeyPtr = std::unique_ptr<PKCS8_PRIV_KEY_INFO, FreeWith<PKCS8_PRIV_KEY_INFO_free>>;
using SealedPtr = std::unique_ptr<X509_SIG, FreeWith<X509_SIG_free>>;

constexpr int kRounds = 600'000;
constexpr std::size_t kSaltBytes = 16;

int passphrase_of(char* buffer, int size, int, void* passphrase) {
  const auto& text = *static_cast<const std::string_view*>(passphrase);
  if (static_cast<int>(text.size()) > size) return -1;
  std::copy(text.begin(), text.end(), buffer);
  return static_cast<int>(text.size());
}

}  // namespace

Result<std::string> CertificateAuthority::export_with(std::string_view passphrase) const {
  if (passphrase.size() < kPassphraseBytesMin)
    return fail(Errc::invalid,
                "a passphrase of {} bytes; the root key of a group needs at least {}",
                passphrase.size(), kPassphraseBytesMin);
  const PlainKeyPtr plain(EVP_PKEY2PKCS8(key_.native()));
  X509_ALGOR* how = PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), kRounds, nullptr, kSaltBytes, nullptr,
                                      NID_hmacWithSHA256);
  invariant(plain && how != nullptr, "a way to encrypt a key");
  const SealedPtr sealed(
      PKCS8_set0_pbe(passphrase.data(), static_cast<int>(passphrase.size()), plain.get(), how));
  if (!sealed) X509_ALGOR_free(how);
  const BioPtr out = writing();
  invariant(sealed && PEM_write_bio_PKCS8(out.get(), sealed.get()) == 1, "a key can be encrypted");
  return written(out.get()) + certificate_.pem();
}

Result<CertificateAuthority> CertificateAuthority::import_with(std::string_view passphrase,
                                                               std::string_view text) {
  const BioPtr in = reading(text);
  const KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, passphrase_of, &passphrase));
  if (!key)
    return fail(Errc::denied,
                "the passphrase does not open it, or there is no private key in it ({})",
                openssl_reason());
  std::string pem = private_key_pem(key.get());
  auto loaded = load(pem, text);
  OPENSSL_cleanse(pem.data(), pem.size());
  return loaded;
}

}  // namespace postern
