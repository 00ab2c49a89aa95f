#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "identity/certificate.h"

namespace postern {

inline constexpr std::size_t kRequestBytesMax = 16 << 10;  // a CSR, PEM or DER (rule T7)
inline constexpr std::size_t kRequestNamesMax = 16;        // names in one certificate
inline constexpr std::chrono::days kCertificateLifetime{365};
inline constexpr std::chrono::days kAuthorityLifetime{3652};
inline constexpr std::chrono::days kIssuingLifetime{1826};
inline constexpr std::size_t kEarlierMax = 16;  // issuing certificates that are remembered
inline constexpr std::size_t kPassphraseBytesMin = 12;
/// not_before lies this far in the past, or a tenth of the life, whichever is less.
inline constexpr std::chrono::minutes kClockSkew{5};

/// What a certificate signing request asks for, after its own signature was verified.
struct RequestInfo {
  std::vector<std::string> names;  // lower-case FQDNs; the first one is the node's name
  std::string key_kind;
  Digest spki_sha256{};
};

/// Reads a PKCS#10 request in PEM or DER. Names are the SAN's dNSNames, or the common name when
/// there is no SAN; `invalid` when one is no FQDN, the signature does not fit or the key is weak.
Result<RequestInfo> read_request(ByteView csr);

/// A request (PEM) for `name` and `extra_names`, signed with `key`; it asks for digitalSignature,
/// serverAuth and clientAuth, as check.h wants them. `invalid` names the one that is
/// no FQDN.
Result<std::string> make_request(const TlsKey& key, std::string_view name,
                                 std::span<const std::string> extra_names = {});

struct SignOptions {
  std::optional<std::string> name =
      std::nullopt;  // the request must be for exactly this name first
  std::chrono::seconds lifetime = kCertificateLifetime;
  WallTime now{};
};

/// One key of the group's built-in certificate authority, P-256: the root, or the issuing one under
/// it, which signs nodes' certificates while the root's key lies in a safe. Where there is no
/// issuing one, as in older groups, the root signs. Moved, not copied. Whoever holds it can name
/// nodes; approval is a second, separate lock (T2).
class CertificateAuthority {
 public:
  static Result<CertificateAuthority> create(std::string_view group, WallTime now, Random& random);
  /// A root that will take the place of `root`, whose key it does not need: of the same name with
  /// the next number behind it ("G2").
  static Result<CertificateAuthority> create_after(const Certificate& root, WallTime now,
                                                   Random& random);
  /// `invalid` when the certificate is no CA's or does not belong to the key.
  static Result<CertificateAuthority> load(std::string_view key_pem,
                                           std::string_view certificate_pem);
  /// What export_with() wrote; `denied` when the passphrase does not open it.
  static Result<CertificateAuthority> import_with(std::string_view passphrase,
                                                  std::string_view text);

  CertificateAuthority(CertificateAuthority&&) = default;
  CertificateAuthority& operator=(CertificateAuthority&&) = default;

  const Certificate& certificate() const { return certificate_; }
  /// By its signature: issued by this one, or by one of the group's others that it knows.
  bool issued(const Certificate& certificate) const;
  void also_know(const Certificate& other) { others_.push_back(other); }
  std::string key_pem() const { return key_.to_pem(); }  // for a file of mode 0600 only
  /// Key, encrypted with the passphrase (PKCS#8, PBES2: PBKDF2 and AES-256), and certificate in
  /// PEM; openssl reads it too. `invalid` when the passphrase is shorter than kPassphraseBytesMin.
  Result<std::string> export_with(std::string_view passphrase) const;

  /// One that signs nodes' certificates in this one's place, with a key of its own; it cannot make
  /// further authorities and does not outlive this one.
  Result<CertificateAuthority> make_issuing(WallTime now, Random& random) const;

  /// A node's certificate for the key and the names of the request, for both directions
  /// (serverAuth and clientAuth), never beyond the authority's own end. Nothing else of the request
  /// is taken over. `invalid` when the request is bad, `denied` when it is for another name.
  Result<Certificate> sign(ByteView csr, const SignOptions& options, Random& random) const;

 private:
  static Result<CertificateAuthority> create_root(const std::string& name, WallTime now,
                                                  Random& random);
  CertificateAuthority(TlsKey key, Certificate certificate)
      : key_(std::move(key)), certificate_(std::move(certificate)) {}
  TlsKey key_;
  Certificate certificate_;
  std::vector<Certificate> others_;
};

}  // namespace postern
