#include "identity/certificate.h"

#include <openssl/pem.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "identity/key.h"
#include "identity/openssl.h"

namespace postern {

struct Certificate::Details {
  X509Ptr x509;
  Bytes der;
  std::string subject, common_name, issuer, serial, key_kind, signature_algorithm;
  std::vector<std::string> dns_names;
  WallTime not_before, not_after;
  bool server_auth = false, client_auth = false, digital_signature = false;
  bool ca = false, self_signed = false, key_strong = false, signature_strong = false;
  Digest spki_digest{}, fingerprint{}, subject_digest{};
  CertificateMark mark;
};

namespace {

constexpr std::size_t kTextBytesMax = 256;
constexpr int kDnsNamesMax = 256;

std::string shortened(std::string text) {
  if (text.size() > kTextBytesMax) text.replace(kTextBytesMax - 3, std::string::npos, "...");
  return text;
}

std::string name_text(const X509_NAME* name) {
  const BioPtr out = writing();
  // RFC 2253, everything that is not printable ASCII escaped.
  if (X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) ERR_clear_error();
  return shortened(written(out.get()));
}

std::string common_name_text(const X509_NAME* name) {
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  const BioPtr out = writing();
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  if (ASN1_STRING_print_ex(out.get(), value, ASN1_STRFLGS_RFC2253) < 0) ERR_clear_error();
  return shortened(written(out.get()));
}

/// As it stands in the certificate; zeros when OpenSSL cannot say.
Digest name_digest(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  std::size_t size = 0;
  if (X509_NAME_get0_der(name, &der, &size) != 1) return Digest{};
  return sha256({reinterpret_cast<const std::byte*>(der), size});
}

std::string serial_of(const X509* x509) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(x509);
  const auto* data = reinterpret_cast<const std::byte*>(ASN1_STRING_get0_data(serial));
  std::string hex = to_hex({data, static_cast<std::size_t>(ASN1_STRING_length(serial))});
  hex.erase(0, std::min(hex.find_first_not_of('0'), hex.size()));
  return shortened(hex.empty() ? "0" : hex);
}

Result<WallTime> wall_time(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1)
    return fail(Errc::invalid, "a certificate with a time that cannot be read");
  return WallTime(std::chrono::seconds(timegm(&parts)));
}

Result<std::vector<std::string>> dns_names_of(const X509* x509) {
  int critical = 0;
  using Names = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(x509, NID_subject_alt_name, &critical, nullptr)));
  std::vector<std::string> found;
  if (!names) {
    ERR_clear_error();
    if (critical == -1) return found;  // no such extension
    return fail(Errc::invalid, "a certificate whose subjectAltName cannot be read");
  }
  if (sk_GENERAL_NAME_num(names.get()) > kDnsNamesMax)
    return fail(Errc::invalid, "a certificate with {} names; the limit is {}",
                sk_GENERAL_NAME_num(names.get()), kDnsNamesMax);
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const auto* data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName));
    const std::string text(data, static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    // Zero bytes and the like have been used to make one reader see another name than the next.
    const bool printable =
        std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
    if (!printable || text.empty() || text.size() > 253)
      return fail(Errc::invalid, "a certificate with a dNSName that is no host name");
    found.push_back(text);
  }
  return found;
}

bool is_strong_signature(X509* x509) {
  int digest = NID_undef;
  int bits = 0;
  unsigned flags = 0;
  if (X509_get_signature_info(x509, &digest, nullptr, &bits, &flags) != 1) {
    ERR_clear_error();
    return false;
  }
  return bits >= 112 && digest != NID_sha1 && digest != NID_md5 && digest != NID_md5_sha1;
}

std::string signature_algorithm_text(const X509* x509) {
  const char* name = OBJ_nid2ln(X509_get_signature_nid(x509));
  return name == nullptr ? "unknown" : name;
}

}  // namespace

/// Everything that is asked of a certificate later, read once.
Result<std::shared_ptr<const Certificate::Details>> Certificate::details_of(x509_st* owned) {
  X509Ptr x509(owned);
  auto details = std::make_shared<Details>();
  details->der = encoded(i2d_X509, x509.get());
  if (details->der.empty() || details->der.size() > kCertificateBytesMax)
    return fail(Errc::invalid, "a certificate of {} bytes; the limit is {}", details->der.size(),
                kCertificateBytesMax);
  const std::uint32_t flags = X509_get_extension_flags(x509.get());
  if ((flags & EXFLAG_INVALID) != 0)
    return fail(Errc::invalid, "a certificate with contradictory or unreadable extensions ({})",
                openssl_reason());
  EVP_PKEY* key = X509_get0_pubkey(x509.get());
  if (key == nullptr)
    return fail(Errc::invalid, "a certificate with an unreadable public key ({})",
                openssl_reason());

  auto not_before = wall_time(X509_get0_notBefore(x509.get()));
  if (!not_before) return std::unexpected(not_before.error());
  auto not_after = wall_time(X509_get0_notAfter(x509.get()));
  if (!not_after) return std::unexpected(not_after.error());
  auto dns_names = dns_names_of(x509.get());
  if (!dns_names) return std::unexpected(dns_names.error());

  details->not_before = *not_before;
  details->not_after = *not_after;
  details->dns_names = std::move(*dns_names);
  details->subject = name_text(X509_get_subject_name(x509.get()));
  details->common_name = common_name_text(X509_get_subject_name(x509.get()));
  details->issuer = name_text(X509_get_issuer_name(x509.get()));
  details->serial = serial_of(x509.get());
  const std::uint32_t extended = X509_get_extended_key_usage(x509.get());  // all ones when absent
  details->server_auth = (extended & (XKU_SSL_SERVER | XKU_ANYEKU)) != 0;
  details->client_auth = (extended & (XKU_SSL_CLIENT | XKU_ANYEKU)) != 0;
  details->digital_signature = (X509_get_key_usage(x509.get()) & KU_DIGITAL_SIGNATURE) != 0;
  details->ca = X509_check_ca(x509.get()) == 1;
  details->self_signed = (flags & EXFLAG_SS) != 0;
  details->key_kind = key_kind_of(key);
  details->key_strong = key_strong_enough(key);
  details->signature_algorithm = signature_algorithm_text(x509.get());
  details->signature_strong = is_strong_signature(x509.get());
  details->spki_digest = spki_sha256_of(key);
  details->fingerprint = sha256(details->der);
  details->subject_digest = name_digest(X509_get_subject_name(x509.get()));
  details->mark = {details->spki_digest, name_digest(X509_get_issuer_name(x509.get())),
                   details->serial.size() > 2 * kSerialBytesMax ? "" : details->serial};
  details->x509 = std::move(x509);
  return std::shared_ptr<const Details>(std::move(details));
}

