#pragma once

#include <gtest/gtest.h>

#include "relay/relay.h"

namespace postern::relay {

using wire::Lane;

inline Digest hash_of(std::uint64_t sequence, std::uint8_t salt = 0) {
  Digest digest{};
  digest[0] = static_cast<std::byte>(sequence & 0xff);
  digest[1] = static_cast<std::byte>(salt);
  digest[2] = static_cast<std::byte>(sequence >> 8 & 0xff);
  return digest;
}

inline wire::StreamKey stream(Lane lane, std::uint8_t node = 1) {
  wire::StreamKey key;
  key.node.bytes.fill(static_cast<std::byte>(node));
  key.epoch = {1, 7};
  key.lane = lane;
  return key;
}

/// A relay of node 1 whose parent is node 77. Batches of 100 bytes that lie at 1000 times their
/// number.
class RelayTest : public testing::Test {
 protected:
  void add(const wire::StreamKey& key, std::uint64_t sequence, std::uint32_t bytes = 100) {
    add_from({}, key, sequence, bytes);
  }
  void add_from(const NodeId& from, const wire::StreamKey& key, std::uint64_t sequence,
                std::uint32_t bytes = 100) {
    relay_.writing(key, sequence, hash_of(sequence));
    Held held{key,
              sequence,
              hash_of(sequence),
              {1, sequence * 1000, bytes},
              std::make_shared<const Bytes>(bytes)};
    held.from = from;
    held.previous = hash_of(sequence - 1);
    held.first_time = wall_from_ms(static_cast<std::int64_t>(sequence));
    held.last_time = wall_from_ms(static_cast<std::int64_t>(sequence) + 5);
    held.records = 3;
    relay_.added(std::move(held));
  }
  void add_all(const wire::StreamKey& key, std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t sequence = first; sequence <= last; ++sequence) add(key, sequence);
  }
  std::vector<wire::Interval> covered(const wire::StreamKey& key) {
    return relay_.coverage(key).intervals;
  }
  void attach(std::uint64_t credit = 1'000'000) {
    relay_.on_attached(parent_);
    relay_.on_credit({credit, credit, credit});
  }
  void answer_offers(std::vector<wire::Interval> parent_has = {}) {
    for (const wire::Coverage& offer : relay_.take_offers(100))
      relay_.on_stored({offer.stream, parent_has}, now_);
  }
  Relay::Verdict settle(const wire::StreamKey& key, std::vector<wire::Interval> intervals,
                        std::uint32_t generation = 1) {
    return relay_.on_settled(settled(key, std::move(intervals), generation),
                             std::make_shared<const Bytes>(1), now_);
  }
  std::vector<std::uint64_t> send_all() {
    std::vector<std::uint64_t> sent;
    while (const Held* held = relay_.next(now_)) {
      if (!held->message) break;
      sent.push_back(held->sequence);
    }
    return sent;
  }
  wire::Settled settled(const wire::StreamKey& key, std::vector<wire::Interval> intervals,
                        std::uint32_t generation = 1) {
    wire::Settled result;
    result.generation = generation;
    result.coverage = {key, std::move(intervals)};
    return result;
  }

  Relay relay_{stream(Lane::state, 1).node, Relay::Limits{}};
  TimePoint now_{std::chrono::hours(1)};
  const NodeId parent_ = stream(Lane::state, 77).node;
  const wire::StreamKey metric_ = stream(Lane::metric);  // our own
  const wire::StreamKey theirs_ = stream(Lane::metric, 2);
};

}  // namespace postern::relay
