#include "identity/authority.h"

#include <openssl/bn.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "identity/openssl.h"

namespace postern {
namespace {

using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
using ExtensionsPtr =
    std::unique_ptr<STACK_OF(X509_EXTENSION), decltype([](STACK_OF(X509_EXTENSION) * stack) {
                      sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
                    })>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;

constexpr long kVersion3 = 2;
constexpr std::string_view kGenerationMark = " G";
constexpr int kCommonNameBytesMax = 64;  // X.520's limit for a common name

void append_name(X509_NAME* name, std::string_view common_name) {
  const int done = X509_NAME_add_entry_by_txt(
      name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common_name.data()),
      static_cast<int>(common_name.size()), -1, 0);
  invariant(done == 1, "a common name within its limit can be set");
}

NamesPtr general_names(std::span<const std::string> names) {
  NamesPtr list(GENERAL_NAMES_new());
  for (const std::string& text : names) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    invariant(list && name != nullptr && value != nullptr, "memory for a name");
    invariant(ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) == 1,
              "memory for a name");
    GENERAL_NAME_set0_value(name, GEN_DNS, value);
    invariant(sk_GENERAL_NAME_push(list.get(), name) > 0, "memory for a name");
  }
  return list;
}

void set_time(ASN1_TIME* field, WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  invariant(ASN1_TIME_set(field, static_cast<time_t>(seconds)) != nullptr, "a time can be set");
}

/// 128 random bits with the top one of 127 set: positive, and never short.
void set_serial(X509* x509, Random& random) {
  std::array<std::byte, 16> raw{};
  random.fill(raw);
  raw[0] = (raw[0] & std::byte{0x7f}) | std::byte{0x40};
  BIGNUM* number = BN_bin2bn(unsigned_data(raw), static_cast<int>(raw.size()), nullptr);
  const bool set =
      number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != nullptr;
  BN_free(number);
  invariant(set, "a serial number can be set");
}

/// `value` in the words of OpenSSL's configuration files; only constants of this file go in.
void add_extension(X509* x509, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  invariant(extension && X509_add_ext(x509, extension.get(), -1) == 1, "a constant extension");
}

/// The same for a request, into the extensions that it will ask for.
void ask_for(STACK_OF(X509_EXTENSION) * extensions, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, nullptr, nullptr, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  invariant(extension != nullptr && sk_X509_EXTENSION_push(extensions, extension) > 0,
            "a constant extension");
}

Result<X509RequestPtr> verified_request(ByteView csr) {
  if (csr.size() > kRequestBytesMax)
    return fail(Errc::invalid, "a certificate request of {} bytes; the limit is {}", csr.size(),
                kRequestBytesMax);
  X509RequestPtr request;
  if (as_text(csr).find("-----BEGIN") != std::string_view::npos) {
    const BioPtr in = reading(csr);
    request.reset(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
  } else {
    const unsigned char* at = unsigned_data(csr);
    request.reset(d2i_X509_REQ(nullptr, &at, static_cast<long>(csr.size())));
  }
  if (!request)
    return fail(Errc::invalid, "not a readable certificate request ({})", openssl_reason());
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  // Without this check anyone could have a certificate made for a key that is somebody else's.
  if (key == nullptr || X509_REQ_verify(request.get(), key) != 1)
    return fail(Errc::invalid, "the request is not signed by the key that it is for ({})",
                openssl_reason());
  if (!key_strong_enough(key))
    return fail(Errc::invalid,
                "the request is for a key {}; needed is RSA from 2048 bits, EC P-256, P-384 or "
                "P-521, or Ed25519",
                key_kind_of(key));
  return request;
}

std::string text_of(const ASN1_STRING* value) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
          static_cast<std::size_t>(ASN1_STRING_length(value))};
}

std::vector<std::string> common_names(const X509_NAME* subject) {
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  return {text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)))};
}

