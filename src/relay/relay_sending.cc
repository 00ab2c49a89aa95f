#include <algorithm>
#include <utility>

#include "relay/relay.h"

// What goes up, and in which order (rules D3, D8, C4).

namespace postern::relay {
namespace {

constexpr Duration kUnclearRetry = std::chrono::seconds(10);

}  // namespace

// ---- Where a batch stands. Every change goes through move(), so the books cannot disagree.

void Relay::leave(Stream& stream, Slot& slot) {
  const wire::StreamKey& key = slot.held.stream;
  const std::size_t bytes = slot.held.location.bytes;
  unindex(slot);
  switch (slot.where) {
    case Where::queued:
      stream.queues[slot.part].waiting.erase(slot.held.sequence);
      break;
    case Where::loading:
      stream.queues[slot.part].loading = false;
      loading_bytes_ -= bytes;
      break;
    case Where::in_flight:
      in_flight_bytes_ -= bytes;
      if (key.lane == wire::Lane::state) --state_in_flight_;
      break;
    case Where::retry:
      retries_.erase({slot.retry_at, key, slot.held.sequence});
      break;
    case Where::stored:
      stream.stored.remove(slot.held.sequence);
      stream.pending.insert(slot.held.sequence);
      slot.proposed = false;
      break;
    case Where::leaving:
    case Where::nowhere:
      break;
  }
}

void Relay::move(Stream& stream, Slot& slot, Where to) {
  const wire::StreamKey& key = slot.held.stream;
  const std::size_t bytes = slot.held.location.bytes;
  leave(stream, slot);
  slot.where = to;
  switch (to) {
    case Where::queued:
      stream.queues[slot.part].waiting.insert(slot.held.sequence);
      break;
    case Where::loading:
      stream.queues[slot.part].loading = true;
      loading_bytes_ += bytes;
      break;
    case Where::in_flight:
      in_flight_bytes_ += bytes;
      if (key.lane == wire::Lane::state) ++state_in_flight_;
      slot.asked = false;
      break;
    case Where::retry:
      retries_.insert({slot.retry_at, key, slot.held.sequence});
      break;
    case Where::stored:
      stream.stored.add(slot.held.sequence);
      stream.pending.erase(slot.held.sequence);
      drop_message(slot);
      break;
    case Where::leaving:
      drop_message(slot);
      break;
    case Where::nowhere:
      break;
  }
  index(stream, slot);
  refresh(key, stream, slot.part);
}

/// Whether, and from where, the stream can serve its next batch of this class.
void Relay::refresh(const wire::StreamKey& key, Stream& stream, Class part) {
  const Queue& queue = stream.queues[part];
  auto front = Turns::Front::none;
  if (stream.answered && !queue.loading && !queue.waiting.empty())
    front = stream.slots.at(*queue.waiting.begin()).held.message ? Turns::Front::in_memory
                                                                 : Turns::Front::on_disk;
  turns_[part][wire::index_of(key.lane)].set(key, front);
}

void Relay::drop_message(Slot& slot) {
  if (!slot.held.message) return;
  cached_bytes_ -= slot.held.message->size();
  slot.held.message = nullptr;
}

// ---- The connection

void Relay::on_attached(const NodeId& parent) {
  forget_connection();
  parent_ = parent;
  attached_ = true;
  for (auto& [key, stream] : streams_) {
    // What an earlier connection said is forgotten (rule D3), and all of it is backlog now.
    if (!stream.slots.empty())
      stream.backlog_up_to = std::max(stream.backlog_up_to, stream.slots.rbegin()->first);
    bool loading = false;
    for (auto& [sequence, slot] : stream.slots) {
      if (cached_bytes_ > limits_.cached_bytes_max / 2) drop_message(slot);
      slot.asked = false;
      loading = loading || slot.where == Where::loading;
      const bool stays = slot.where == Where::loading || slot.where == Where::leaving;
      if (!stays) move(stream, slot, Where::nowhere);  // its class may change only there
      slot.part = backlog;
      if (!stays) move(stream, slot, Where::queued);
    }
    stream.queues[live].loading = false;
    stream.queues[backlog].loading = loading;
    if (!stream.slots.empty() || !stream.released.empty())
      to_offer_.emplace(wire::index_of(key.lane), key);
    refresh(key, stream, live);
    refresh(key, stream, backlog);
  }
}

/// What the parent had stored is remembered until the next attach: space may run out meanwhile.
void Relay::on_detached() { forget_connection(); }

void Relay::forget_connection() {
  attached_ = false;
  credit_ = {};
  sent_bytes_ = {};
  backlog_allowance_ = 0;
  to_offer_.clear();
  for (auto& [key, stream] : streams_) {
    stream.offered = stream.answered = stream.shown = false;
    for (const std::uint64_t sequence : stream.pending) {
      Slot& slot = stream.slots.at(sequence);
      if (slot.where == Where::in_flight || slot.where == Where::retry)
        move(stream, slot, Where::queued);
    }
    refresh(key, stream, live);
    refresh(key, stream, backlog);
  }
}

void Relay::on_child_offer(const wire::StreamKey& key, std::uint64_t highest) {
  if (!has_room_for(key)) return;
  Stream& stream = stream_of(key);
  stream.backlog_up_to = std::max(stream.backlog_up_to, highest);
}

std::vector<wire::Coverage> Relay::take_offers(std::size_t max) {
  std::vector<wire::Coverage> offers;
  while (attached_ && offers.size() < max && !to_offer_.empty()) {
    const wire::StreamKey key = to_offer_.extract(to_offer_.begin()).value().second;
    Stream& stream = streams_.at(key);
    if (stream.offered || (stream.slots.empty() && stream.released.empty())) continue;
    stream.offered = true;
    offers.push_back(coverage(key));
  }
  return offers;
}

bool Relay::on_stored(const wire::Coverage& coverage, TimePoint now) {
  const auto found = streams_.find(coverage.stream);
  if (found == streams_.end()) return false;
  Stream& stream = found->second;
  constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
  std::vector<Range> believed, unnamed, unclear;
  std::uint64_t next = 1;  // the first number behind the intervals so far; 0: none
  for (const wire::Interval& interval : coverage.intervals) {
    if (next != 0 && interval.first > next) unnamed.push_back({next, interval.first - 1});
    next = interval.last == kEnd ? 0 : interval.last + 1;
    const Digest* known = known_hash(stream, interval.last);
    if (known != nullptr && *known == interval.hash) {
      believed.push_back({interval.first, interval.last});
      continue;
    }
    unclear.push_back({interval.first, interval.last});
    if (known != nullptr) ++counts_.mismatches;
  }
  // It replaces what was said before (B33), except behind the 64th interval, where it says nothing.
  if (next != 0 && coverage.intervals.size() < wire::kIntervalsMax) unnamed.push_back({next, kEnd});

  for (const Range& range : unnamed)
    for (const Range& lost : stream.stored.within(range))
      for (std::uint64_t sequence = lost.first; sequence <= lost.last; ++sequence)
        move(stream, stream.slots.at(sequence), Where::queued);
  for (const Range& range : believed) {
    auto at = stream.pending.lower_bound(range.first);
    while (at != stream.pending.end() && *at <= range.last) {
      Slot& slot = stream.slots.at(*at++);
      if (!slot.asked && slot.where != Where::leaving) move(stream, slot, Where::stored);
    }
  }
  // An answer all the same: what waits for it must not keep others from being sent.
  for (const Range& range : unclear)
    for (auto at = stream.pending.lower_bound(range.first);
         at != stream.pending.end() && *at <= range.last; ++at) {
      Slot& slot = stream.slots.at(*at);
      if (slot.where != Where::in_flight) continue;
      slot.retry_at = now + kUnclearRetry;
      move(stream, slot, Where::retry);
    }
  if (!std::exchange(stream.answered, true)) {
    refresh(coverage.stream, stream, live);
    refresh(coverage.stream, stream, backlog);
  }
  return confirm_released(coverage.stream, stream, coverage, believed);
}

/// What was released to a parent is there only as long as a parent names it.
bool Relay::confirm_released(const wire::StreamKey& key, Stream& stream,
                             const wire::Coverage& coverage, const std::vector<Range>& believed) {
  const bool full = coverage.intervals.size() >= wire::kIntervalsMax;
  bool less = false;
  for (auto at = stream.released.begin(); at != stream.released.end();) {
    if (full && at->first > coverage.intervals.back().last) break;
    const bool named = std::any_of(believed.begin(), believed.end(), [&](const Range& range) {
      return range.first <= at->second.first && range.last >= at->first;
    });
    less = less || (at->second.named && !named);
    at->second.named = named;
    if (named) {
      at->second.parent = parent_;
      at->second.asked = std::nullopt;
    }
    if (named || is_own(key))
      ++at;
    else
      at = stream.released.erase(at);
  }
  return less;
}

void Relay::on_credit(const std::array<std::uint64_t, 3>& totals) {
  for (std::size_t lane = 0; lane < 3; ++lane)
    credit_[lane] = std::max(credit_[lane], totals[lane]);
}

void Relay::on_not_yet(const wire::StreamKey& key, std::uint64_t sequence, TimePoint retry_at) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr) return;
  // Also when its parent had stored it, and only those above have refused it.
  if (slot->where != Where::in_flight && slot->where != Where::stored &&
      slot->where != Where::queued)
    return;
  slot->retry_at = retry_at;
  move(streams_.at(key), *slot, Where::retry);
}

