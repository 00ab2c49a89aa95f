#include "relay/relay.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/invariant.h"

namespace postern::relay {
namespace {

/// The interval of `coverage` that holds `sequence`, or nullptr.
const wire::Interval* interval_with(const wire::Coverage& coverage, std::uint64_t sequence) {
  for (const wire::Interval& interval : coverage.intervals)
    if (sequence >= interval.first && sequence <= interval.last) return &interval;
  return nullptr;
}

/// Adds one batch at the end, or a whole interval, merging what touches.
void append(std::vector<wire::Interval>& intervals, wire::Interval next) {
  if (!intervals.empty() && next.first <= intervals.back().last + 1) {
    if (next.last > intervals.back().last) {
      intervals.back().last = next.last;
      intervals.back().hash = next.hash;
    }
    return;
  }
  intervals.push_back(next);
}

}  // namespace

Relay::Arrival Relay::classify(const wire::StreamKey& key, std::uint64_t sequence,
                               const Digest& hash) const {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return Arrival::fresh;
  const Stream& stream = found->second;
  if (const auto slot = stream.slots.find(sequence); slot != stream.slots.end())
    return slot->second.held.hash == hash ? Arrival::held : Arrival::equivocation;
  if (const auto write = stream.writing.find(sequence); write != stream.writing.end())
    return write->second == hash ? Arrival::held : Arrival::equivocation;
  if (!stream.settled) return Arrival::fresh;
  const wire::Interval* interval = interval_with(stream.settled->coverage, sequence);
  if (interval == nullptr) return Arrival::fresh;
  if (interval->last == sequence && interval->hash != hash) return Arrival::equivocation;
  return Arrival::settled;
}

Relay::Stream& Relay::stream_of(const wire::StreamKey& key) {
  const auto [found, is_new] = streams_.try_emplace(key);
  if (is_new) ++streams_of_node_[key.node];
  return found->second;
}

bool Relay::has_room_for(const wire::StreamKey& key) const {
  if (streams_.contains(key)) return true;
  const auto count = streams_of_node_.find(key.node);
  return count == streams_of_node_.end() || count->second < limits_.streams_per_node_max;
}

void Relay::add_run(Stream& stream, std::uint64_t sequence) {
  auto next = stream.runs.upper_bound(sequence);
  const bool joins_next = next != stream.runs.end() && next->first == sequence + 1;
  const bool joins_previous =
      next != stream.runs.begin() && std::prev(next)->second + 1 == sequence;
  const std::uint64_t last = joins_next ? next->second : sequence;
  if (joins_next) next = stream.runs.erase(next);
  if (joins_previous)
    std::prev(next)->second = last;
  else
    stream.runs.emplace_hint(next, sequence, last);
}

void Relay::remove_run(Stream& stream, std::uint64_t first, std::uint64_t last) {
  auto run = stream.runs.upper_bound(first);
  if (run != stream.runs.begin()) --run;
  while (run != stream.runs.end() && run->first <= last) {
    const auto [from, to] = *run;
    if (to < first) {
      ++run;
      continue;
    }
    run = stream.runs.erase(run);
    if (from < first) stream.runs.emplace(from, first - 1);
    if (to > last) stream.runs.emplace(last + 1, to);
  }
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
  ++counts_.held;
  counts_.held_bytes += held.location.bytes;
  if (held.message) {
    if (cached_bytes_ + held.message->size() > limits_.cached_bytes_max)
      held.message = nullptr;  // the spool has it
    else
      cached_bytes_ += held.message->size();
  }
  const wire::StreamKey key = held.stream;
  const std::uint64_t sequence = held.sequence;
  const auto [slot, is_new] =
      stream.slots.try_emplace(sequence, Slot{std::move(held), false, false, false, {}});
  invariant(is_new, "a batch is added to the relay once");
  add_run(stream, sequence);
  stream.to_send.insert(sequence);
  ready_[wire::index_of(key.lane)].insert(key);
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
  // Two ascending sequences, merged by their first number; more than the wire takes is not needed.
  while ((next_settled != settled.end() || run != stream.runs.end()) &&
         result.intervals.size() <= wire::kIntervalsMax) {
    const bool take_settled = run == stream.runs.end() ||
                              (next_settled != settled.end() && next_settled->first <= run->first);
    wire::Interval next = take_settled ? *next_settled++
                                       : wire::Interval{run->first, run->second,
                                                        stream.slots.at(run->second).held.hash};
    if (!take_settled) ++run;
    if (up_to && next.first > *up_to) break;
    append(result.intervals, next);
  }
  if (up_to && !result.intervals.empty() && result.intervals.back().last > *up_to) {
    // Only a held batch's hash is known inside an interval; without it nothing can be said about
    // the cut.
    wire::Interval& last = result.intervals.back();
    const auto at = stream.slots.find(*up_to);
    if (at == stream.slots.end()) return result;
    last.last = *up_to;
    last.hash = at->second.held.hash;
  }
  return result;
}

Relay::Release Relay::on_settled(const wire::Settled& settled, SharedBytes message) {
  const wire::StreamKey& key = settled.coverage.stream;
  Stream& stream = stream_of(key);
  Release release;
  if (stream.settled && settled.generation < stream.settled->generation) return release;
  bool contradicts = false;
  wire::Settled believed = settled;
  believed.coverage.intervals.clear();
  for (const wire::Interval& interval : settled.coverage.intervals) {
    const auto at_last = stream.slots.find(interval.last);
    if (at_last != stream.slots.end() && at_last->second.held.hash != interval.hash) {
      ++counts_.mismatches;
      contradicts = true;
      continue;
    }
    believed.coverage.intervals.push_back(interval);
    // Without `last` in our hands the chain cannot be checked. The signature is enough for a hop,
    // whose copy is one of several; the origin's is the last one.
    if (at_last == stream.slots.end() && key.node == self_) continue;
    for (auto slot = stream.slots.lower_bound(interval.first);
         slot != stream.slots.end() && slot->first <= interval.last;) {
      release.locations.push_back(slot->second.held.location);
      count_out(stream, slot->first);
      slot = stream.slots.erase(slot);
      ++counts_.settled;
    }
    remove_run(stream, interval.first, interval.last);
  }
  // Within a generation it only grows (B42): the union of what was known and what is new.
  std::vector<wire::Interval> all = believed.coverage.intervals;
  if (stream.settled && settled.generation == stream.settled->generation) {
    const auto& known = stream.settled->coverage.intervals;
    all.insert(all.end(), known.begin(), known.end());
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : a.last < b.last;
    });
  }
  std::vector<wire::Interval> joined;
  for (const wire::Interval& interval : all) append(joined, interval);
  // By what it covers and not by its time: a clock that was ahead must not hold up later words.
  release.accepted = !contradicts && joined == settled.coverage.intervals;
  if (release.accepted && message) stream.settled_message = std::move(message);
  believed.coverage.intervals = std::move(joined);
  stream.settled = std::move(believed);
  return release;
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
  const wire::Coverage all = coverage(key);
  if (all.intervals.empty()) return std::nullopt;
  return std::pair(all.intervals.back().last, all.intervals.back().hash);
}

