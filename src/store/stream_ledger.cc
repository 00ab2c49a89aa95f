#include "store/stream_ledger.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "base/invariant.h"

namespace postern::store {
namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

std::vector<wire::Interval> to_intervals(const IntervalSet& set) {
  std::vector<wire::Interval> intervals;
  for (const Range& range : set.ranges())
    intervals.push_back({range.first, range.last, range.hash});
  return intervals;
}

std::vector<StreamLedger::Piece> missing_in(const IntervalSet& set, std::uint64_t first,
                                            std::uint64_t last) {
  std::vector<StreamLedger::Piece> pieces;
  std::uint64_t from = first;
  for (const Range& range : set.ranges()) {
    if (range.last < from) continue;
    if (range.first > last) break;
    if (range.first > from) pieces.emplace_back(from, range.first - 1);
    if (range.last >= last) return pieces;
    from = range.last + 1;
  }
  pieces.emplace_back(from, last);
  return pieces;
}

bool covers(const Range& a, const Range& b) { return a.first <= b.first && b.last <= a.last; }

/// Of two records for the very same range the earlier batch's stays, whichever came first.
auto order(const LedgerGap& gap) {
  return std::tie(gap.range.first, gap.range.last, gap.by_epoch, gap.by_sequence);
}

bool replaces(const LedgerGap& a, const LedgerGap& b) {
  if (!covers(a.range, b.range)) return false;
  return !covers(b.range, a.range) || order(a) <= order(b);
}

}  // namespace

StreamLedger::StreamLedger(const wire::StreamKey& key)
    : key_(key), applied_(kAppliedRangesMax), settled_(kIntervalsPerStreamMax) {}

Result<StreamLedger> StreamLedger::restore(const wire::StreamKey& key, std::uint64_t sealed,
                                           std::vector<Range> applied, std::vector<LedgerGap> gaps,
                                           const std::optional<Digest>& sealed_hash) {
  std::ranges::sort(applied, {}, &Range::first);
  std::ranges::sort(gaps, {}, [](const LedgerGap& gap) { return gap.range.first; });
  if (!IntervalSet::in_order(applied))
    return fail(Errc::corrupt, "the applied ranges of {} overlap or touch", key.text());
  StreamLedger ledger(key);
  ledger.sealed_ = sealed;
  ledger.sealed_hash_ = sealed_hash;
  IntervalSet settled(kUnlimited, applied);
  ledger.applied_ = IntervalSet(kAppliedRangesMax, std::move(applied));
  for (const LedgerGap& gap : gaps)
    if (!IntervalSet::in_order({gap.range}) ||
        settled.add(gap.range) == IntervalSet::Added::equivocation)
      return fail(Errc::corrupt, "the gap {} to {} of {} contradicts what is applied",
                  gap.range.first, gap.range.last, key.text());
  ledger.gaps_ = std::move(gaps);
  ledger.settled_ = IntervalSet(kIntervalsPerStreamMax, settled.ranges());
  return ledger;
}

std::optional<Contradiction> StreamLedger::contradiction(const Range& range) const {
  if (auto found = applied_.contradiction(range)) return found;
  for (const LedgerGap& gap : gaps_)
    if (auto found = contradiction_between(gap.range, range)) return found;
  return std::nullopt;
}

StreamLedger::Verdict StreamLedger::add_batch(std::uint64_t sequence, const Digest& previous,
                                              const Digest& hash) {
  const Range range{sequence, sequence, previous, hash};
  if (auto found = contradiction(range)) return {Outcome::equivocation, found};
  if (applied_.contains(sequence)) return {Outcome::duplicate, {}};
  if (!applied_.has_room_for(range)) return {Outcome::too_many_holes, {}};
  if (settled_.add(range) == IntervalSet::Added::too_many) return {Outcome::too_many_holes, {}};
  applied_.add(range);
  return {Outcome::applied, arrived(sequence, hash)};
}

