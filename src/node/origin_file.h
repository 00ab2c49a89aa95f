#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "wire/stream.h"

namespace postern::node {

/// Numbers of one stream, as ascending ranges that do not touch.
class NumberSet {
 public:
  struct Range {
    std::uint64_t first = 0, last = 0;
    bool operator==(const Range&) const = default;
  };

  void add(Range range);
  void remove(Range range);
  bool contains(std::uint64_t number) const;
  /// What of `range` is not in the set, ascending.
  std::vector<Range> missing(Range range) const;
  const std::vector<Range>& ranges() const { return ranges_; }
  bool operator==(const NumberSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

/// What STATE/epoch says: which epoch is ours, and how far what was refused in older ones has been
/// sealed again (batch.md#B26). Little-endian:
///
///   magic "PSTE", version u8 = 2
///   epoch: ordinal u32, random u64
///   damaged segments of the spool when it began u64
///   disputed epochs: count u8 (at most 16), then each
///     epoch (12), first disputed number per lane 3 x u64 (0: none)
///     per lane the numbers that are done: count u16 (at most 256), each first u64, last u64
///   per lane the plan: base u64, count u16 (at most 256), each: epoch (12), sequence u64
///   crc32c u32 of all before
///
/// Version 1 was the epoch, `damaged` and the checksum, 24 bytes; it is still read.
struct EpochFile {
  static constexpr std::size_t kDisputedMax = 16;  // epochs
  static constexpr std::size_t kRangesMax = 256;   // done numbers, of one stream
  static constexpr std::size_t kCopiesMax = 256;   // planned at once, of one lane
  static constexpr std::size_t kBytesMax = 256u << 10;

  /// An epoch in which a peer knew batches that we never made.
  struct Disputed {
    wire::Epoch epoch;
    /// From here on our batches of the lane are refused there; 0: of this lane none is known to be.
    std::array<std::uint64_t, 3> from{};
    /// Sealed again, or given up: never to be sealed again whatever comes back from the disk.
    std::array<NumberSet, 3> done;
    bool operator==(const Disputed&) const = default;
  };
  struct Copy {
    wire::Epoch epoch;
    std::uint64_t sequence = 0;
    bool operator==(const Copy&) const = default;
  };
  /// The next numbers of a lane of our epoch, behind `base`, are copies of these, in this order. So
  /// after a crash the end of the lane alone says which of them are made.
  struct Plan {
    std::uint64_t base = 0;
    std::vector<Copy> copies;
    std::size_t made(std::uint64_t end_of_lane) const;
    bool operator==(const Plan&) const = default;
  };

  wire::Epoch epoch;
  std::uint64_t damaged = 0;
  std::vector<Disputed> disputed;
  std::array<Plan, 3> plans;

  Disputed* find(const wire::Epoch& of);
  const Disputed* find(const wire::Epoch& of) const;
  /// Into `done`, together with what lies between it and the one that was done before it. Copies
  /// are made in ascending order, so nothing that still has to be done lies there, and the list
  /// stays short.
  void done_up_to(const Copy& copy, wire::Lane lane);
  void done(const Copy& copy, wire::Lane lane);  // this number only
  bool operator==(const EpochFile&) const = default;
};

Bytes encode(const EpochFile& file);
std::optional<EpochFile> decode_epoch_file(ByteView bytes);  // nothing: not such a file, or damaged

}  // namespace postern::node
