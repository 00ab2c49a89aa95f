#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "wire/stream.h"

namespace postern::wire {

/// Batches first to last, and the hash of `last`, which stands for all of them (batch.md#B31).
struct Interval {
  std::uint64_t first = 0, last = 0;
  Digest hash{};
  bool operator==(const Interval&) const = default;
};

inline constexpr std::size_t kIntervalsMax = 64;      // in one coverage on the wire
inline constexpr std::size_t kCoverageListMax = 256;  // in one stored or offer message

/// What somebody has of a stream (batch.md#B30): intervals ascend and do not touch.
struct Coverage {
  StreamKey stream;
  std::vector<Interval> intervals;
  bool operator==(const Coverage&) const = default;
};

void write_coverage(Writer& out, const Coverage& coverage);  // keeps the lowest 64 intervals
Result<Coverage> read_coverage(Reader& in);

/// The body of `stored` and of `offer`. At most kCoverageListMax entries a message.
Bytes encode_coverages(std::span<const Coverage> list);
Result<std::vector<Coverage>> decode_coverages(ByteView body);
/// The same for a list of any length: as many bodies as its limits and that of a control message
/// (channel.md#W11) ask for. Holes can make one coverage 3 KiB long.
std::vector<Bytes> encode_coverage_messages(std::span<const Coverage> list);

inline constexpr std::string_view kSettledContext = "postern settled v1";

/// The server's word that effects are committed (batch.md, "Settled").
struct Settled {
  NodeId group;
  NodeId server;
  std::uint64_t delegation = 0;
  std::uint32_t generation = 0;
  WallTime issued{};
  Coverage coverage;
  bool operator==(const Settled&) const = default;
};

/// What is signed: everything but the signature, which the caller appends.
Bytes encode_signed_part(const Settled& settled);

struct SettledView {
  Settled settled;
  ByteView signed_part;
  Signature signature{};
};
Result<SettledView> read_settled(ByteView body);

}  // namespace postern::wire
