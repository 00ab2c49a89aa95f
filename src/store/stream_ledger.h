#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "store/intervals.h"
#include "store/store.h"

namespace postern::store {

/// Gap records kept for one stream. At the limit a further one is *not yet*: its origin still has
/// it, and a later record that spans several takes their place.
inline constexpr std::size_t kGapsPerStreamMax = 1024;

/// One gap record of a stream, and the batch that carried it (epoch of that batch's stream, and
/// sequence: records of one node never share it).
struct LedgerGap {
  Range range;
  wire::Epoch by_epoch;
  std::uint64_t by_sequence = 0;
  wire::GapRecord record;
  bool operator==(const LedgerGap&) const = default;
};

/// What is applied and what is gone of one stream, and the verdict on what arrives (rules D1, D4,
/// D5). A plain value: the store loads it, asks it, and saves what changed, in one transaction.
///
/// The state after a set of batches and gaps does not depend on their order: applied is a union,
/// and of gap records those stay that no other one contains.
class StreamLedger {
 public:
  explicit StreamLedger(const wire::StreamKey& key);
  /// As it was saved, in any order. `corrupt` when the parts contradict each other: what comes out
  /// of a file is input.
  static Result<StreamLedger> restore(const wire::StreamKey& key, std::uint64_t sealed,
                                      std::vector<Range> applied, std::vector<LedgerGap> gaps);

  struct Verdict {
    Outcome outcome = Outcome::applied;
    std::optional<Contradiction> contradiction;  // with `equivocation`
  };
  Verdict add_batch(std::uint64_t sequence, const Digest& previous, const Digest& hash);
  /// `applied` also when other records say it already.
  Verdict add_gap(const LedgerGap& gap);
  void raise_sealed(std::uint64_t to);

  const wire::StreamKey& key() const { return key_; }
  std::uint64_t sealed() const { return sealed_; }
  const IntervalSet& applied_set() const { return applied_; }
  const std::vector<LedgerGap>& gap_records() const { return gaps_; }

  std::vector<wire::Interval> applied() const;
  /// What is gone: the gap records' ranges, less what arrived nevertheless.
  std::vector<wire::Interval> gaps() const;
  /// Applied and gone together: what the origin may forget (rule D3).
  std::vector<wire::Interval> settled() const;

 private:
  std::optional<Contradiction> contradiction(const Range& range) const;

  wire::StreamKey key_;
  std::uint64_t sealed_ = 0;
  IntervalSet applied_;
  std::vector<LedgerGap> gaps_;  // by first
  IntervalSet settled_;          // applied and gaps; the limit of intervals counts here
};

}  // namespace postern::store