StreamLedger::Verdict StreamLedger::add_gap(const LedgerGap& gap) {
  const auto found = contradiction(gap.range);
  if (!found) return take_gap(gap, kGapsPerStreamMax);
  LedgerGap fitted = gap;
  if (const auto known = hash_at(gap.range.first - 1)) fitted.range.before = *known;
  if (const auto known = hash_at(gap.range.last)) fitted.range.hash = *known;
  fitted.record.before = fitted.range.before;
  fitted.record.at_last = fitted.range.hash;
  Verdict verdict = take_gap(fitted, kGapsPerStreamMax);
  if (!verdict.contradiction) verdict.contradiction = found;
  return verdict;
}

StreamLedger::Verdict StreamLedger::take_gap(const LedgerGap& gap, std::size_t gaps_max) {
  if (auto found = contradiction(gap.range)) return {Outcome::equivocation, found};
  if (std::ranges::any_of(gaps_, [&](const LedgerGap& known) { return replaces(known, gap); }))
    return {};
  const auto spanned =
      std::ranges::count_if(gaps_, [&](const LedgerGap& known) { return replaces(gap, known); });
  if (gaps_.size() - static_cast<std::size_t>(spanned) >= gaps_max)
    return {Outcome::too_many_holes, {}};
  if (settled_.add(gap.range) == IntervalSet::Added::too_many) return {Outcome::too_many_holes, {}};
  std::erase_if(gaps_, [&](const LedgerGap& known) { return replaces(gap, known); });
  gaps_.insert(std::ranges::upper_bound(gaps_, gap.range.first, {},
                                        [](const LedgerGap& g) { return g.range.first; }),
               gap);
  return {Outcome::applied, arrived(gap.range.last, gap.range.hash)};
}

std::optional<Contradiction> StreamLedger::arrived(std::uint64_t last, const Digest& hash) {
  if (last < sealed_) return std::nullopt;
  const auto said = last == sealed_ ? sealed_hash_ : std::nullopt;
  sealed_ = last;
  sealed_hash_ = hash;
  if (!said || *said == hash) return std::nullopt;
  return Contradiction{last, hash, *said};
}

std::optional<Contradiction> StreamLedger::raise_sealed(std::uint64_t to, const Digest& hash) {
  const bool says_hash = hash != Digest{};
  if (const auto known = hash_at(to); known && says_hash && *known != hash)
    return Contradiction{to, *known, hash};
  if (to > sealed_) {
    sealed_ = to;
    sealed_hash_ = says_hash ? std::optional(hash) : std::nullopt;
  } else if (to == sealed_ && to > 0 && says_hash) {
    sealed_hash_ = hash;
  }
  return std::nullopt;
}

std::optional<Digest> StreamLedger::hash_at(std::uint64_t sequence) const {
  if (sequence == 0) return Digest{};
  const auto at_edge = [&](const Range& range) -> std::optional<Digest> {
    if (range.last == sequence) return range.hash;
    if (range.first - 1 == sequence) return range.before;
    return std::nullopt;
  };
  for (const Range& range : applied_.ranges())
    if (auto found = at_edge(range)) return found;
  for (const LedgerGap& gap : gaps_)
    if (auto found = at_edge(gap.range)) return found;
  return sequence == sealed_ ? sealed_hash_ : std::nullopt;
}

void StreamLedger::close(WallTime now) {
  for (const Hole& hole : holes(kUnlimited)) {
    if (!hole.before || !hole.at_last) continue;
    wire::GapRecord record;
    record.stream = key_;
    record.first = hole.first;
    record.last = hole.last;
    record.before = *hole.before;
    record.at_last = *hole.at_last;
    record.reason = wire::GapRecord::Reason::removed;
    // The number only keeps our own records of one stream apart. There are no more of them than
    // holes, which have a limit of their own.
    take_gap({{hole.first, hole.last, *hole.before, *hole.at_last}, {}, hole.first, record, now},
             kUnlimited);
  }
}

std::vector<wire::Interval> StreamLedger::applied() const { return to_intervals(applied_); }
std::vector<wire::Interval> StreamLedger::settled() const { return to_intervals(settled_); }

