#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/certificate_mark.h"
#include "base/clock.h"
#include "base/node_id.h"
#include "base/result.h"

struct x509_st;
struct evp_pkey_st;

namespace postern {

inline constexpr std::size_t kCertificateBytesMax = 64 << 10;  // one certificate, DER
inline constexpr std::size_t kCertificatesMax = 64;            // in one PEM text
inline constexpr std::size_t kPemBytesMax = 1 << 20;

/// One X.509 certificate, decoded once. A value, cheap to copy, usable by several threads at once.
/// It says what stands in the certificate; whether to believe it is check.h's business.
class Certificate {
 public:
  /// Nothing may follow the certificate. `invalid` when it is none, is over kCertificateBytesMax or
  /// has contradictory extensions.
  static Result<Certificate> from_der(ByteView der);
  /// The first certificate in the text.
  static Result<Certificate> from_pem(std::string_view pem);
  /// Takes a share of `certificate`; the caller keeps its own.
  static Result<Certificate> from_native(x509_st* certificate);

  ByteView der() const;
  std::string pem() const;

  // Texts are printable and at most 256 bytes: they go into logs and come from strangers.
  const std::string& subject() const;              // "CN=gw1.site.example,O=..."
  const std::string& subject_common_name() const;  // "" when there is none
  const std::string& issuer() const;
  const std::vector<std::string>& dns_names() const;  // of the SAN, as they stand there
  const std::string& serial() const;                  // hex, lower case, no leading zeros

  WallTime not_before() const;
  WallTime not_after() const;

  // True too when the certificate does not restrict its usage (no such extension).
  bool has_server_auth() const;
  bool has_client_auth() const;
  bool has_digital_signature() const;

  bool is_ca() const;           // basicConstraints says CA
  bool is_self_signed() const;  // issuer and subject are the same and the key identifiers agree

  const std::string& key_kind() const;  // "EC P-256", "RSA 2048", "Ed25519"
  bool key_strong() const;              // RSA from 2048 bits, EC P-256 P-384 P-521, Ed25519, Ed448
  const std::string& signature_algorithm() const;
  bool signature_strong() const;  // no MD5, no SHA-1

  const Digest& spki_sha256() const;  // of the public key
  const Digest& fingerprint() const;  // of the whole certificate
  /// What it is denied by. A serial that is too long to be one is not in it.
  const CertificateMark& mark() const;
  const Digest& subject_sha256() const;  // of the name in DER: the issuer of what it signs

  /// Whether TlsKey::sign() of its private half made this signature.
  bool verifies(std::string_view context, ByteView bytes, ByteView signature) const;

  x509_st* native() const;  // stays ours
  bool operator==(const Certificate& other) const;

 private:
  struct Details;
  explicit Certificate(std::shared_ptr<const Details> details) : details_(std::move(details)) {}
  static Result<Certificate> from_owned(x509_st* owned);
  static Result<std::shared_ptr<const Details>> details_of(x509_st* owned);
  std::shared_ptr<const Details> details_;  // shared: immutable, held by channels and caches alike
};

/// Every certificate of a PEM text in its order; other blocks and text between are skipped.
/// `invalid` when there is none, more than kCertificatesMax, or one cannot be read.
Result<std::vector<Certificate>> certificates_from_pem(std::string_view text);
std::string to_pem(const std::vector<Certificate>& certificates);

/// A private key for TLS: RSA, EC or Ed25519. A value, cheap to copy; wiped when the last copy
/// ends.
class TlsKey {
 public:
  enum class Kind { ec, rsa, ed25519 };  // P-256, 3072 bits
  static TlsKey generate(Kind kind);
  /// PKCS#8 or a traditional "EC/RSA PRIVATE KEY" in PEM; `denied` when it needs a password.
  static Result<TlsKey> from_pem(std::string_view pem);
  static Result<TlsKey> from_der(ByteView der);  // unencrypted PKCS#8 or traditional

  std::string to_pem() const;  // unencrypted PKCS#8: for files of mode 0600 only
  const std::string& kind_text() const;
  const Digest& spki_sha256() const;
  bool matches(const Certificate& certificate) const;
  /// Over (context, 0x00, bytes): ECDSA or RSA-PSS with SHA-256, or Ed25519.
  Bytes sign(std::string_view context, ByteView bytes) const;
  evp_pkey_st* native() const;  // stays ours

 private:
  struct Details;
  explicit TlsKey(std::shared_ptr<const Details> details) : details_(std::move(details)) {}
  static Result<TlsKey> from_owned(evp_pkey_st* owned);
  std::shared_ptr<const Details> details_;  // shared by every TLS context that uses the key
};

/// What a node shows in a handshake. The chain has the leaf first, then intermediates.
struct TlsCredential {
  TlsKey key;
  std::vector<Certificate> chain;
};

/// Whether `fqdn` stands in the SAN as a dNSName, upper and lower case alike. Wildcards never match
/// and the common name never counts (rule T1).
bool name_matches(const Certificate& certificate, std::string_view fqdn);

/// The lower-case form of a host name with a domain: labels of 1-63 letters, digits and inner
/// hyphens, at least two of them, at most 253 bytes, no trailing dot; an IP address is none.
/// `invalid` says what is wrong.
Result<std::string> normal_fqdn(std::string_view text);

}  // namespace postern