std::optional<spool::Location> Relay::on_copy_refused(const wire::StreamKey& key,
                                                      std::uint64_t sequence, const Digest& hash) {
  const Slot* slot = find(key, sequence);
  if (slot == nullptr || slot->held.hash != hash) return std::nullopt;
  return take_out(streams_.at(key), sequence).location;
}

std::vector<Range> Relay::on_question(const wire::StreamKey& key, Range range,
                                      std::uint32_t generation, const Edges& edges, TimePoint now) {
  open_generation(generation);
  std::vector<Range> missing;
  const auto found = streams_.find(key);
  if (found == streams_.end()) return {range};
  Stream& stream = found->second;
  // The parent would hardly ask if it had them still; and children must not hear that it has.
  if (!is_own(key))
    std::erase_if(stream.released, [&](const auto& entry) {
      return entry.first >= range.first && entry.second.first <= range.last;
    });
  for (auto at = stream.released.lower_bound(range.first);
       at != stream.released.end() && at->second.first <= range.last; ++at)
    if (!at->second.named && !at->second.asked) at->second.asked = now;
  std::uint64_t next = range.first;
  auto slot = stream.slots.lower_bound(range.first);
  auto tail = stream.tails.lower_bound(range.first);
  while (true) {
    const bool has_slot = slot != stream.slots.end() && slot->first <= range.last;
    const bool has_tail = tail != stream.tails.end() && tail->first <= range.last;
    if (!has_slot && !has_tail) break;
    const bool take_slot = has_slot && (!has_tail || slot->first < tail->first);
    const std::uint64_t sequence = take_slot ? slot->first : tail->first;
    if (take_slot) {
      const Held& copy = slot->second.held;
      const bool another =
          (sequence == range.last && edges.at_last && *edges.at_last != copy.hash) ||
          (sequence == range.first && edges.before && copy.previous != Digest{} &&
           *edges.before != copy.previous);
      if (another && !is_own(key)) {
        ++slot;  // stays missing
        continue;
      }
    }
    if (sequence > next) missing.push_back({next, sequence - 1});
    next = sequence + 1;
    if (!take_slot) {  // settled in the newest generation there is: nothing is owed
      ++tail;
      continue;
    }
    Slot& held = (slot++)->second;
    if (held.where == Where::leaving) continue;
    held.asked = true;
    // Also what is in flight: for so long a hop may have lost it, or its answer.
    if (held.where != Where::queued && held.where != Where::loading)
      move(stream, held, Where::queued);
    if (attached_ && !stream.offered) to_offer_.emplace(wire::index_of(key.lane), key);
  }
  if (next != 0 && next <= range.last) missing.push_back({next, range.last});
  return missing;
}

