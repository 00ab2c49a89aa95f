#include "identity/check.h"

#include <algorithm>

#include "identity/openssl.h"

namespace postern {
namespace {

using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
/// Owns the stack, not the certificates in it.
using StackPtr =
    std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * s) { sk_X509_free(s); })>;

Finding passed(std::string requirement, std::string words) {
  return {Reason::ok, std::move(requirement), true, std::move(words)};
}
Finding failed(Reason reason, std::string requirement, std::string words) {
  return {reason, std::move(requirement), false, std::move(words)};
}

std::string joined(const std::vector<std::string>& parts) {
  constexpr std::size_t kShownMax = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(parts.size(), kShownMax); ++i)
    text += (i == 0 ? "" : ", ") + parts[i];
  if (parts.size() > kShownMax) text += fmt::format(" and {} more", parts.size() - kShownMax);
  return text;
}

Finding check_name(const Certificate& leaf, const std::string& name) {
  if (name_matches(leaf, name)) return passed("name", fmt::format("is issued for {}", name));
  const std::string fix =
      fmt::format("request a certificate whose subjectAltName has the dNSName {}", name);
  if (leaf.dns_names().empty())
    return failed(
        Reason::wrong_name, "name",
        fmt::format("has no dNSName (its common name '{}' does not count) but must be for "
                    "{}; {}",
                    leaf.subject_common_name(), name, fix));
  return failed(Reason::wrong_name, "name",
                fmt::format("is for {}, not for {} (wildcards never match); {}",
                            joined(leaf.dns_names()), name, fix));
}

Finding check_validity(const Certificate& leaf, WallTime now) {
  if (now > leaf.not_after())
    return failed(Reason::expired, "validity",
                  fmt::format("expired at {}; this machine's clock says {}; renew it, or correct "
                              "the clock",
                              to_rfc3339(leaf.not_after()), to_rfc3339(now)));
  if (now < leaf.not_before())
    return failed(Reason::not_yet_valid, "validity",
                  fmt::format("is not valid before {}; this machine's clock says {}; correct the "
                              "clock, or wait",
                              to_rfc3339(leaf.not_before()), to_rfc3339(now)));
  return passed("validity", fmt::format("is valid from {} to {}", to_rfc3339(leaf.not_before()),
                                        to_rfc3339(leaf.not_after())));
}

Finding check_end_entity(const Certificate& leaf) {
  if (!leaf.is_ca()) return passed("kind", "is an end entity's");
  return failed(Reason::not_an_end_entity, "kind",
                "is a CA's certificate; a node needs one of its own that is signed by the CA");
}

Finding check_usage(const std::string& requirement, bool has, std::string_view usage) {
  if (has) return passed(requirement, fmt::format("allows {}", usage));
  return failed(
      Reason::wrong_usage, requirement,
      fmt::format("does not allow {}; request one whose usage includes {}", usage, usage));
}

Finding check_key(const Certificate& leaf) {
  if (leaf.key_strong())
    return passed("key strength", fmt::format("has a key {}", leaf.key_kind()));
  return failed(Reason::weak_key, "key strength",
                fmt::format("has a key {}; needed is RSA from 2048 bits, EC P-256, P-384 or P-521, "
                            "or Ed25519: request one for a new key",
                            leaf.key_kind()));
}

Finding check_signature(const Certificate& leaf) {
  if (leaf.signature_strong())
    return passed("signature", fmt::format("is signed with {}", leaf.signature_algorithm()));
  return failed(Reason::weak_signature, "signature",
                fmt::format("is signed with {}; needed is SHA-256 or better: have it issued anew",
                            leaf.signature_algorithm()));
}

struct Verdict {
  int error = X509_V_OK;
  std::vector<Certificate> chain;  // as far as it was built, leaf first
};

