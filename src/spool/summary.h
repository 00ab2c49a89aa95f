#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/node_id.h"

namespace postern::spool {

/// What the header of a batch says beyond its name, for the gap record that may have to speak of it
/// (batch.md#B20).
struct Summary {
  Digest previous{};
  WallTime first_time{}, last_time{};
  std::uint32_t records = 0;
  bool operator==(const Summary&) const = default;
};

/// From here on a batch message is not needed for its summary.
inline constexpr std::size_t kSummaryFrontBytes = 1 + 32 * 24 + 108;

/// Reads the front of a batch message (batch.md#B16): the spool looks at no more of it. Nothing
/// when it is none, or not the batch of this number.
std::optional<Summary> summary_of(ByteView front, std::uint64_t sequence);

}  // namespace postern::spool