std::vector<wire::StreamKey> Relay::streams() const {
  std::vector<wire::StreamKey> keys;
  for (const auto& [key, stream] : streams_) keys.push_back(key);
  return keys;
}

void Relay::on_attached() {
  on_detached();
  attached_ = true;
}

void Relay::on_detached() {
  attached_ = false;
  credit_ = {};
  sent_bytes_ = {};
  in_flight_bytes_ = 0;
  wake_at_ = TimePoint::max();
  for (auto& [key, stream] : streams_) {
    stream.offered = stream.answered = false;
    stream.to_send.clear();
    for (auto& [sequence, slot] : stream.slots) {
      slot.stored_by_parent = slot.in_flight = false;
      slot.retry_at = {};
      stream.to_send.insert(sequence);
    }
    if (!stream.to_send.empty()) ready_[wire::index_of(key.lane)].insert(key);
  }
}

std::vector<wire::Coverage> Relay::take_offers(std::size_t max) {
  std::vector<wire::Coverage> offers;
  if (!attached_) return offers;
  for (const auto& lane : ready_) {
    for (const wire::StreamKey& key : lane) {
      if (offers.size() == max) return offers;
      Stream& stream = streams_[key];
      if (stream.offered) continue;
      stream.offered = true;
      offers.push_back(coverage(key));
    }
  }
  return offers;
}