std::vector<Hole> StreamLedger::holes(std::size_t limit) const {
  std::vector<Hole> found;
  std::uint64_t next = 1;
  std::optional<Digest> before = Digest{};
  for (const Range& range : settled_.ranges()) {
    if (found.size() >= limit) return found;
    if (range.first > next) found.push_back({key_, next, range.first - 1, before, range.before});
    if (range.last == std::numeric_limits<std::uint64_t>::max()) return found;
    next = range.last + 1;
    before = range.hash;
  }
  if (next <= sealed_ && found.size() < limit)
    found.push_back({key_, next, sealed_, before, sealed_hash_});
  return found;
}

std::vector<StreamLedger::Piece> StreamLedger::unsettled(std::uint64_t first,
                                                         std::uint64_t last) const {
  return missing_in(settled_, first, last);
}

std::vector<StreamLedger::Piece> StreamLedger::unapplied(std::uint64_t first,
                                                         std::uint64_t last) const {
  return missing_in(applied_, first, last);
}

std::vector<wire::GapRecord::Reason> StreamLedger::gap_reasons() const {
  std::vector<wire::GapRecord::Reason> reasons;
  for (const wire::Interval& piece : gaps()) {
    const auto covering = std::ranges::find_if(gaps_, [&](const LedgerGap& gap) {
      return gap.range.first <= piece.first && piece.first <= gap.range.last;
    });
    invariant(covering != gaps_.end(), "what is gone is gone by a record");
    reasons.push_back(covering->record.reason);
  }
  return reasons;
}

std::vector<wire::Interval> StreamLedger::gaps() const {
  IntervalSet gone(kUnlimited);
  for (const LedgerGap& gap : gaps_) gone.add(gap.range);
  std::vector<wire::Interval> pieces;
  auto arrived = applied_.ranges().begin();
  for (const Range& range : gone.ranges()) {
    std::uint64_t from = range.first;
    while (arrived != applied_.ranges().end() && arrived->last < from) ++arrived;
    bool to_the_end = true;
    for (; arrived != applied_.ranges().end() && arrived->first <= range.last; ++arrived) {
      // The chain gives the hash of the last batch that is gone: the predecessor of what arrived.
      if (arrived->first > from) pieces.push_back({from, arrived->first - 1, arrived->before});
      to_the_end = arrived->last < range.last;
      if (!to_the_end) break;  // it may reach into the next range too
      from = arrived->last + 1;
    }
    if (to_the_end) pieces.push_back({from, range.last, range.hash});
  }
  return pieces;
}

StreamLedger::Verdict judge(StreamLedger& own, StreamLedger* of_gap, const Apply& batch,
                            const std::optional<Digest>& archived) {
  const wire::BatchHeader& header = batch.header;
  if (archived && own.applied_set().contains(header.sequence)) {
    if (*archived == batch.hash) return {Outcome::duplicate, {}};
    return {Outcome::equivocation, Contradiction{header.sequence, *archived, batch.hash}};
  }
  if (of_gap == nullptr) return own.add_batch(header.sequence, header.previous, batch.hash);

  invariant(batch.effects.gap.has_value(), "a ledger for a gap comes with a gap");
  const wire::GapRecord& gap = *batch.effects.gap;
  const StreamLedger untouched = own;
  const auto verdict = own.add_batch(header.sequence, header.previous, batch.hash);
  if (verdict.outcome != Outcome::applied) return verdict;
  const auto verdict_on_gap = of_gap->add_gap({{gap.first, gap.last, gap.before, gap.at_last},
                                               header.stream.epoch,
                                               header.sequence,
                                               gap,
                                               batch.arrived});
  if (verdict_on_gap.outcome != Outcome::applied) own = untouched;
  return verdict_on_gap.contradiction || verdict_on_gap.outcome != Outcome::applied ? verdict_on_gap
                                                                                    : verdict;
}

}  // namespace postern::store
