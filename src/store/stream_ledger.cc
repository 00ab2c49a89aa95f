#include "store/stream_ledger.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace postern::store {
namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

std::vector<wire::Interval> to_intervals(const IntervalSet& set) {
  std::vector<wire::Interval> intervals;
  for (const Range& range : set.ranges())
    intervals.push_back({range.first, range.last, range.hash});
  return intervals;
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
    : key_(key), applied_(kUnlimited), settled_(kIntervalsPerStreamMax) {}

Result<StreamLedger> StreamLedger::restore(const wire::StreamKey& key, std::uint64_t sealed,
                                           std::vector<Range> applied,
                                           std::vector<LedgerGap> gaps) {
  std::ranges::sort(applied, {}, &Range::first);
  std::ranges::sort(gaps, {}, [](const LedgerGap& gap) { return gap.range.first; });
  if (!IntervalSet::in_order(applied))
    return fail(Errc::corrupt, "the applied ranges of {} overlap or touch", key.text());
  StreamLedger ledger(key);
  ledger.sealed_ = sealed;
  ledger.applied_ = IntervalSet(kUnlimited, std::move(applied));
  IntervalSet settled = ledger.applied_;
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
  if (settled_.add(range) == IntervalSet::Added::too_many) return {Outcome::too_many_holes, {}};
  applied_.add(range);
  raise_sealed(sequence);
  return {};
}

StreamLedger::Verdict StreamLedger::add_gap(const LedgerGap& gap) {
  if (auto found = contradiction(gap.range)) return {Outcome::equivocation, found};
  if (std::ranges::any_of(gaps_, [&](const LedgerGap& known) { return replaces(known, gap); }))
    return {};
  const auto spanned =
      std::ranges::count_if(gaps_, [&](const LedgerGap& known) { return replaces(gap, known); });
  if (gaps_.size() - static_cast<std::size_t>(spanned) >= kGapsPerStreamMax)
    return {Outcome::too_many_holes, {}};
  if (settled_.add(gap.range) == IntervalSet::Added::too_many) return {Outcome::too_many_holes, {}};
  std::erase_if(gaps_, [&](const LedgerGap& known) { return replaces(gap, known); });
  gaps_.insert(std::ranges::upper_bound(gaps_, gap.range.first, {},
                                        [](const LedgerGap& g) { return g.range.first; }),
               gap);
  raise_sealed(gap.range.last);
  return {};
}

void StreamLedger::raise_sealed(std::uint64_t to) { sealed_ = std::max(sealed_, to); }

std::vector<wire::Interval> StreamLedger::applied() const { return to_intervals(applied_); }
std::vector<wire::Interval> StreamLedger::settled() const { return to_intervals(settled_); }

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

}  // namespace postern::store