// ---- The next batch

void Relay::wake(TimePoint now) {
  while (!retries_.empty() && std::get<0>(*retries_.begin()) <= now) {
    const auto [at, key, sequence] = *retries_.begin();
    Stream& stream = streams_.at(key);
    move(stream, stream.slots.at(sequence), Where::queued);
  }
}

/// The batch of this class and lane whose turn it is, if limits let it go or be read.
Relay::Slot* Relay::pick(Class part, wire::Lane lane) {
  const std::size_t index = wire::index_of(lane);
  const Turns& turns = turns_[part][index];
  const bool live_state = part == live && lane == wire::Lane::state;
  // Live state is never held up by what is in flight on the others (rule C4).
  if (turns.empty() || (!live_state && in_flight_bytes_ >= limits_.in_flight_bytes_max))
    return nullptr;
  const auto front = [&](bool only_in_memory) -> Slot* {
    const wire::StreamKey* key = turns.next(only_in_memory);
    if (key == nullptr) return nullptr;
    Stream& stream = streams_.at(*key);
    return &stream.slots.at(*stream.queues[part].waiting.begin());
  };
  Slot* slot = front(false);
  const std::size_t in_memory = cached_bytes_ + loading_bytes_;
  const std::size_t limit = limits_.cached_bytes_max / (part == backlog ? 2 : 1);
  if (!slot->held.message && !live_state && in_memory > 0 &&
      in_memory + slot->held.location.bytes > limit) {
    // What is in memory goes first then. But it may lie behind what has to be read: one at a time
    // is always read.
    Slot* loaded = front(true);
    if (loaded != nullptr || loading_bytes_ > 0) slot = loaded;
  }
  if (slot == nullptr) return nullptr;
  const std::uint64_t left = credit_[index] - sent_bytes_[index];
  return slot->held.location.bytes <= left ? slot : nullptr;
}

