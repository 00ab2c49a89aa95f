#pragma once

#include "node/children.h"
#include "node/trust.h"

namespace postern::node {

/// Whether a believed approval lets this candidate in here (rules C1, T2): same identity key, name
/// and role, this parent among its parents, the TLS key it is bound to.
inline std::optional<Refusal> against_approval(const wire::pb::Approval& approval,
                                               const Candidate& candidate,
                                               const std::string& parent) {
  using std::chrono::minutes;
  const Neighbour& who = candidate.who;
  if (approval.identity_key() != candidate.hello.identity_key() || approval.name() != who.name)
    return Refusal{wire::Refusal::clash,
                   fmt::format("{} is approved with another identity key or name; an administrator "
                               "decides in: postern pending list",
                               who.name),
                   minutes(1)};
  if (approval.role() != static_cast<std::uint32_t>(who.role))
    return Refusal{wire::Refusal::wrong_role,
                   fmt::format("{} is approved as {} and calls itself {}", who.name,
                               to_string(static_cast<Role>(approval.role())), to_string(who.role)),
                   minutes(1)};
  if (approval.direction() != 0)
    return Refusal{
        wire::Refusal::wrong_parent,
        fmt::format("{} is approved for connections that its parent initiates, and dialled itself",
                    who.name),
        minutes(1)};
  bool parent_allowed = approval.parents().empty();
  for (const std::string& allowed : approval.parents()) parent_allowed |= allowed == parent;
  if (!parent_allowed)
    return Refusal{wire::Refusal::wrong_parent,
                   fmt::format("{} is approved for {}, not for {}; approve it with this parent, or "
                               "set its parents right",
                               who.name, fmt::join(approval.parents(), ", "), parent),
                   minutes(1)};
  if (!approval.tls_key_sha256().empty() &&
      digest_of_field(approval.tls_key_sha256()) != who.certificate.tls_key)
    return Refusal{wire::Refusal::clash,
                   fmt::format("{} is approved for another TLS key", who.name), minutes(1)};
  return std::nullopt;
}

/// The reply to a request that is refused (channel.md#W50).
inline wire::pb::Reply reply_of(const Refusal& refusal) {
  wire::pb::Reply reply;
  auto& refused = *reply.mutable_refused();
  refused.set_reason(static_cast<std::uint32_t>(refusal.reason));
  refused.set_words(refusal.words);
  refused.set_retry_after_ms(static_cast<std::uint32_t>(refusal.retry_after.count()));
  return reply;
}

/// Who is approved again comes back by itself within this time.
inline constexpr std::chrono::seconds kDeniedRetry{10};

/// document.md#G13.
inline const char* revocation_words(std::uint32_t reason) {
  return reason == 3   ? "compromised"
         : reason == 4 ? "retired"
         : reason == 5 ? "superseded"
                       : "denied";
}

/// The refusal for a node on the deny list, or for the certificate that it shows.
inline Refusal refusal_for(const Trust::Denied& denied, const std::string& name) {
  if (denied.certificate)
    return {wire::Refusal::revoked,
            fmt::format("the certificate of {} was revoked ({}); it comes back with a new key and "
                        "certificate: postern cert request --name {}, postern cert sign, postern "
                        "cert import",
                        name, revocation_words(denied.reason), name),
            kDeniedRetry};
  if (denied.reason == 3)
    return {wire::Refusal::revoked,
            fmt::format("the identity of {} was revoked (compromised), with all that it has signed "
                        "and nobody has applied; set the machine up anew with an empty state "
                        "folder, then: postern pending approve {}",
                        name, name),
            kDeniedRetry};
  if (denied.reason == 2)
    return {wire::Refusal::rejected, fmt::format("an administrator has rejected {}", name),
            kDeniedRetry};
  return {wire::Refusal::removed,
          fmt::format("{} was removed from the management group; approve it again to let it back",
                      name),
          kDeniedRetry};
}

/// The refusal for a certificate that its outside authority has revoked; null: there are no lists.
inline std::optional<Refusal> refusal_by_list(const RevocationLists* lists, const Neighbour& who) {
  const RevocationList* by = lists == nullptr ? nullptr : lists->find(who.certificate);
  if (by == nullptr) return std::nullopt;
  return Refusal{
      wire::Refusal::revoked,
      fmt::format("the certificate of {} (serial {}) stands in the list that '{}' issued "
                  "at {}; have another one issued for a new key",
                  who.name, who.certificate.serial, by->issuer, to_rfc3339(by->this_update)),
      kDeniedRetry};
}

}  // namespace postern::node
