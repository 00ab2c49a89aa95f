#include "server/renewal_outlook.h"

#include <fmt/format.h>

namespace postern {

const char* to_string(RenewalState state) {
  constexpr const char* kNames[] = {"unknown", "by-itself", "due",    "will-miss",
                                    "by-hand", "expired",   "revoked"};
  return kNames[static_cast<std::size_t>(state)];
}

RenewalOutlook outlook_of(const CertificateFacts& facts, WallTime now) {
  using enum RenewalState;
  if (facts.revoked) return {revoked, "it comes back with another one"};
  if (!facts.not_after || !facts.not_before) return {};
  if (now > *facts.not_after) return {expired, "since " + to_rfc3339(*facts.not_after)};
  if (!facts.ours) return {by_hand, "issued elsewhere: renew it there before it ends"};
  if (!facts.renews) return {by_hand, "certificates: renew is off there"};
  const auto life = *facts.not_after - *facts.not_before;
  // Node::Renewal asks at half of the life, and up to a tenth of it later.
  const WallTime first = *facts.not_before + life / 2;
  if (facts.failures >= kRenewalFailuresMax)
    return {will_miss, fmt::format("failed {} times: {}", facts.failures, facts.trouble)};
  if (now < first && facts.failures == 0) return {by_itself, "from " + to_rfc3339(first)};
  if (!facts.connected) return {will_miss, "it is not connected"};
  if (facts.failures != 0) return {due, "failed: " + facts.trouble};
  const WallTime last = first + life / 10;
  if (now <= last + life / 20) return {due, "until " + to_rfc3339(last)};
  return {will_miss, "it has not asked since " + to_rfc3339(first)};
}

}  // namespace postern
