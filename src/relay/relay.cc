#include "relay/relay.h"

#include <algorithm>
#include <utility>

#include "base/invariant.h"

namespace postern::relay {
namespace {

/// The interval of `intervals` that holds `sequence`, or nullptr.
const wire::Interval* interval_with(const std::vector<wire::Interval>& intervals,
                                    std::uint64_t sequence) {
  const auto at =
      std::lower_bound(intervals.begin(), intervals.end(), sequence,
                       [](const wire::Interval& i, std::uint64_t s) { return i.last < s; });
  return at == intervals.end() || at->first > sequence ? nullptr : &*at;
}

/// Adds one batch at the end, or a whole interval, merging what touches.
void append(std::vector<wire::Interval>& intervals, const wire::Interval& next) {
  if (!intervals.empty() && next.first <= intervals.back().last + 1) {
    if (next.last > intervals.back().last) {
      intervals.back().last = next.last;
      intervals.back().hash = next.hash;
    }
    return;
  }
  intervals.push_back(next);
}

std::vector<wire::Interval> joined(const std::vector<wire::Interval>& a,
                                   const std::vector<wire::Interval>& b) {
  std::vector<wire::Interval> all = a;
  all.insert(all.end(), b.begin(), b.end());
  std::sort(all.begin(), all.end(), [](const auto& x, const auto& y) {
    return x.first != y.first ? x.first < y.first : x.last < y.last;
  });
  std::vector<wire::Interval> result;
  for (const wire::Interval& interval : all) append(result, interval);
  return result;
}

/// Whether `said` names all of `all`, as far as the 64 intervals of a message reach (B32).
bool says_all(const std::vector<wire::Interval>& said, std::vector<wire::Interval> all) {
  if (said.size() == wire::kIntervalsMax && all.size() > said.size()) all.resize(said.size());
  return said == all;
}

}  // namespace

Held held_of(const wire::BatchHeader& header, const Digest& hash, SharedBytes message) {
  Held held;
  held.stream = header.stream;
  held.sequence = header.sequence;
  held.hash = hash;
  held.message = std::move(message);
  held.previous = header.previous;
  held.first_time = header.first;
  held.last_time = header.last;
  held.records = header.records;
  return held;
}

const Held* Relay::copy_of(const wire::StreamKey& key, std::uint64_t sequence) const {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return nullptr;
  const auto slot = found->second.slots.find(sequence);
  if (slot != found->second.slots.end()) return &slot->second.held;
  const auto tail = found->second.tails.find(sequence);
  return tail == found->second.tails.end() ? nullptr : &tail->second.held;
}

std::vector<Range> Relay::held_ranges(const wire::StreamKey& key) const {
  std::vector<Range> ranges;
  const auto found = streams_.find(key);
  if (found == streams_.end()) return ranges;
  for (const auto& [first, last] : found->second.runs) ranges.push_back({first, last});
  return ranges;
}

std::optional<Digest> Relay::hash_of(const wire::StreamKey& key, std::uint64_t sequence) const {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return std::nullopt;
  if (const Digest* hash = known_hash(found->second, sequence)) return *hash;
  const Held* next = copy_of(key, sequence + 1);
  if (next == nullptr || (next->previous == Digest{} && sequence != 0)) return std::nullopt;
  return next->previous;
}

std::vector<spool::Location> Relay::forget(const wire::StreamKey& key, Range range) {
  std::vector<spool::Location> locations;
  const auto found = streams_.find(key);
  if (found == streams_.end()) return locations;
  Stream& stream = found->second;
  std::vector<std::uint64_t> numbers;
  for (auto slot = stream.slots.lower_bound(range.first);
       slot != stream.slots.end() && slot->first <= range.last; ++slot)
    numbers.push_back(slot->first);
  for (const std::uint64_t number : numbers) locations.push_back(take_out(stream, number).location);
  std::vector<std::uint64_t> tails;
  for (auto tail = stream.tails.lower_bound(range.first);
       tail != stream.tails.end() && tail->first <= range.last; ++tail)
    tails.push_back(tail->second.order);
  for (const std::uint64_t order : tails) locations.push_back(take_tail(order));
  return locations;
}

Relay::Arrival Relay::classify(const wire::StreamKey& key, std::uint64_t sequence,
                               const Digest& hash) const {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return Arrival::fresh;
  const Stream& stream = found->second;
  const auto judge = [&](const Digest& known, Arrival same) {
    return known == hash ? same : Arrival::equivocation;
  };
  if (const auto slot = stream.slots.find(sequence); slot != stream.slots.end())
    return judge(slot->second.held.hash, Arrival::held);
  if (const auto write = stream.writing.find(sequence); write != stream.writing.end())
    return judge(write->second, Arrival::held);
  if (const auto tail = stream.tails.find(sequence); tail != stream.tails.end())
    return judge(tail->second.held.hash, Arrival::settled);
  if (const auto range = stream.released.lower_bound(sequence);
      range != stream.released.end() && range->second.first <= sequence && range->second.named)
    return range->first == sequence ? judge(range->second.at_last, Arrival::held) : Arrival::held;
  if (!stream.settled) return Arrival::fresh;
  const auto* interval = interval_with(stream.settled->coverage.intervals, sequence);
  if (interval == nullptr) return Arrival::fresh;
  return interval->last == sequence ? judge(interval->hash, Arrival::settled) : Arrival::settled;
}

Relay::Stream& Relay::stream_of(const wire::StreamKey& key) {
  const auto [found, is_new] = streams_.try_emplace(key);
  if (is_new) ++streams_of_node_[key.node];
  return found->second;
}

Relay::Slot* Relay::find(const wire::StreamKey& key, std::uint64_t sequence) {
  const auto stream = streams_.find(key);
  if (stream == streams_.end()) return nullptr;
  const auto slot = stream->second.slots.find(sequence);
  return slot == stream->second.slots.end() ? nullptr : &slot->second;
}

bool Relay::has_room_for(const wire::StreamKey& key) const {
  if (streams_.contains(key)) return true;
  const auto count = streams_of_node_.find(key.node);
  return count == streams_of_node_.end() || count->second < limits_.streams_per_node_max;
}

const Digest* Relay::hash_in_hand(const Stream& stream, std::uint64_t sequence) {
  if (const auto slot = stream.slots.find(sequence); slot != stream.slots.end())
    return &slot->second.held.hash;
  const auto tail = stream.tails.find(sequence);
  return tail == stream.tails.end() ? nullptr : &tail->second.held.hash;
}

/// The hash of a batch that we hold or, at the edge of what we had, once held; else nullptr.
const Digest* Relay::known_hash(const Stream& stream, std::uint64_t sequence) {
  if (const Digest* hash = hash_in_hand(stream, sequence)) return hash;
  if (const auto range = stream.released.find(sequence); range != stream.released.end())
    return &range->second.at_last;
  if (const auto gap = stream.shed_ends.find(sequence); gap != stream.shed_ends.end())
    return &gap->second;
  if (stream.last.first == sequence && sequence != 0) return &stream.last.second;
  if (!stream.settled) return nullptr;
  const auto* interval = interval_with(stream.settled->coverage.intervals, sequence);
  return interval != nullptr && interval->last == sequence ? &interval->hash : nullptr;
}

void Relay::raise_last(Stream& stream, std::uint64_t sequence, const Digest& hash) {
  if (sequence > stream.last.first) stream.last = {sequence, hash};
}

void Relay::writing(const wire::StreamKey& key, std::uint64_t sequence, const Digest& hash) {
  stream_of(key).writing[sequence] = hash;
}

void Relay::write_failed(const wire::StreamKey& key, std::uint64_t sequence) {
  stream_of(key).writing.erase(sequence);
}

void Relay::added(Held held) {
  Stream& stream = stream_of(held.stream);
  stream.writing.erase(held.sequence);
  if (held.message) {
    // What lies waiting is soon backlog, which must leave memory to live data.
    const std::size_t limit = attached_ ? limits_.cached_bytes_max : limits_.cached_bytes_max / 2;
    if (cached_bytes_ + held.message->size() > limit)
      held.message = nullptr;  // the spool has it
    else
      cached_bytes_ += held.message->size();
  }
  invariant(!stream.tails.contains(held.sequence), "what is settled is not added again");
  const std::uint64_t newest_before = stream.last.first;
  raise_last(stream, held.sequence, held.hash);
  insert(stream, std::move(held));
  // The newest of an own stream is never given up; the one before it may be from now on.
  if (const auto before = stream.slots.find(newest_before); before != stream.slots.end())
    index(stream, before->second);
}

Relay::Slot& Relay::insert(Stream& stream, Held held) {
  const std::uint64_t sequence = held.sequence;
  const auto [at, is_new] = stream.slots.try_emplace(sequence);
  invariant(is_new, "a batch is added to the relay once");
  Slot& slot = at->second;
  slot.held = std::move(held);
  slot.order = next_order_++;
  slot.part = sequence <= stream.backlog_up_to ? backlog : live;
  stream.runs.add(sequence);
  stream.pending.insert(sequence);
  ++counts_.held;
  counts_.held_bytes += slot.held.location.bytes;
  const NodeId& neighbour = neighbour_of(slot.held);
  Share& share = shares_[neighbour];
  largest_.erase({share.bytes, neighbour});
  share.bytes += slot.held.location.bytes;
  ++share.batches;
  largest_.emplace(share.bytes, neighbour);
  if (attached_ && !stream.offered)
    to_offer_.emplace(wire::index_of(slot.held.stream.lane), slot.held.stream);
  move(stream, slot, Where::queued);
  return slot;
}

/// Out of all books; what is returned carries no message.
Held Relay::take_out(Stream& stream, std::uint64_t sequence) {
  Slot& slot = stream.slots.at(sequence);
  leave(stream, slot);
  drop_message(slot);
  refresh(slot.held.stream, stream, slot.part);
  stream.pending.erase(sequence);
  stream.runs.remove(sequence);
  --counts_.held;
  counts_.held_bytes -= slot.held.location.bytes;
  const NodeId neighbour = neighbour_of(slot.held);
  Share& share = shares_.at(neighbour);
  largest_.erase({share.bytes, neighbour});
  share.bytes -= slot.held.location.bytes;
  if (--share.batches > 0)
    largest_.emplace(share.bytes, neighbour);
  else
    shares_.erase(neighbour);
  Held held = std::move(slot.held);
  stream.slots.erase(sequence);
  return held;
}

wire::Coverage Relay::coverage(const wire::StreamKey& key,
                               std::optional<std::uint64_t> up_to) const {
  wire::Coverage result{key, {}};
  const auto found = streams_.find(key);
  if (found == streams_.end()) return result;
  const Stream& stream = found->second;
  static const std::vector<wire::Interval> kNone;
  const auto& settled = stream.settled ? stream.settled->coverage.intervals : kNone;
  auto next_settled = settled.begin();
  auto run = stream.runs.begin();
  auto released = stream.released.begin();
  // Three ascending sequences, merged by their first number; more than the wire takes is not
  // needed.
  constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
  while (result.intervals.size() <= wire::kIntervalsMax) {
    while (released != stream.released.end() && !released->second.named) ++released;
    const std::uint64_t of_settled = next_settled == settled.end() ? kEnd : next_settled->first;
    const std::uint64_t of_runs = run == stream.runs.end() ? kEnd : run->first;
    const std::uint64_t of_released =
        released == stream.released.end() ? kEnd : released->second.first;
    const std::uint64_t lowest = std::min({of_settled, of_runs, of_released});
    if (lowest == kEnd || (up_to && lowest > *up_to)) break;
    if (lowest == of_settled) {
      append(result.intervals, *next_settled++);
    } else if (lowest == of_runs) {
      append(result.intervals, {run->first, run->second, stream.slots.at(run->second).held.hash});
      ++run;
    } else {
      append(result.intervals, {released->second.first, released->first, released->second.at_last});
      ++released;
    }
  }
  if (up_to && !result.intervals.empty() && result.intervals.back().last > *up_to) {
    // Inside an interval only the hash of what is in hand is known; without it nothing can be said
    // about the cut.
    const Digest* at = known_hash(stream, *up_to);
    if (at == nullptr) return result;
    result.intervals.back().last = *up_to;
    result.intervals.back().hash = *at;
  }
  return result;
}

/// Whether it ends with a batch of our own stream that we never made.
bool Relay::never_made(const Stream& stream, const wire::Interval& interval) const {
  const auto write = stream.writing.find(interval.last);
  if (write != stream.writing.end()) return write->second != interval.hash;
  if (interval.last > stream.last.first) return true;
  const Digest* known = known_hash(stream, interval.last);
  return known != nullptr && *known != interval.hash;
}

Relay::Verdict Relay::on_settled(const wire::Settled& settled, SharedBytes message, TimePoint now) {
  const wire::StreamKey& key = settled.coverage.stream;
  const auto& said = settled.coverage.intervals;
  Verdict verdict;
  const auto known_stream = streams_.find(key);
  if (settled.generation < generation_) {
    // A replay; or a store that lost even that it had opened a newer generation.
    if (known_stream != streams_.end() && known_stream->second.settled_message != nullptr)
      verdict.behind = !std::exchange(known_stream->second.shown, true);
    return verdict;
  }
  static const Stream kNone;
  const Stream& known = known_stream == streams_.end() ? kNone : known_stream->second;
  for (const wire::Interval& interval : said) {
    const Digest* hash = hash_in_hand(known, interval.last);
    verdict.set_back = is_own(key) && never_made(known, interval);
    if (!verdict.set_back && (hash == nullptr || *hash == interval.hash)) continue;
    ++counts_.mismatches;
    if (!is_own(key)) verdict.contradicted = interval.last;
    return verdict;
  }
  verdict.rewound = open_generation(settled.generation);
  Stream& stream = stream_of(key);
  static const std::vector<wire::Interval> kNothing;
  const auto& before = stream.settled ? stream.settled->coverage.intervals : kNothing;
  // Within a generation it only grows (B42), and by what it covers, not by its time: a clock that
  // was ahead must not hold up later words.
  std::vector<wire::Interval> all = joined(said, before);
  const bool cut = !before.empty() && (said.empty() || said.back().last < before.back().last);
  // The position of an own stream rests on the message that is kept: it must not lose its end.
  const bool whole = says_all(said, all);
  verdict.accepted = whole && !(cut && is_own(key));
  if (!verdict.accepted) {
    verdict.behind =
        !whole && stream.settled_message != nullptr && !std::exchange(stream.shown, true);
    return verdict;
  }
  stream.settled = settled;
  stream.settled->coverage.intervals = std::move(all);
  stream.settled_message = std::move(message);
  for (const wire::Interval& interval : said) {
    // Without `last` in our hands the chain cannot be checked. The signature is enough for a hop,
    // whose copy is one of several; the origin's is the last one.
    if (is_own(key) && known_hash(stream, interval.last) == nullptr) continue;
    settle(key, stream, interval, now);
  }
  return verdict;
}

bool Relay::covers_settled(const wire::StreamKey& stream, Range range) const {
  const wire::Settled* const kept = settled(stream);
  return kept != nullptr &&
         std::ranges::any_of(kept->coverage.intervals, [&](const wire::Interval& interval) {
           return interval.first <= range.last && range.first <= interval.last;
         });
}

void Relay::restored(const wire::Settled& settled, SharedBytes message, TimePoint now) {
  const wire::StreamKey& key = settled.coverage.stream;
  const auto& said = settled.coverage.intervals;
  Stream& stream = stream_of(key);
  if (!said.empty()) raise_last(stream, said.back().last, said.back().hash);
  if (settled.generation < generation_) return;  // it keeps the position, and is no word any more
  open_generation(settled.generation);
  stream.settled = settled;
  stream.settled_message = std::move(message);
  for (const wire::Interval& interval : said) {
    const auto at_last = stream.slots.find(interval.last);
    if (at_last != stream.slots.end() && at_last->second.held.hash != interval.hash)
      ++counts_.mismatches;
    else
      settle(key, stream, interval, now);
  }
}

/// What a believed interval covers becomes tail.
void Relay::settle(const wire::StreamKey& key, Stream& stream, const wire::Interval& interval,
                   TimePoint now) {
  raise_last(stream, interval.last, interval.hash);
  auto slot = stream.slots.lower_bound(interval.first);
  while (slot != stream.slots.end() && slot->first <= interval.last) {
    const std::uint64_t sequence = slot->first;
    ++slot;
    Tail tail{take_out(stream, sequence), next_order_++};
    ++counts_.settled;
    ++counts_.tails;
    counts_.tail_bytes += tail.held.location.bytes;
    tails_[tail.order] = {now, key, sequence};
    stream.tails.emplace(sequence, std::move(tail));
  }
  auto released = stream.released.lower_bound(interval.first);
  while (released != stream.released.end() && released->first <= interval.last) {
    if (released->second.first >= interval.first)
      released = stream.released.erase(released);
    else
      ++released;
  }
  if (released != stream.released.end() && released->second.first >= interval.first &&
      released->second.first <= interval.last)
    released->second.first = interval.last + 1;
  stream.shed_ends.erase(stream.shed_ends.lower_bound(interval.first),
                         stream.shed_ends.upper_bound(interval.last));
}

/// A higher one takes back what all lower ones settled (rule D10). True when it was higher, and
/// there was one before.
bool Relay::open_generation(std::uint32_t generation) {
  if (generation <= generation_) return false;
  const bool rewinds = generation_ != 0;
  generation_ = generation;
  if (!rewinds) return false;
  ++counts_.rewinds;
  for (auto& [key, stream] : streams_) {
    stream.settled.reset();
    stream.settled_message = nullptr;
    stream.shown = false;
    // Who released it to whom is known no better than what is settled: children send theirs. The
    // origin has nothing to send, and its record stands.
    if (!is_own(key)) stream.released.clear();
    if (stream.tails.empty() && stream.slots.empty()) continue;
    for (auto& [sequence, tail] : std::exchange(stream.tails, {})) {
      tails_.erase(tail.order);
      --counts_.tails;
      counts_.tail_bytes -= tail.held.location.bytes;
      stream.backlog_up_to = std::max(stream.backlog_up_to, sequence);
      insert(stream, std::move(tail.held));
    }
    // An answer that is under way would be of the store that was set back.
    for (auto& [sequence, slot] : stream.slots)
      if (slot.where == Where::in_flight) move(stream, slot, Where::queued);
    // The parent says again what it has, and gets what it has not.
    stream.offered = stream.answered = false;
    if (attached_) to_offer_.emplace(wire::index_of(key.lane), key);
    refresh(key, stream, live);
    refresh(key, stream, backlog);
  }
  return true;
}

const wire::Settled* Relay::settled(const wire::StreamKey& key) const {
  const auto found = streams_.find(key);
  return found != streams_.end() && found->second.settled ? &*found->second.settled : nullptr;
}

SharedBytes Relay::settled_message(const wire::StreamKey& key) const {
  const auto found = streams_.find(key);
  return found == streams_.end() ? nullptr : found->second.settled_message;
}

std::optional<std::pair<std::uint64_t, Digest>> Relay::last_of(const wire::StreamKey& key) const {
  const auto found = streams_.find(key);
  if (found == streams_.end() || found->second.last.first == 0) return std::nullopt;
  return found->second.last;
}

std::vector<wire::StreamKey> Relay::streams() const {
  std::vector<wire::StreamKey> keys;
  for (const auto& [key, stream] : streams_) keys.push_back(key);
  return keys;
}

std::vector<const Held*> Relay::held_of(const wire::StreamKey& key) const {
  std::vector<const Held*> all;
  if (const auto found = streams_.find(key); found != streams_.end())
    for (const auto& [sequence, slot] : found->second.slots) all.push_back(&slot.held);
  return all;
}

}  // namespace postern::relay