Relay::Slot* Relay::pick_backlog() {
  for (const wire::Lane lane : wire::kLanes) {
    Slot* slot = pick(backlog, lane);
    if (slot == nullptr) continue;
    const std::size_t index = wire::index_of(lane);
    const std::uint64_t left = credit_[index] - sent_bytes_[index];
    // Live data that waits for credit gets it before a smaller batch of the backlog does.
    if (!turns_[live][index].empty()) {
      const wire::StreamKey* key = turns_[live][index].next();
      const Stream& stream = streams_.at(*key);
      const std::uint64_t first = *stream.queues[live].waiting.begin();
      if (stream.slots.at(first).held.location.bytes > left) continue;
    }
    // State that is yet to come must find credit: one batch of it, or one that soon comes back.
    if (lane == wire::Lane::state && state_in_flight_ > 0 &&
        left < slot->held.location.bytes + wire::kBatchMessageBytesMax)
      continue;
    return slot;
  }
  return nullptr;
}

const Held* Relay::next(TimePoint now) {
  if (!attached_) return nullptr;
  wake(now);
  Slot* old = pick_backlog();
  const unsigned share = std::min(limits_.backlog_share_percent, 99u);
  const auto earn = [&](const Slot& slot) {
    if (old == nullptr || !slot.held.message) return;
    backlog_allowance_ = std::min<std::uint64_t>(
        backlog_allowance_ + slot.held.location.bytes * share / (100 - share),
        2 * wire::kBatchMessageBytesMax);
  };
  if (Slot* state = pick(live, wire::Lane::state)) {
    earn(*state);
    return hand_out(*state);
  }
  Slot* fresh = pick(live, wire::Lane::event);
  if (fresh == nullptr) fresh = pick(live, wire::Lane::metric);
  if (old == nullptr && fresh == nullptr) return nullptr;
  if (fresh == nullptr) return hand_out(*old);
  if (old != nullptr && backlog_allowance_ >= old->held.location.bytes) {
    if (old->held.message) backlog_allowance_ -= old->held.location.bytes;
    return hand_out(*old);
  }
  earn(*fresh);
  return hand_out(*fresh);
}

/// Sends it, or has it read first.
const Held* Relay::hand_out(Slot& slot) {
  const std::size_t lane = wire::index_of(slot.held.stream.lane);
  Stream& stream = streams_.at(slot.held.stream);
  if (!slot.held.message) {
    move(stream, slot, Where::loading);
    return &slot.held;
  }
  turns_[slot.part][lane].served(slot.held.stream);
  sent_bytes_[lane] += slot.held.location.bytes;
  ++counts_.sent;
  move(stream, slot, Where::in_flight);
  return &slot.held;
}

void Relay::loaded(const wire::StreamKey& key, std::uint64_t sequence, SharedBytes message) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr || slot->where != Where::loading) return;  // settled while it was read
  cached_bytes_ += message->size();
  slot->held.message = std::move(message);
  move(streams_.at(key), *slot, Where::queued);
}

std::optional<spool::Location> Relay::unreadable(const wire::StreamKey& key,
                                                 std::uint64_t sequence) {
  // Not here any more: the parent will ask for the hole, and the origin has it (rule D5).
  const Slot* slot = find(key, sequence);
  if (slot == nullptr) return std::nullopt;
  return on_copy_refused(key, sequence, Digest(slot->held.hash));
}

void Relay::read_failed(const wire::StreamKey& key, std::uint64_t sequence, TimePoint retry_at) {
  Slot* slot = find(key, sequence);
  if (slot == nullptr || slot->where != Where::loading) return;
  slot->retry_at = retry_at;
  move(streams_.at(key), *slot, Where::retry);
}

}  // namespace postern::relay
