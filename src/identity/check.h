#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/certificate.h"

struct x509_store_st;

namespace postern {

inline constexpr int kChainDepthMax = 8;  // certificates between leaf and anchor

/// Why a certificate is not accepted. to_string() gives the short name that stands in logs,
/// metrics and tests; it never changes.
enum class Reason {
  ok,
  no_certificate,
  malformed,
  wrong_name,
  expired,
  not_yet_valid,
  unknown_ca,
  issuer_expired,
  issuer_not_yet_valid,
  bad_chain,  // the issuer is known, but the chain breaks a rule (signature, path length, ...)
  wrong_usage,
  weak_key,
  weak_signature,
  not_an_end_entity,
  no_private_key,
  unsafe_permissions,
  other_group,
  revoked,                // by a list of its issuer
  stale_revocation_list,  // and the settings say that this is a reason
  wrong_password,         // of a PKCS#12 file
};
const char* to_string(Reason reason);

/// One requirement and how the certificate stands to it. `words` is one sentence for an operator:
/// what was found when it passed; what is wrong, with both sides' values, and the fix when not.
struct Finding {
  Reason reason = Reason::ok;  // ok exactly when passed
  std::string requirement;     // "name", "validity", "issuer", ...
  bool passed = true;
  std::string words;
};

/// The certificates a group trusts: roots, or intermediates by choice. The system's store is
/// never asked. A value, cheap to copy, usable by several threads at once.
class Anchors {
 public:
  Anchors();  // trusts nobody
  /// One or more CA certificates; `invalid` names the one that is no CA.
  static Result<Anchors> from_pem(std::string_view text);
  static Result<Anchors> from_certificates(std::vector<Certificate> certificates);

  const std::vector<Certificate>& certificates() const;
  std::string to_pem() const;
  x509_store_st* native() const;  // stays ours, never changes

 private:
  struct Parts;
  explicit Anchors(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const Parts> parts_;  // shared: immutable, one set-up serves every handshake
};

struct CheckOptions {
  WallTime now{};  // the wall clock or the newest tick, whichever is later (rule T6)
  std::optional<std::string> name =
      std::nullopt;                 // the FQDN that was dialled or that the hello claims
  bool as_server = true;            // it is used to accept connections
  bool as_client = true;            // it is used to dial
  bool require_client_auth = true;  // false: public CAs, which leave clientAuth out
};

/// Holds the leaf against every requirement of rule T1 (the deny list is not known here) and
/// reports each on its own line, passed or not, always in the same order.
std::vector<Finding> check_certificate(const Certificate& leaf,
                                       std::span<const Certificate> intermediates,
                                       const Anchors& anchors, const CheckOptions& options);

/// The way from the leaf to an anchor, both included, out of the certificates in `pool`; only the
/// leaf when there is no valid one.
std::vector<Certificate> chain_to_anchor(const Certificate& leaf, std::span<const Certificate> pool,
                                         const Anchors& anchors, WallTime now);

/// The first finding that did not pass.
std::optional<Finding> first_failure(std::span<const Finding> findings);

/// check_certificate() for those who need only the verdict. `chain` as the peer sent it, leaf
/// first; an empty one is Reason::no_certificate.
std::optional<Finding> why_refused(std::span<const Certificate> chain, const Anchors& anchors,
                                   const CheckOptions& options);

}  // namespace postern