void Relay::mark_stored(Stream& stream, Slot& slot) {
  if (slot.in_flight)
    in_flight_bytes_ -= std::min<std::size_t>(in_flight_bytes_, slot.held.location.bytes);
  slot.in_flight = false;
  slot.stored_by_parent = true;
  if (std::exchange(slot.loading, false)) loading_bytes_ -= slot.held.location.bytes;
  stream.to_send.erase(slot.held.sequence);
  if (slot.held.message) {
    cached_bytes_ -= std::min(cached_bytes_, slot.held.message->size());
    slot.held.message = nullptr;
  }
}

/// Takes a slot out of the books, before it is erased.
void Relay::count_out(Stream& stream, std::uint64_t sequence) {
  Slot& slot = stream.slots.at(sequence);
  mark_stored(stream, slot);
  --counts_.held;
  counts_.held_bytes -= slot.held.location.bytes;
}

/// The parent has lost it: it goes again.
void Relay::mark_lost(const wire::StreamKey& key, Stream& stream, Slot& slot) {
  slot.stored_by_parent = false;
  stream.to_send.insert(slot.held.sequence);
  ready_[wire::index_of(key.lane)].insert(key);
}

void Relay::on_stored(const wire::Coverage& coverage) {
  const auto found = streams_.find(coverage.stream);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  const bool first_answer = !stream.answered;
  stream.answered = true;
  auto unnamed = stream.slots.begin();  // the first slot behind the intervals seen so far
  const auto lost_before = [&](std::uint64_t sequence) {
    for (; unnamed != stream.slots.end() && unnamed->first < sequence; ++unnamed)
      if (unnamed->second.stored_by_parent) mark_lost(coverage.stream, stream, unnamed->second);
  };
  for (const wire::Interval& interval : coverage.intervals) {
    lost_before(interval.first);
    unnamed = stream.slots.upper_bound(interval.last);
    const auto at_last = stream.slots.find(interval.last);
    if (at_last == stream.slots.end()) continue;
    if (at_last->second.held.hash != interval.hash) {
      ++counts_.mismatches;
      continue;
    }
    for (auto slot = stream.slots.lower_bound(interval.first);
         slot != stream.slots.end() && slot->first <= interval.last; ++slot)
      mark_stored(stream, slot->second);
  }
  // It replaces what was said before (B33), except behind the 64th interval, where it says nothing.
  if (coverage.intervals.size() < wire::kIntervalsMax)
    lost_before(std::numeric_limits<std::uint64_t>::max());
  if (first_answer && !stream.to_send.empty())
    ready_[wire::index_of(coverage.stream.lane)].insert(coverage.stream);
}

void Relay::on_credit(const std::array<std::uint64_t, 3>& totals) {
  for (std::size_t lane = 0; lane < 3; ++lane)
    credit_[lane] = std::max(credit_[lane], totals[lane]);
}

Relay::Slot* Relay::find(const wire::StreamKey& key, std::uint64_t sequence) {
  const auto stream = streams_.find(key);
  if (stream == streams_.end()) return nullptr;
  const auto slot = stream->second.slots.find(sequence);
  return slot == stream->second.slots.end() ? nullptr : &slot->second;
}

void Relay::on_not_yet(const wire::StreamKey& key, std::uint64_t sequence, TimePoint retry_at) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr || !slot->in_flight) return;
  slot->in_flight = false;
  in_flight_bytes_ -= std::min<std::size_t>(in_flight_bytes_, slot->held.location.bytes);
  slot->retry_at = retry_at;
  streams_[key].to_send.insert(sequence);
  ready_[wire::index_of(key.lane)].insert(key);
}

