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
/// What is applied may be cut by gaps, so it has more ranges than what is settled. Only batches
/// that arrive inside of gaps, or gaps that replace others, lead beyond twice the intervals: then a
/// further piece is *not yet*. Where a gap covers it, it is settled all the same.
inline constexpr std::size_t kAppliedRangesMax = 2 * kIntervalsPerStreamMax;

/// One gap record of a stream, and the batch that carried it (epoch of that batch's stream, and
/// sequence: records of one node never share it). Epoch 0 is our own word: no node has it.
struct LedgerGap {
  Range range;
  wire::Epoch by_epoch;
  std::uint64_t by_sequence = 0;
  wire::GapRecord record;
  std::optional<WallTime> noted = {};  // when it arrived
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
                                      std::vector<Range> applied, std::vector<LedgerGap> gaps,
                                      const std::optional<Digest>& sealed_hash = {});

  struct Verdict {
    Outcome outcome = Outcome::applied;
    /// With `equivocation`; and with `applied` when a head had named another hash (`claimed`) for
    /// what now arrived: the batch or gap counts, and the finding is to be kept.
    std::optional<Contradiction> contradiction;
  };
  Verdict add_batch(std::uint64_t sequence, const Digest& previous, const Digest& hash);
  /// `applied` also when other records say it already. Where its hashes are not those of what is
  /// known on its sides, it was said by another life of the node: that the batches are gone counts,
  /// and the hashes that are known.
  Verdict add_gap(const LedgerGap& gap);
  /// A head's word that batches go up to `to`; a hash of zeros is not known. Returns where it
  /// contradicts what is held; then nothing changed.
  std::optional<Contradiction> raise_sealed(std::uint64_t to, const Digest& hash);
  /// Our own word that what is not here will not come any more (rule D5): every hole whose hashes
  /// are known becomes a gap. A tail whose last hash nobody has said stays open.
  void close(WallTime now);

  const wire::StreamKey& key() const { return key_; }
  std::uint64_t sealed() const { return sealed_; }
  const std::optional<Digest>& sealed_hash() const { return sealed_hash_; }
  const IntervalSet& applied_set() const { return applied_; }
  const std::vector<LedgerGap>& gap_records() const { return gaps_; }

  std::vector<wire::Interval> applied() const;
  /// What is gone: the gap records' ranges, less what arrived nevertheless.
  std::vector<wire::Interval> gaps() const;
  /// The reason of each of gaps(): of the record that covers its first batch.
  std::vector<wire::GapRecord::Reason> gap_reasons() const;
  /// Applied and gone together: what the origin may forget (rule D3).
  std::vector<wire::Interval> settled() const;
  /// What lies between 1 and sealed and is neither applied nor gone, lowest first, at most `limit`.
  std::vector<Hole> holes(std::size_t limit) const;
  bool has_holes() const { return !holes(1).empty(); }
  /// The parts of first to last that are not settled, or not applied.
  using Piece = std::pair<std::uint64_t, std::uint64_t>;
  std::vector<Piece> unsettled(std::uint64_t first, std::uint64_t last) const;
  std::vector<Piece> unapplied(std::uint64_t first, std::uint64_t last) const;

 private:
  std::optional<Contradiction> contradiction(const Range& range) const;
  Verdict take_gap(const LedgerGap& gap, std::size_t gaps_max);
  std::optional<Digest> hash_at(std::uint64_t sequence) const;
  /// Something that ends with `last` arrived. Returns what a head had said otherwise.
  std::optional<Contradiction> arrived(std::uint64_t last, const Digest& hash);

  wire::StreamKey key_;
  std::uint64_t sealed_ = 0;
  std::optional<Digest> sealed_hash_;  // of batch sealed_
  IntervalSet applied_;
  std::vector<LedgerGap> gaps_;  // by first
  IntervalSet settled_;          // applied and gaps; the limit of intervals counts here
};

/// The verdict on a batch and on the gap it carries: taken together or not at all. `of_gap` is the
/// ledger of that gap's stream (which may be `own`), null when it carries none. `archived` is the
/// hash of the batch of this number in the archive, if it is there.
StreamLedger::Verdict judge(StreamLedger& own, StreamLedger* of_gap, const Apply& batch,
                            const std::optional<Digest>& archived);

}  // namespace postern::store
