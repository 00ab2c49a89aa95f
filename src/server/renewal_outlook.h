#pragma once

#include <optional>
#include <string>

#include "base/clock.h"

namespace postern {

/// Failed attempts in a row that are no accident any more: the node waits longer before each.
inline constexpr std::uint32_t kRenewalFailuresMax = 3;

/// What is known of a node's certificate and of its renewals: by its own word (channel.md#W43), by
/// who issued it, and by whether it is connected.
struct CertificateFacts {
  std::optional<WallTime> not_before, not_after;
  bool ours = false;   // issued by the group's own authority, which renews it
  bool renews = true;  // the node's settings do not say otherwise
  bool revoked = false;
  bool connected = true;
  std::uint32_t failures = 0;
  std::string trouble;
};

enum class RenewalState {
  unknown,    // nothing is known of its certificate
  by_itself,  // in time
  due,        // now, or within the tenth of its life that renewals are spread over
  will_miss,  // unless somebody does something
  by_hand,    // issued elsewhere, or not to be renewed by itself
  expired,
  revoked
};
const char* to_string(RenewalState state);

struct RenewalOutlook {
  RenewalState state = RenewalState::unknown;
  std::string words;  // one phrase: when, or why not
  bool operator==(const RenewalOutlook&) const = default;
};

/// A forecast: long before the certificate ends.
RenewalOutlook outlook_of(const CertificateFacts& facts, WallTime now);

}  // namespace postern
