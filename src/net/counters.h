#pragma once

// For net's own .cc files: what ports count, from several threads.

#include <array>
#include <atomic>
#include <cstdint>

#include "net/port.h"

namespace postern {

using Count = std::atomic<std::uint64_t>;

struct AtomicPortCounters {
  Count accepted, channels, authenticated, rate_limited, full, evicted, silent, half_handshake,
      late, not_tls, no_protocol, handshakes_failed, garbage, http_requests, unauthenticated_now,
      handshakes_now;
  std::array<Count, kRefusalCodes> refused, refused_by_peer;
};

inline Count& of_code(std::array<Count, kRefusalCodes>& counts, wire::Refusal reason) {
  const auto code = static_cast<std::size_t>(reason);
  return counts[code < counts.size() ? code : 0];
}

}  // namespace postern
