#include "store/intervals.h"

#include <algorithm>

#include "base/invariant.h"

namespace postern::store {
namespace {

// Sequence numbers go up to 2^64-1 and begin at 1: first - 1 never wraps, last + 1 may.
bool lies_before(const Range& a, const Range& b) { return a.last < b.first - 1; }

}  // namespace

std::optional<Contradiction> contradiction_between(const Range& known, const Range& claimed) {
  std::optional<Contradiction> found;
  const auto meet = [&](std::uint64_t sequence, const Digest& ours, const Digest& theirs) {
    if (!found && ours != theirs) found = Contradiction{sequence, ours, theirs};
  };
  if (known.first == claimed.first) meet(known.first - 1, known.before, claimed.before);
  if (known.last == claimed.last) meet(known.last, known.hash, claimed.hash);
  if (known.last == claimed.first - 1) meet(known.last, known.hash, claimed.before);
  if (claimed.last == known.first - 1) meet(claimed.last, known.before, claimed.hash);
  return found;
}

IntervalSet::IntervalSet(std::size_t ranges_max, std::vector<Range> saved)
    : ranges_max_(ranges_max), ranges_(std::move(saved)) {
  invariant(in_order(ranges_), "a saved set is in order");
}

bool IntervalSet::in_order(const std::vector<Range>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].first == 0 || ranges[i].first > ranges[i].last) return false;
    if (i > 0 && !lies_before(ranges[i - 1], ranges[i])) return false;
  }
  return true;
}

IntervalSet::Added IntervalSet::add(const Range& range) {
  invariant(range.first > 0 && range.first <= range.last, "a range runs forward from 1");
  if (contradiction(range)) return Added::equivocation;
  if (contains(range)) return Added::duplicate;
  if (!has_room_for(range)) return Added::too_many;
  const auto begin =
      std::ranges::find_if_not(ranges_, [&](const Range& r) { return lies_before(r, range); });
  const auto end =
      std::find_if(begin, ranges_.end(), [&](const Range& r) { return lies_before(range, r); });

  Range merged = range;
  if (begin != end && begin->first < range.first) {
    merged.first = begin->first;
    merged.before = begin->before;
  }
  if (begin != end && (end - 1)->last > range.last) {
    merged.last = (end - 1)->last;
    merged.hash = (end - 1)->hash;
  }
  ranges_.insert(ranges_.erase(begin, end), merged);
  return Added::added;
}

bool IntervalSet::has_room_for(const Range& range) const {
  if (ranges_.size() + 1 < ranges_max_) return true;
  const bool touches = std::ranges::any_of(
      ranges_, [&](const Range& r) { return !lies_before(r, range) && !lies_before(range, r); });
  if (touches) return true;
  // Nothing touches the range, so the lowest hole is in it only when nothing of the stream's
  // beginning is there; that happens once, hence one reserved place is enough.
  return range.first == 1 && ranges_.size() < ranges_max_;
}

std::optional<Contradiction> IntervalSet::contradiction(const Range& range) const {
  if (range.first == 1 && range.before != Digest{}) return Contradiction{0, Digest{}, range.before};
  auto at =
      std::ranges::find_if_not(ranges_, [&](const Range& r) { return lies_before(r, range); });
  for (; at != ranges_.end() && !lies_before(range, *at); ++at)
    if (auto found = contradiction_between(*at, range)) return found;
  return std::nullopt;
}

bool IntervalSet::contains(std::uint64_t sequence) const {
  return std::ranges::any_of(
      ranges_, [&](const Range& r) { return r.first <= sequence && sequence <= r.last; });
}

bool IntervalSet::contains(const Range& range) const {
  return std::ranges::any_of(
      ranges_, [&](const Range& r) { return r.first <= range.first && range.last <= r.last; });
}

}  // namespace postern::store