/// The names that the request asks for, as they stand there.
Result<std::vector<std::string>> asked_names(X509_REQ* request) {
  const ExtensionsPtr extensions(X509_REQ_get_extensions(request));
  int critical = -1;
  const NamesPtr san(extensions ? static_cast<GENERAL_NAMES*>(X509V3_get_d2i(
                                      extensions.get(), NID_subject_alt_name, &critical, nullptr))
                                : nullptr);
  ERR_clear_error();
  if (!san && critical == -1) return common_names(X509_REQ_get_subject_name(request));
  if (!san) return fail(Errc::invalid, "the request's subjectAltName cannot be read");
  std::vector<std::string> names;
  for (int i = 0; i < sk_GENERAL_NAME_num(san.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(san.get(), i);
    if (name->type != GEN_DNS)
      return fail(Errc::invalid,
                  "the request asks for a name that is no dNSName; only host names are certified");
    names.push_back(text_of(name->d.dNSName));
  }
  return names;
}

/// Lower-case FQDNs without doubles, in the order they came.
Result<std::vector<std::string>> normal_names(std::span<const std::string> asked) {
  std::vector<std::string> names;
  for (const std::string& text : asked) {
    auto name = normal_fqdn(text);
    if (!name) return std::unexpected(name.error());
    if (std::find(names.begin(), names.end(), *name) == names.end())
      names.push_back(std::move(*name));
  }
  if (names.empty()) return fail(Errc::invalid, "the request names no host");
  if (names.size() > kRequestNamesMax)
    return fail(Errc::invalid, "the request is for {} names; the limit is {}", names.size(),
                kRequestNamesMax);
  return names;
}

Result<RequestInfo> info_of(X509_REQ* request) {
  auto asked = asked_names(request);
  if (!asked) return std::unexpected(asked.error());
  auto names = normal_names(*asked);
  if (!names) return fail(names.error(), "certificate request");
  EVP_PKEY* key = X509_REQ_get0_pubkey(request);
  return RequestInfo{std::move(*names), key_kind_of(key), spki_sha256_of(key)};
}

/// Version, serial, times, key; the rest is the caller's.
X509Ptr blank(EVP_PKEY* key, WallTime not_before, WallTime not_after, Random& random) {
  X509Ptr x509(X509_new());
  invariant(x509 && X509_set_version(x509.get(), kVersion3) == 1, "memory for a certificate");
  set_serial(x509.get(), random);
  set_time(X509_getm_notBefore(x509.get()), not_before);
  set_time(X509_getm_notAfter(x509.get()), not_after);
  invariant(X509_set_pubkey(x509.get(), key) == 1, "a key can be put into a certificate");
  return x509;
}

}  // namespace

Result<RequestInfo> read_request(ByteView csr) {
  auto request = verified_request(csr);
  if (!request) return std::unexpected(request.error());
  return info_of(request->get());
}

