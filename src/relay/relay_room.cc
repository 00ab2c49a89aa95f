#include <algorithm>
#include <utility>

#include "relay/relay.h"

// Space: tails, releases, shedding (rule D7).

namespace postern::relay {
namespace {

using Chosen = std::map<wire::StreamKey, std::map<std::uint64_t, Held>>;

/// The batches of each stream as runs of neighbouring numbers, ascending.
std::vector<std::vector<Held>> ranges_of(Chosen chosen) {
  std::vector<std::vector<Held>> ranges;
  for (auto& [key, batches] : chosen) {
    std::uint64_t expected = 0;
    for (auto& [sequence, held] : batches) {
      if (expected == 0 || sequence != expected) ranges.emplace_back();
      ranges.back().push_back(std::move(held));
      expected = sequence + 1;
    }
  }
  return ranges;
}

wire::GapRecord gap_of(const std::vector<Held>& range) {
  wire::GapRecord gap;
  gap.stream = range.front().stream;
  gap.first = range.front().sequence;
  gap.last = range.back().sequence;
  gap.before = range.front().previous;
  gap.at_last = range.back().hash;
  gap.first_time = range.front().first_time;
  gap.last_time = range.front().last_time;
  for (const Held& held : range) {
    gap.first_time = std::min(gap.first_time, held.first_time);
    gap.last_time = std::max(gap.last_time, held.last_time);
    gap.records += held.records;
    gap.bytes += held.location.bytes;
  }
  gap.reason = wire::GapRecord::Reason::shed;
  return gap;
}

}  // namespace

const NodeId& Relay::neighbour_of(const Held& held) const {
  return held.from ? held.from : held.stream.node;
}

/// Puts it where make_room() finds it, if it may go.
void Relay::index(Stream& stream, Slot& slot) {
  unindex(slot);
  const wire::StreamKey& key = slot.held.stream;
  const bool own = is_own(key);
  if (own && slot.held.sequence == stream.last.first) return;  // it keeps the stream's position
  const std::size_t lane = wire::index_of(key.lane);
  const bool own_state = own && key.lane == wire::Lane::state;
  const bool stored = slot.where == Where::stored;
  // A release record is state itself: releasing own state would never end.
  if (stored && !slot.proposed && !own_state) releasable_[lane].emplace(slot.order, &slot);
  if (slot.where == Where::queued || slot.where == Where::retry || (stored && own_state))
    shares_.at(neighbour_of(slot.held)).sheddable[lane].emplace(slot.order, &slot);
}

void Relay::unindex(Slot& slot) {
  const std::size_t lane = wire::index_of(slot.held.stream.lane);
  releasable_[lane].erase(slot.order);
  if (const auto share = shares_.find(neighbour_of(slot.held)); share != shares_.end())
    share->second.sheddable[lane].erase(slot.order);
}

spool::Location Relay::take_tail(std::uint64_t order) {
  const TailAt at = tails_.extract(order).mapped();
  Stream& stream = streams_.at(at.stream);
  const spool::Location location = stream.tails.extract(at.sequence).mapped().held.location;
  --counts_.tails;
  counts_.tail_bytes -= location.bytes;
  return location;
}

std::vector<spool::Location> Relay::trim_tails(TimePoint now) {
  std::vector<spool::Location> locations;
  while (!tails_.empty() && (counts_.tail_bytes > limits_.tail_bytes_max ||
                             now - tails_.begin()->second.since >= limits_.tail_age))
    locations.push_back(take_tail(tails_.begin()->first));
  return locations;
}

Relay::Room Relay::make_room(std::uint64_t bytes, TimePoint now) {
  Room room;
  room.locations = trim_tails(now);
  for (const spool::Location& location : room.locations) room.freed += location.bytes;
  while (room.freed < bytes && !tails_.empty()) {
    room.locations.push_back(take_tail(tails_.begin()->first));
    room.freed += room.locations.back().bytes;
  }
  release_stored(bytes, room);
  shed_unsent(bytes, room);
  return room;
}

void Relay::release_stored(std::uint64_t wanted, Room& room) {
  Chosen own;
  for (const wire::Lane lane : {wire::Lane::metric, wire::Lane::event, wire::Lane::state}) {
    auto& oldest = releasable_[wire::index_of(lane)];
    while (room.freed + room.promised < wanted && !oldest.empty()) {
      Slot& slot = *oldest.begin()->second;
      Stream& stream = streams_.at(slot.held.stream);
      const std::uint64_t sequence = slot.held.sequence;
      if (is_own(slot.held.stream)) {
        slot.proposed = true;
        index(stream, slot);
        room.promised += slot.held.location.bytes;
        own[slot.held.stream].emplace(sequence, slot.held);
        continue;
      }
      const Held held = take_out(stream, sequence);
      remember_released(stream, sequence, held.hash);
      room.locations.push_back(held.location);
      room.freed += held.location.bytes;
    }
  }
  for (const std::vector<Held>& range : ranges_of(std::move(own)))
    room.releases.push_back({range.front().stream, range.front().sequence, range.back().sequence,
                             range.back().hash, parent_});
}

/// An equal share for everybody: whoever holds the most is farthest over it. The oldest of its
/// first lane of these that has any.
Relay::Slot* Relay::choose(std::initializer_list<wire::Lane> lanes) {
  for (auto at = largest_.rbegin(); at != largest_.rend(); ++at)
    for (const wire::Lane lane : lanes)
      if (const auto& oldest = shares_.at(at->second).sheddable[wire::index_of(lane)];
          !oldest.empty())
        return oldest.begin()->second;
  return nullptr;
}

void Relay::shed_unsent(std::uint64_t wanted, Room& room) {
  Chosen own, others;
  while (true) {
    Slot* victim = nullptr;
    if (room.restate) {
      // All of it goes with one record: what is said instead must not be more.
      const auto& oldest = shares_.at(self_).sheddable[wire::index_of(wire::Lane::state)];
      if (!oldest.empty()) victim = oldest.begin()->second;
    } else if (room.freed + room.promised < wanted) {
      victim = choose({wire::Lane::metric, wire::Lane::event});
      if (victim == nullptr) victim = choose({wire::Lane::state});
    }
    if (victim == nullptr) break;
    const wire::StreamKey key = victim->held.stream;
    const std::uint64_t sequence = victim->held.sequence;
    Stream& stream = streams_.at(key);
    if (is_own(key)) {
      if (key.lane == wire::Lane::state) room.restate = true;
      room.promised += victim->held.location.bytes;
      move(stream, *victim, Where::leaving);
      own[key].emplace(sequence, victim->held);
      continue;
    }
    Held held = take_out(stream, sequence);
    remember_shed(stream, sequence, held.hash);
    room.locations.push_back(held.location);
    room.freed += held.location.bytes;
    others[key].emplace(sequence, std::move(held));
  }
  for (const std::vector<Held>& range : ranges_of(std::move(own))) {
    wire::GapRecord gap = gap_of(range);
    const Stream& stream = streams_.at(gap.stream);
    const Digest* before = known_hash(stream, gap.first - 1);
    if (gap.before == Digest{} && before != nullptr) gap.before = *before;
    room.gaps.push_back(gap);
  }
  for (const std::vector<Held>& range : ranges_of(std::move(others)))
    room.notices.push_back({range.front().stream, {range.front().sequence, range.back().sequence}});
}

/// Only the end of a range: who names what was shed names that, or something behind it.
void Relay::remember_shed(Stream& stream, std::uint64_t sequence, const Digest& hash) {
  ++counts_.shed;
  stream.shed_ends.erase(sequence - 1);
  stream.shed_ends[sequence] = hash;
}

void Relay::remember_released(Stream& stream, std::uint64_t sequence, const Digest& hash) {
  ++counts_.released;
  std::uint64_t first = sequence;
  const auto joins = [&](const Released& other) { return other.parent == parent_ && other.named; };
  if (const auto before = stream.released.find(sequence - 1);
      before != stream.released.end() && joins(before->second)) {
    first = before->second.first;
    stream.released.erase(before);
  }
  if (const auto after = stream.released.upper_bound(sequence);
      after != stream.released.end() && after->second.first == sequence + 1 &&
      joins(after->second)) {
    after->second.first = first;
    return;
  }
  stream.released[sequence] = {first, hash, parent_, true, std::nullopt};
}

std::vector<spool::Location> Relay::released(const wire::StreamKey& key, Range range) {
  std::vector<spool::Location> locations;
  const auto found = streams_.find(key);
  if (found == streams_.end()) return locations;
  Stream& stream = found->second;
  for (auto at = stream.slots.lower_bound(range.first);
       at != stream.slots.end() && at->first <= range.last;) {
    const Slot& slot = (at++)->second;
    if (!slot.proposed) continue;
    const std::uint64_t sequence = slot.held.sequence;
    const Held held = take_out(stream, sequence);
    remember_released(stream, sequence, held.hash);
    locations.push_back(held.location);
  }
  return locations;
}

std::vector<spool::Location> Relay::shed(const wire::StreamKey& key, Range range) {
  std::vector<spool::Location> locations;
  const auto found = streams_.find(key);
  if (found == streams_.end()) return locations;
  Stream& stream = found->second;
  for (auto at = stream.slots.lower_bound(range.first);
       at != stream.slots.end() && at->first <= range.last;) {
    const Slot& slot = (at++)->second;
    if (slot.where != Where::leaving) continue;
    const std::uint64_t sequence = slot.held.sequence;
    const Held held = take_out(stream, sequence);
    remember_shed(stream, sequence, held.hash);
    locations.push_back(held.location);
  }
  return locations;
}

void Relay::keep(const wire::StreamKey& key, Range range) {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  for (auto at = stream.slots.lower_bound(range.first);
       at != stream.slots.end() && at->first <= range.last; ++at) {
    Slot& slot = at->second;
    if (slot.where == Where::leaving) move(stream, slot, Where::queued);
    if (std::exchange(slot.proposed, false)) index(stream, slot);
  }
}

std::vector<wire::ReleaseRecord> Relay::releases_within(const wire::StreamKey& key, Range range,
                                                        TimePoint now) const {
  std::vector<wire::ReleaseRecord> records;
  const auto found = streams_.find(key);
  if (found == streams_.end()) return records;
  for (auto at = found->second.released.lower_bound(range.first);
       at != found->second.released.end() && at->second.first <= range.last; ++at)
    if (!is_lost(at->second, now))
      records.push_back({key, at->second.first, at->first, at->second.at_last, at->second.parent});
  return records;
}

std::vector<Range> Relay::lost_releases_within(const wire::StreamKey& key, Range range,
                                               TimePoint now) const {
  std::vector<Range> lost;
  const auto found = streams_.find(key);
  if (found == streams_.end()) return lost;
  for (auto at = found->second.released.lower_bound(range.first);
       at != found->second.released.end() && at->second.first <= range.last; ++at)
    if (is_lost(at->second, now)) lost.push_back({at->second.first, at->first});
  return lost;
}

/// Another parent does not know what that one still has: it may only be away.
bool Relay::is_lost(const Released& released, TimePoint now) const {
  if (!attached_ || released.named) return false;
  return released.parent == parent_ ||
         (released.asked && now - *released.asked >= limits_.release_patience);
}

}  // namespace postern::relay