/// Builds and verifies the chain, with certificates' times judged at `now`, or not at all.
Verdict verify(const Certificate& leaf, std::span<const Certificate> intermediates,
               const Anchors& anchors, std::optional<WallTime> now) {
  const StoreContextPtr context(X509_STORE_CTX_new());
  const StackPtr untrusted(sk_X509_new_null());
  invariant(context != nullptr && untrusted != nullptr, "memory for a check");
  for (const Certificate& certificate : intermediates)
    invariant(sk_X509_push(untrusted.get(), certificate.native()) > 0, "memory for a check");
  invariant(
      X509_STORE_CTX_init(context.get(), anchors.native(), leaf.native(), untrusted.get()) == 1,
      "a check can be prepared");
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_depth(rules, kChainDepthMax);
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  if (now)
    X509_VERIFY_PARAM_set_time(
        rules, static_cast<time_t>(
                   std::chrono::floor<std::chrono::seconds>(*now).time_since_epoch().count()));
  else
    X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_NO_CHECK_TIME);

  Verdict verdict;
  if (X509_verify_cert(context.get()) != 1) {
    verdict.error = X509_STORE_CTX_get_error(context.get());
    if (verdict.error == X509_V_OK) verdict.error = X509_V_ERR_UNSPECIFIED;
  }
  ERR_clear_error();
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; chain != nullptr && i < sk_X509_num(chain); ++i)
    if (auto certificate = Certificate::from_native(sk_X509_value(chain, i)))
      verdict.chain.push_back(std::move(*certificate));
  return verdict;
}

std::string anchor_names(const Anchors& anchors) {
  std::vector<std::string> names;
  for (const Certificate& anchor : anchors.certificates()) names.push_back(anchor.subject());
  return joined(names);
}

Finding unknown_issuer(const Certificate& leaf, const Verdict& verdict, const Anchors& anchors) {
  if (anchors.certificates().empty())
    return failed(
        Reason::unknown_ca, "issuer",
        fmt::format("is issued by '{}', and this machine has no trust anchors of a group; "
                    "import the group's file (postern group export)",
                    leaf.issuer()));
  const Certificate& last = verdict.chain.empty() ? leaf : verdict.chain.back();
  for (const Certificate& anchor : anchors.certificates())
    if (anchor.subject() == last.issuer())
      return failed(Reason::unknown_ca, "issuer",
                    fmt::format("is issued by a CA that is called '{}' like an anchor of the group "
                                "and has another key: one of the two was made anew, or is false; "
                                "have the certificate issued by the group's CA, or import the "
                                "group's newest file",
                                last.issuer()));
  return failed(
      Reason::unknown_ca, "issuer",
      fmt::format("is issued by '{}', which does not lead to an anchor of the group ({}); "
                  "missing is the certificate of '{}': send the whole chain, or have the "
                  "certificate issued by the group's CA",
                  leaf.issuer(), anchor_names(anchors), last.issuer()));
}

/// The chain is sound but for time: which issuer's, and how.
std::optional<Finding> issuer_out_of_time(const Verdict& timeless, WallTime now) {
  for (std::size_t i = 1; i < timeless.chain.size(); ++i) {
    const Certificate& issuer = timeless.chain[i];
    if (now > issuer.not_after())
      return failed(Reason::issuer_expired, "issuer",
                    fmt::format("is issued under '{}', whose own certificate expired at {}; this "
                                "machine's clock says {}; the CA must renew it",
                                issuer.subject(), to_rfc3339(issuer.not_after()), to_rfc3339(now)));
    if (now < issuer.not_before())
      return failed(
          Reason::issuer_not_yet_valid, "issuer",
          fmt::format("is issued under '{}', whose own certificate is not valid before "
                      "{}; this machine's clock says {}; correct the clock, or wait",
                      issuer.subject(), to_rfc3339(issuer.not_before()), to_rfc3339(now)));
  }
  return std::nullopt;
}

