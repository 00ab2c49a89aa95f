#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/node_id.h"

namespace postern::store {

/// Batches first to last of one stream, with the two hashes that chain it to its neighbours: of
/// batch first-1 (zeros when first is 1) and of batch `last`.
struct Range {
  std::uint64_t first = 0, last = 0;
  Digest before{}, hash{};
  bool operator==(const Range&) const = default;
};

/// Two hashes for one batch of a stream (batch.md#B14): the one we hold and the one just claimed.
struct Contradiction {
  std::uint64_t sequence = 0;
  Digest known{}, claimed{};
  bool operator==(const Contradiction&) const = default;
};

/// Where two ranges of one stream name different hashes for the same batch; none: they fit
/// together.
std::optional<Contradiction> contradiction_between(const Range& known, const Range& claimed);

/// Which batches of one stream are there: ascending ranges that do not touch. Ranges merge when
/// they touch or overlap, and only when the chain hash fits; so one hash at the end of a range
/// stands for all of it (batch.md#B31). A plain value; knows nothing of storage.
///
/// Only edges keep hashes: a batch that arrives again for the inside of a range is `duplicate`
/// here, whatever its hash is. Who still has the batch itself compares before asking.
class IntervalSet {
 public:
  enum class Added { added, duplicate, equivocation, too_many };

  explicit IntervalSet(std::size_t ranges_max) : ranges_max_(ranges_max) {}
  /// A set as it was saved; the ranges must be in_order().
  IntervalSet(std::size_t ranges_max, std::vector<Range> saved);

  /// One batch. When the limit is near, only what brings no further range is taken, and always the
  /// batch of the lowest hole: the last free place is kept for it, so a stream can always go on.
  Added add(std::uint64_t sequence, const Digest& previous, const Digest& hash) {
    return add({sequence, sequence, previous, hash});
  }
  /// A range; the parts that are there already are no contradiction. `duplicate`: all of it was
  /// there.
  Added add(const Range& range);

  /// Each runs forward from 1 or higher; they ascend and do not touch.
  static bool in_order(const std::vector<Range>& ranges);

  /// The first one between the range and those of the set.
  std::optional<Contradiction> contradiction(const Range& range) const;
  bool contains(std::uint64_t sequence) const;
  bool contains(const Range& range) const;
  /// Whether add() would not be `too_many`.
  bool has_room_for(const Range& range) const;
  const std::vector<Range>& ranges() const { return ranges_; }
  bool operator==(const IntervalSet&) const = default;

 private:
  std::size_t ranges_max_;
  std::vector<Range> ranges_;
};

}  // namespace postern::store