Result<Certificate> Certificate::from_owned(x509_st* owned) {
  X509Ptr x509(owned);
  if (!x509) return fail(Errc::invalid, "not a readable certificate ({})", openssl_reason());
  const std::string subject = name_text(X509_get_subject_name(x509.get()));
  auto details = details_of(x509.release());
  // Named, as far as it can be: both sides of a handshake speak of it.
  if (!details) return fail(details.error(), fmt::format("'{}'", subject));
  return Certificate(std::move(*details));
}

Result<Certificate> Certificate::from_der(ByteView der) {
  if (der.size() > kCertificateBytesMax)
    return fail(Errc::invalid, "a certificate of {} bytes; the limit is {}", der.size(),
                kCertificateBytesMax);
  const unsigned char* at = unsigned_data(der);
  X509Ptr x509(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (x509 && at != unsigned_data(der) + der.size())
    return fail(Errc::invalid, "a certificate with {} bytes after its end",
                unsigned_data(der) + der.size() - at);
  return from_owned(x509.release());
}

Result<Certificate> Certificate::from_native(x509_st* certificate) {
  invariant(certificate != nullptr && X509_up_ref(certificate) == 1, "a certificate to share");
  return from_owned(certificate);
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  auto all = certificates_from_pem(pem);
  if (!all) return std::unexpected(all.error());
  return all->front();
}

ByteView Certificate::der() const { return details_->der; }

std::string Certificate::pem() const {
  const BioPtr out = writing();
  invariant(PEM_write_bio_X509(out.get(), native()) == 1, "a certificate can be written");
  return written(out.get());
}

const std::string& Certificate::subject() const { return details_->subject; }
const std::string& Certificate::subject_common_name() const { return details_->common_name; }
const std::string& Certificate::issuer() const { return details_->issuer; }
const std::vector<std::string>& Certificate::dns_names() const { return details_->dns_names; }
const std::string& Certificate::serial() const { return details_->serial; }
WallTime Certificate::not_before() const { return details_->not_before; }
WallTime Certificate::not_after() const { return details_->not_after; }
bool Certificate::has_server_auth() const { return details_->server_auth; }
bool Certificate::has_client_auth() const { return details_->client_auth; }
bool Certificate::has_digital_signature() const { return details_->digital_signature; }
bool Certificate::is_ca() const { return details_->ca; }
bool Certificate::is_self_signed() const { return details_->self_signed; }
const std::string& Certificate::key_kind() const { return details_->key_kind; }
bool Certificate::key_strong() const { return details_->key_strong; }
const std::string& Certificate::signature_algorithm() const {
  return details_->signature_algorithm;
}
bool Certificate::signature_strong() const { return details_->signature_strong; }
const Digest& Certificate::spki_sha256() const { return details_->spki_digest; }
const CertificateMark& Certificate::mark() const { return details_->mark; }
const Digest& Certificate::subject_sha256() const { return details_->subject_digest; }
const Digest& Certificate::fingerprint() const { return details_->fingerprint; }
x509_st* Certificate::native() const { return details_->x509.get(); }
bool Certificate::operator==(const Certificate& other) const {
  return details_->der == other.details_->der;
}

Result<std::vector<Certificate>> certificates_from_pem(std::string_view text) {
  if (text.size() > kPemBytesMax)
    return fail(Errc::invalid, "a PEM text of {} bytes; the limit is {}", text.size(),
                kPemBytesMax);
  const BioPtr in = reading(text);
  std::vector<Certificate> found;
  while (X509* x509 = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    X509Ptr owned(x509);
    if (found.size() == kCertificatesMax)
      return fail(Errc::invalid, "more than {} certificates in one text", kCertificatesMax);
    auto certificate = Certificate::from_native(owned.get());
    if (!certificate)
      return fail(certificate.error(), fmt::format("certificate {}", found.size() + 1));
    found.push_back(std::move(*certificate));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = openssl_reason();
  if (!at_end)
    return fail(Errc::invalid, "certificate {} cannot be read ({})", found.size() + 1, reason);
  if (found.empty()) return fail(Errc::invalid, "no CERTIFICATE block in the text");
  return found;
}

std::string to_pem(const std::vector<Certificate>& certificates) {
  std::string text;
  for (const Certificate& certificate : certificates) text += certificate.pem();
  return text;
}

}  // namespace postern