/// Signatures and keys between the leaf and the anchor, whose own signature nobody relies on.
std::optional<Finding> weak_link(const Verdict& verdict) {
  for (std::size_t i = 1; i < verdict.chain.size(); ++i) {
    const Certificate& issuer = verdict.chain[i];
    if (!issuer.key_strong())
      return failed(Reason::weak_key, "issuer",
                    fmt::format("is issued under '{}', whose key is only {}; the CA needs a "
                                "stronger one",
                                issuer.subject(), issuer.key_kind()));
    if (i + 1 < verdict.chain.size() && !issuer.signature_strong())
      return failed(Reason::weak_signature, "issuer",
                    fmt::format("is issued under '{}', whose certificate is signed with {}; needed "
                                "is SHA-256 or better",
                                issuer.subject(), issuer.signature_algorithm()));
  }
  return std::nullopt;
}

/// An intermediate that is limited to other usages must not issue nodes' certificates: its owner
/// was trusted with less. The anchor itself is trusted as it is.
std::optional<Finding> limited_issuer(const Verdict& verdict, const CheckOptions& options) {
  for (std::size_t i = 1; i + 1 < verdict.chain.size(); ++i) {
    const Certificate& issuer = verdict.chain[i];
    const bool serves = !options.as_server || issuer.has_server_auth();
    const bool dials =
        !options.as_client || !options.require_client_auth || issuer.has_client_auth();
    if (serves && dials) continue;
    return failed(Reason::wrong_usage, "issuer",
                  fmt::format("is issued under '{}', whose own certificate does not allow {}; have "
                              "it issued by a CA that is not limited to other usages",
                              issuer.subject(), serves ? "clientAuth" : "serverAuth"));
  }
  return std::nullopt;
}

Finding check_issuer(const Certificate& leaf, std::span<const Certificate> intermediates,
                     const Anchors& anchors, const CheckOptions& options) {
  const WallTime now = options.now;
  Verdict verdict = verify(leaf, intermediates, anchors, now);
  if (verdict.error == X509_V_ERR_CERT_HAS_EXPIRED ||
      verdict.error == X509_V_ERR_CERT_NOT_YET_VALID) {
    // Someone's time is wrong. Whether the rest is right, and whose time, only a second look that
    // leaves time out can tell; the leaf's own time is another requirement.
    verdict = verify(leaf, intermediates, anchors, std::nullopt);
    if (verdict.error == X509_V_OK)
      if (auto finding = issuer_out_of_time(verdict, now)) return *finding;
  }
  switch (verdict.error) {
    case X509_V_OK:
      break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
      return unknown_issuer(leaf, verdict, anchors);
    default:
      return failed(Reason::bad_chain, "issuer",
                    fmt::format("is issued by '{}', but the chain to the group's anchors breaks a "
                                "rule: {}; have it issued anew",
                                leaf.issuer(), X509_verify_cert_error_string(verdict.error)));
  }
  if (auto finding = weak_link(verdict)) return *finding;
  if (auto finding = limited_issuer(verdict, options)) return *finding;
  return passed("issuer", fmt::format("leads to the group's anchor '{}'",
                                      verdict.chain.empty() ? leaf.issuer()
                                                            : verdict.chain.back().subject()));
}

}  // namespace

const char* to_string(Reason reason) {
  switch (reason) {
    case Reason::ok:
      return "ok";
    case Reason::no_certificate:
      return "no_certificate";
    case Reason::malformed:
      return "malformed";
    case Reason::wrong_name:
      return "wrong_name";
    case Reason::expired:
      return "expired";
    case Reason::not_yet_valid:
      return "not_yet_valid";
    case Reason::unknown_ca:
      return "unknown_ca";
    case Reason::issuer_expired:
      return "issuer_expired";
    case Reason::issuer_not_yet_valid:
      return "issuer_not_yet_valid";
    case Reason::bad_chain:
      return "bad_chain";
    case Reason::wrong_usage:
      return "wrong_usage";
    case Reason::weak_key:
      return "weak_key";
    case Reason::weak_signature:
      return "weak_signature";
    case Reason::not_an_end_entity:
      return "not_an_end_entity";
    case Reason::no_private_key:
      return "no_private_key";
    case Reason::unsafe_permissions:
      return "unsafe_permissions";
    case Reason::other_group:
      return "other_group";
    case Reason::revoked:
      return "revoked";
    case Reason::stale_revocation_list:
      return "stale_revocation_list";
    case Reason::wrong_password:
      return "wrong_password";
  }
  return "unknown";
}