std::optional<spool::Location> Relay::on_copy_refused(const wire::StreamKey& key,
                                                      std::uint64_t sequence, const Digest& hash) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr || slot->held.hash != hash) return std::nullopt;
  const spool::Location location = slot->held.location;
  Stream& stream = streams_[key];
  count_out(stream, sequence);
  stream.slots.erase(sequence);
  remove_run(stream, sequence, sequence);
  return location;
}

/// The first batch of the stream that may go now, or nullptr.
Relay::Slot* Relay::sendable(const wire::StreamKey& key, Stream& stream, TimePoint now) {
  if (!stream.answered) return nullptr;
  const std::size_t lane = wire::index_of(key.lane);
  for (const std::uint64_t sequence : stream.to_send) {
    Slot& slot = stream.slots.at(sequence);
    if (slot.loading) return nullptr;  // in order: what is being read goes first
    if (slot.retry_at > now) {
      wake_at_ = std::min(wake_at_, slot.retry_at);
      continue;
    }
    if (sent_bytes_[lane] + slot.held.location.bytes > credit_[lane]) return nullptr;
    return &slot;
  }
  return nullptr;
}

const Held* Relay::next(TimePoint now) {
  wake_at_ = TimePoint::max();
  if (!attached_) return nullptr;
  for (std::size_t lane = 0; lane < 3; ++lane) {
    auto& ready = ready_[lane];
    // In turn: begin behind the stream that was served last, and go round once.
    auto at = ready.upper_bound(last_served_[lane]);
    for (std::size_t left = ready.size(); left > 0; --left) {
      if (at == ready.end()) at = ready.begin();
      const wire::StreamKey key = *at;
      Stream& stream = streams_[key];
      if (stream.to_send.empty()) {
        at = ready.erase(at);
        continue;
      }
      // The state lane is never held up by what is in flight on the others (rule C4).
      const bool room = lane == 0 || in_flight_bytes_ < limits_.in_flight_bytes_max;
      Slot* slot = room ? sendable(key, stream, now) : nullptr;
      if (slot == nullptr) {
        ++at;
        continue;
      }
      last_served_[lane] = key;
      if (!slot->held.message) {
        const std::size_t in_memory = cached_bytes_ + loading_bytes_;
        if (lane != 0 && in_memory > 0 &&
            in_memory + slot->held.location.bytes > limits_.cached_bytes_max) {
          ++at;
          continue;
        }
        slot->loading = true;
        loading_bytes_ += slot->held.location.bytes;
        return &slot->held;
      }
      slot->in_flight = true;
      in_flight_bytes_ += slot->held.location.bytes;
      sent_bytes_[lane] += slot->held.location.bytes;
      stream.to_send.erase(slot->held.sequence);
      ++counts_.sent;
      return &slot->held;
    }
  }
  return nullptr;
}

void Relay::loaded(const wire::StreamKey& key, std::uint64_t sequence, SharedBytes message) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr || !slot->loading) return;  // settled while it was read
  slot->loading = false;
  loading_bytes_ -= slot->held.location.bytes;
  if (slot->stored_by_parent) return;
  cached_bytes_ += message->size();
  slot->held.message = std::move(message);
}

std::optional<spool::Location> Relay::unreadable(const wire::StreamKey& key,
                                                 std::uint64_t sequence) {
  // Not here any more: the parent will ask for the hole, and the origin has it (rule D5).
  Slot* slot = find(key, sequence);
  if (slot == nullptr) return std::nullopt;
  if (std::exchange(slot->loading, false)) loading_bytes_ -= slot->held.location.bytes;
  return on_copy_refused(key, sequence, Digest(slot->held.hash));
}

void Relay::read_failed(const wire::StreamKey& key, std::uint64_t sequence, TimePoint retry_at) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr) return;
  if (std::exchange(slot->loading, false)) loading_bytes_ -= slot->held.location.bytes;
  slot->retry_at = retry_at;
  wake_at_ = std::min(wake_at_, retry_at);
}

}  // namespace postern::relay
