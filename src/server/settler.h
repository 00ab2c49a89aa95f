#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "wire/coverage.h"

namespace postern {

struct SettlerLimits {
  Duration interval = std::chrono::seconds(1);  // between two signatures of a stream (batch.md#B43)
  std::size_t streams_max = 200'000;            // signed lately, or waiting for it
};

/// Decides when which stream's *settled* is signed: at once when the last signature is an interval
/// old, else as soon as it is. What came meanwhile shares that signature; the newest coverage wins.
///
/// It owns no key, clock or timer: the caller passes the time in, calls take_due() after
/// on_coverage() and at wake_at(), and signs and sends what it gets.
///
/// A stream is forgotten one interval after its last signature. Beyond `streams_max` those that
/// wait for nothing are forgotten sooner, then those that wait are signed early: the rate gives
/// way, never the word and never the memory.
class Settler {
 public:
  explicit Settler(SettlerLimits limits = {}) : limits_(limits) {}

  /// What is settled of a stream, by the store of `generation`. One of a lower generation than
  /// waits already is late and changes nothing (batch.md#B42).
  void on_coverage(wire::Coverage coverage, std::uint32_t generation, TimePoint now);

  struct Due {
    wire::Coverage coverage;
    std::uint32_t generation = 0;
    bool operator==(const Due&) const = default;
  };
  /// To be signed and sent now, the longest waiting first. They count as signed.
  std::vector<Due> take_due(TimePoint now);

  /// When to call take_due() next; max() while nothing waits.
  TimePoint wake_at() const;
  std::size_t streams() const { return streams_.size(); }

 private:
  struct Stream {
    Due said;          // next, while due
    bool due = false;  // else it rests, and is forgotten at `at`
    TimePoint at{};
  };
  using Order = std::set<std::pair<TimePoint, wire::StreamKey>>;
  void make_room(TimePoint now);
  void forget_rested(TimePoint now);

  SettlerLimits limits_;
  std::map<wire::StreamKey, Stream> streams_;
  Order due_, resting_;  // together: all of streams_, by `at`
};

}  // namespace postern