Result<std::string> make_request(const TlsKey& key, std::string_view name,
                                 std::span<const std::string> extra_names) {
  std::vector<std::string> asked{std::string(name)};
  asked.insert(asked.end(), extra_names.begin(), extra_names.end());
  auto names = normal_names(asked);
  if (!names) return std::unexpected(names.error());

  const X509RequestPtr request(X509_REQ_new());
  invariant(request != nullptr, "memory for a request");
  // A longer name does not fit the common name; the SAN is what counts.
  if (names->front().size() <= kCommonNameBytesMax)
    append_name(X509_REQ_get_subject_name(request.get()), names->front());
  invariant(X509_REQ_set_pubkey(request.get(), key.native()) == 1, "a key can be requested for");
  const NamesPtr san = general_names(*names);
  const ExtensionsPtr extensions(sk_X509_EXTENSION_new_null());
  // A CA that copies what is asked for must come to the right usages; ours takes only the names.
  ask_for(extensions.get(), NID_key_usage, "critical,digitalSignature");
  ask_for(extensions.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  X509_EXTENSION* extension = X509V3_EXT_i2d(NID_subject_alt_name, 0, san.get());
  invariant(extension != nullptr && sk_X509_EXTENSION_push(extensions.get(), extension) > 0 &&
                X509_REQ_add_extensions(request.get(), extensions.get()) == 1 &&
                X509_REQ_sign(request.get(), key.native(), digest_for(key.native())) > 0,
            "a request can be built and signed");
  const BioPtr out = writing();
  invariant(PEM_write_bio_X509_REQ(out.get(), request.get()) == 1, "a request can be written");
  return written(out.get());
}

bool CertificateAuthority::issued(const Certificate& certificate) const {
  const auto signed_by = [&](EVP_PKEY* key) {
    const bool is = key != nullptr && X509_verify(certificate.native(), key) == 1;
    ERR_clear_error();
    return is;
  };
  return signed_by(key_.native()) ||
         std::any_of(others_.begin(), others_.end(), [&](const Certificate& other) {
           return signed_by(X509_get0_pubkey(other.native()));
         });
}

Result<CertificateAuthority> CertificateAuthority::create(std::string_view group, WallTime now,
                                                          Random& random) {
  const std::string name = std::string(group) + " Postern CA";
  if (group.empty() || name.size() > kCommonNameBytesMax)
    return fail(Errc::invalid, "the group name '{}' has {} bytes; needed are 1 to {}", group,
                group.size(), kCommonNameBytesMax - (name.size() - group.size()));
  const bool printable =
      std::all_of(group.begin(), group.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable)
    return fail(Errc::invalid, "the group name holds a character that is not printable ASCII");

  return create_root(name, now, random);
}

Result<CertificateAuthority> CertificateAuthority::create_after(const Certificate& root,
                                                                WallTime now, Random& random) {
  std::string_view base = root.subject_common_name();
  unsigned generation = 1;
  if (const auto mark = base.rfind(kGenerationMark); mark != std::string_view::npos) {
    const std::string_view digits = base.substr(mark + kGenerationMark.size());
    const auto [end, failed] =
        std::from_chars(digits.data(), digits.data() + digits.size(), generation);
    if (failed == std::errc{} && end == digits.data() + digits.size())
      base = base.substr(0, mark);
    else
      generation = 1;
  }
  const std::string number = fmt::format("{}{}", kGenerationMark, generation + 1);
  return create_root(
      std::string(base.substr(0, static_cast<std::size_t>(kCommonNameBytesMax) - number.size())) +
          number,
      now, random);
}

Result<CertificateAuthority> CertificateAuthority::create_root(const std::string& name,
                                                               WallTime now, Random& random) {
  TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  const X509Ptr root = blank(key.native(), now - kClockSkew, now + kAuthorityLifetime, random);
  append_name(X509_get_subject_name(root.get()), name);
  invariant(X509_set_issuer_name(root.get(), X509_get_subject_name(root.get())) == 1, "an issuer");
  add_extension(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:1");
  add_extension(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(root.get(), root.get(), NID_subject_key_identifier, "hash");
  add_extension(root.get(), root.get(), NID_authority_key_identifier, "keyid:always");
  invariant(X509_sign(root.get(), key.native(), EVP_sha256()) > 0, "a P-256 key signs");
  auto certificate = Certificate::from_native(root.get());
  if (!certificate) return std::unexpected(certificate.error());
  return CertificateAuthority(std::move(key), std::move(*certificate));
}

Result<CertificateAuthority> CertificateAuthority::make_issuing(WallTime now,
                                                                Random& random) const {
  if (now > certificate_.not_after())
    return fail(Errc::denied, "the CA '{}' expired at {}; this machine's clock says {}",
                certificate_.subject(), to_rfc3339(certificate_.not_after()), to_rfc3339(now));
  TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  const X509Ptr issuing =
      blank(key.native(), std::max<WallTime>(now - kClockSkew, certificate_.not_before()),
            std::min<WallTime>(now + kIssuingLifetime, certificate_.not_after()), random);
  // Two of them differ by their keys; a name of its own lets people tell them apart.
  const std::string name = certificate_.subject_common_name().substr(
                               0, static_cast<std::size_t>(kCommonNameBytesMax) - 13) +
                           " " + to_hex(spki_sha256_of(key.native())).substr(0, 12);
  append_name(X509_get_subject_name(issuing.get()), name);
  X509* root = certificate_.native();
  invariant(X509_set_issuer_name(issuing.get(), X509_get_subject_name(root)) == 1, "an issuer");
  add_extension(issuing.get(), root, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(issuing.get(), root, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(issuing.get(), root, NID_subject_key_identifier, "hash");
  add_extension(issuing.get(), root, NID_authority_key_identifier, "keyid:always");
  invariant(X509_sign(issuing.get(), key_.native(), digest_for(key_.native())) > 0,
            "a CA's key signs");
  auto certificate = Certificate::from_native(issuing.get());
  if (!certificate) return std::unexpected(certificate.error());
  CertificateAuthority made(std::move(key), std::move(*certificate));
  made.also_know(certificate_);
  return made;
}

Result<CertificateAuthority> CertificateAuthority::load(std::string_view key_pem,
                                                        std::string_view certificate_pem) {
  auto key = TlsKey::from_pem(key_pem);
  if (!key) return fail(key.error(), "the CA's key");
  auto certificate = Certificate::from_pem(certificate_pem);
  if (!certificate) return fail(certificate.error(), "the CA's certificate");
  if (!certificate->is_ca())
    return fail(Errc::invalid, "the certificate '{}' is not that of a CA", certificate->subject());
  if (!key->matches(*certificate))
    return fail(Errc::invalid, "the CA's key does not belong to its certificate '{}'",
                certificate->subject());
  return CertificateAuthority(std::move(*key), std::move(*certificate));
}

Result<Certificate> CertificateAuthority::sign(ByteView csr, const SignOptions& options,
                                               Random& random) const {
  auto request = verified_request(csr);
  if (!request) return std::unexpected(request.error());
  auto info = info_of(request->get());
  if (!info) return std::unexpected(info.error());
  if (options.name) {
    auto wanted = normal_fqdn(*options.name);
    if (!wanted) return std::unexpected(wanted.error());
    if (info->names.front() != *wanted)
      return fail(Errc::denied, "the request is for {}, not for {}", info->names.front(), *wanted);
  }
  if (options.now > certificate_.not_after())
    return fail(Errc::denied, "the CA '{}' expired at {}; this machine's clock says {}",
                certificate_.subject(), to_rfc3339(certificate_.not_after()),
                to_rfc3339(options.now));
  if (options.lifetime <= std::chrono::seconds(0))
    return fail(Errc::invalid, "a certificate's lifetime must be positive");

  EVP_PKEY* key = X509_REQ_get0_pubkey(request->get());
  // A certificate that outlives its CA would fail before its own date, without a warning.
  // A short life begins not much before it is asked for, or half of it would be over.
  const auto skew = std::min<std::chrono::milliseconds>(kClockSkew, options.lifetime / 10);
  const WallTime not_before = std::max<WallTime>(options.now - skew, certificate_.not_before());
  const WallTime not_after = options.now + options.lifetime;
  const X509Ptr x509 =
      blank(key, not_before, std::min<WallTime>(not_after, certificate_.not_after()), random);
  X509* issuer = certificate_.native();
  const bool named = info->names.front().size() <= kCommonNameBytesMax;
  if (named) append_name(X509_get_subject_name(x509.get()), info->names.front());
  invariant(X509_set_issuer_name(x509.get(), X509_get_subject_name(issuer)) == 1, "an issuer");
  const bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
  add_extension(x509.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(x509.get(), issuer, NID_key_usage,
                rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature");
  add_extension(x509.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(x509.get(), issuer, NID_subject_key_identifier, "hash");
  add_extension(x509.get(), issuer, NID_authority_key_identifier, "keyid:always");
  const NamesPtr san = general_names(info->names);
  // Without a subject the names must be marked critical (RFC 5280, 4.2.1.6).
  invariant(X509_add1_ext_i2d(x509.get(), NID_subject_alt_name, san.get(), named ? 0 : 1, 0) == 1 &&
                X509_sign(x509.get(), key_.native(), digest_for(key_.native())) > 0,
            "a certificate can be completed and signed");
  return Certificate::from_native(x509.get());
}

}  // namespace postern