struct Anchors::Parts {
  std::vector<Certificate> certificates;
  StorePtr store{X509_STORE_new()};
};

Anchors::Anchors() : parts_(std::make_shared<Parts>()) {}

Result<Anchors> Anchors::from_certificates(std::vector<Certificate> certificates) {
  auto parts = std::make_shared<Parts>();
  invariant(parts->store != nullptr, "memory for a store");
  for (const Certificate& certificate : certificates) {
    if (!certificate.is_ca())
      return fail(
          Errc::invalid,
          "the trust anchor '{}' is not the certificate of a CA; give that of its issuer '{}'",
          certificate.subject(), certificate.issuer());
    // Adding the same one twice is no failure in OpenSSL.
    if (X509_STORE_add_cert(parts->store.get(), certificate.native()) != 1)
      return fail(Errc::invalid, "the trust anchor '{}': {}", certificate.subject(),
                  openssl_reason());
  }
  parts->certificates = std::move(certificates);
  return Anchors(std::move(parts));
}

Result<Anchors> Anchors::from_pem(std::string_view text) {
  auto certificates = certificates_from_pem(text);
  if (!certificates) return fail(certificates.error(), "trust anchors");
  return from_certificates(std::move(*certificates));
}

const std::vector<Certificate>& Anchors::certificates() const { return parts_->certificates; }
std::string Anchors::to_pem() const { return postern::to_pem(parts_->certificates); }
x509_store_st* Anchors::native() const { return parts_->store.get(); }

std::vector<Finding> check_certificate(const Certificate& leaf,
                                       std::span<const Certificate> intermediates,
                                       const Anchors& anchors, const CheckOptions& options) {
  std::vector<Finding> findings;
  if (options.name) findings.push_back(check_name(leaf, *options.name));
  findings.push_back(check_validity(leaf, options.now));
  findings.push_back(check_end_entity(leaf));
  findings.push_back(check_issuer(leaf, intermediates, anchors, options));
  if (options.as_server)
    findings.push_back(check_usage("server usage", leaf.has_server_auth(), "serverAuth"));
  if (options.as_client && options.require_client_auth)
    findings.push_back(check_usage("client usage", leaf.has_client_auth(), "clientAuth"));
  findings.push_back(check_usage("key usage", leaf.has_digital_signature(), "digitalSignature"));
  findings.push_back(check_key(leaf));
  findings.push_back(check_signature(leaf));
  return findings;
}

std::vector<Certificate> chain_to_anchor(const Certificate& leaf, std::span<const Certificate> pool,
                                         const Anchors& anchors, WallTime now) {
  Verdict verdict = verify(leaf, pool, anchors, now);
  if (verdict.error != X509_V_OK || verdict.chain.empty()) return {leaf};
  return std::move(verdict.chain);
}

std::optional<Finding> first_failure(std::span<const Finding> findings) {
  const auto at = std::find_if(findings.begin(), findings.end(),
                               [](const Finding& finding) { return !finding.passed; });
  if (at == findings.end()) return std::nullopt;
  return *at;
}

std::optional<Finding> why_refused(std::span<const Certificate> chain, const Anchors& anchors,
                                   const CheckOptions& options) {
  if (chain.empty())
    return failed(Reason::no_certificate, "certificate",
                  "no certificate was shown; request one and import it (postern cert request)");
  return first_failure(check_certificate(chain.front(), chain.subspan(1), anchors, options));
}

}  // namespace postern
