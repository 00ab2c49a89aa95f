#include "relay/relay.h"

#include <algorithm>

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

void Relay::writing(const wire::StreamKey& key, std::uint64_t sequence, const Digest& hash) {
  streams_[key].writing[sequence] = hash;
}

void Relay::write_failed(const wire::StreamKey& key, std::uint64_t sequence) {
  streams_[key].writing.erase(sequence);
}

void Relay::added(Held held) {
  Stream& stream = streams_[held.stream];
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
  auto slot = stream.slots.begin();
  // Two ascending sequences, merged by their first number.
  while (next_settled != settled.end() || slot != stream.slots.end()) {
    const bool take_settled = slot == stream.slots.end() ||
                              (next_settled != settled.end() && next_settled->first <= slot->first);
    wire::Interval next = take_settled
                              ? *next_settled++
                              : wire::Interval{slot->first, slot->first, slot->second.held.hash};
    if (!take_settled) ++slot;
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

std::vector<spool::Location> Relay::on_settled(const wire::Settled& settled, SharedBytes message) {
  const wire::StreamKey& key = settled.coverage.stream;
  Stream& stream = streams_[key];
  if (stream.settled && settled.generation < stream.settled->generation) return {};
  std::vector<spool::Location> released;
  wire::Settled believed = settled;
  believed.coverage.intervals.clear();
  for (const wire::Interval& interval : settled.coverage.intervals) {
    const auto at_last = stream.slots.find(interval.last);
    if (at_last != stream.slots.end() && at_last->second.held.hash != interval.hash) {
      ++counts_.mismatches;
      continue;
    }
    believed.coverage.intervals.push_back(interval);
    // Without `last` in our hands the chain cannot be checked. The signature is enough for a hop,
    // whose copy is one of several; the origin's is the last one.
    if (at_last == stream.slots.end() && key.node == self_) continue;
    for (auto slot = stream.slots.lower_bound(interval.first);
         slot != stream.slots.end() && slot->first <= interval.last;) {
      released.push_back(slot->second.held.location);
      count_out(stream, slot->first);
      slot = stream.slots.erase(slot);
      ++counts_.settled;
    }
  }
  const bool replaces = !stream.settled || settled.generation > stream.settled->generation;
  if (message && (replaces || settled.issued >= stream.settled->issued))
    stream.settled_message = std::move(message);
  if (replaces) {
    stream.settled = std::move(believed);
  } else {
    // Within a generation it only grows (B42): the union of both.
    wire::Settled merged = believed.issued >= stream.settled->issued ? believed : *stream.settled;
    std::vector<wire::Interval> all = stream.settled->coverage.intervals;
    all.insert(all.end(), believed.coverage.intervals.begin(), believed.coverage.intervals.end());
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : a.last < b.last;
    });
    merged.coverage.intervals.clear();
    for (const wire::Interval& interval : all) append(merged.coverage.intervals, interval);
    stream.settled = std::move(merged);
  }
  return released;
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

void Relay::on_stored(const wire::Coverage& coverage) {
  const auto found = streams_.find(coverage.stream);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  const bool first_answer = !stream.answered;
  stream.answered = true;
  for (const wire::Interval& interval : coverage.intervals) {
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
                                                      std::uint64_t sequence) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr) return std::nullopt;
  const spool::Location location = slot->held.location;
  Stream& stream = streams_[key];
  count_out(stream, sequence);
  stream.slots.erase(sequence);
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
        slot->loading = true;
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
  if (slot->stored_by_parent) return;
  cached_bytes_ += message->size();
  slot->held.message = std::move(message);
}

void Relay::unreadable(const wire::StreamKey& key, std::uint64_t sequence) {
  // Not here any more: the parent will ask for the hole, and the origin has it (rule D5).
  (void)on_copy_refused(key, sequence);
}

void Relay::read_failed(const wire::StreamKey& key, std::uint64_t sequence, TimePoint retry_at) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr) return;
  slot->loading = false;
  slot->retry_at = retry_at;
  wake_at_ = std::min(wake_at_, retry_at);
}

}  // namespace postern::relay
