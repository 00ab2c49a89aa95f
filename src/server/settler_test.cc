#include "server/settler.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

using namespace std::chrono_literals;

wire::StreamKey stream(std::uint64_t n) {
  NodeId id;
  for (std::size_t i = 0; i < 8; ++i) id.bytes[i] = static_cast<std::byte>(n >> (56 - 8 * i));
  return {id, {1, 7}, wire::Lane::metric};
}

wire::Coverage up_to(std::uint64_t n, std::uint64_t last) { return {stream(n), {{1, last, {}}}}; }

const TimePoint kStart = TimePoint(1h);

TEST(Settler, TheFirstWordIsSignedAtOnce) {
  Settler settler;
  EXPECT_EQ(settler.wake_at(), TimePoint::max());
  settler.on_coverage(up_to(1, 5), 3, kStart);
  EXPECT_EQ(settler.wake_at(), kStart);
  EXPECT_EQ(settler.take_due(kStart), (std::vector<Settler::Due>{{up_to(1, 5), 3}}));
  EXPECT_TRUE(settler.take_due(kStart).empty());
  EXPECT_EQ(settler.wake_at(), TimePoint::max());
}

TEST(Settler, WithinASecondTheNewestCoverageSharesOneSignature) {
  Settler settler;
  settler.on_coverage(up_to(1, 5), 1, kStart);
  settler.take_due(kStart);
  for (std::uint64_t last = 6; last < 100; ++last) {
    settler.on_coverage(up_to(1, last), 1, kStart + 10ms * (last - 5));
    EXPECT_TRUE(settler.take_due(kStart + 10ms * (last - 5)).empty());
  }
  EXPECT_EQ(settler.wake_at(), kStart + 1s);
  EXPECT_TRUE(settler.take_due(kStart + 1s - 1ns).empty());
  EXPECT_EQ(settler.take_due(kStart + 1s), (std::vector<Settler::Due>{{up_to(1, 99), 1}}));
}

TEST(Settler, TheSecondCountsFromTheSignatureNotFromWhenItWasDue) {
  Settler settler;
  settler.on_coverage(up_to(1, 5), 1, kStart);
  settler.take_due(kStart + 300ms);
  settler.on_coverage(up_to(1, 6), 1, kStart + 400ms);
  EXPECT_EQ(settler.wake_at(), kStart + 1300ms);
}

TEST(Settler, TheSameWordIsSaidAgainToWhoeverAsksAgain) {
  Settler settler;
  settler.on_coverage(up_to(1, 5), 1, kStart);
  settler.take_due(kStart);
  settler.on_coverage(up_to(1, 5), 1, kStart + 5s);
  EXPECT_EQ(settler.take_due(kStart + 5s).size(), 1u);
}

TEST(Settler, ANewGenerationReplacesWhatWaitsAlsoBackwardsAndAnOldOneIsLate) {
  Settler settler;
  settler.on_coverage(up_to(1, 9), 1, kStart);
  settler.on_coverage(up_to(1, 4), 2, kStart);
  settler.on_coverage(up_to(1, 9), 1, kStart);
  EXPECT_EQ(settler.take_due(kStart), (std::vector<Settler::Due>{{up_to(1, 4), 2}}));
  settler.on_coverage(up_to(1, 9), 1, kStart + 10ms);
  EXPECT_EQ(settler.wake_at(), TimePoint::max()) << "late, although nothing waits";
}

TEST(Settler, StreamsDoNotDisturbEachOtherAndTheLongestWaitingGoesFirst) {
  Settler settler;
  for (const std::uint64_t n : {2, 1}) settler.on_coverage(up_to(n, 1), 1, kStart);
  settler.take_due(kStart);
  settler.on_coverage(up_to(3, 1), 1, kStart + 500ms);
  settler.on_coverage(up_to(2, 2), 1, kStart + 500ms);
  EXPECT_EQ(settler.take_due(kStart + 500ms), (std::vector<Settler::Due>{{up_to(3, 1), 1}}));
  settler.on_coverage(up_to(3, 2), 1, kStart + 600ms);
  settler.on_coverage(up_to(1, 2), 1, kStart + 600ms);
  EXPECT_EQ(settler.take_due(kStart + 2s),
            (std::vector<Settler::Due>{{up_to(1, 2), 1}, {up_to(2, 2), 1}, {up_to(3, 2), 1}}));
}

TEST(Settler, AStreamAtRestIsForgotten) {
  Settler settler;
  for (std::uint64_t n = 0; n < 100; ++n) settler.on_coverage(up_to(n, 1), 1, kStart);
  settler.take_due(kStart);
  EXPECT_EQ(settler.streams(), 100u);
  settler.take_due(kStart + 1s);
  EXPECT_EQ(settler.streams(), 0u);
}

// At the limit the rate gives way: no word is lost and memory does not grow.
TEST(Settler, AtTheLimitEveryWordIsStillSaid) {
  Settler settler({.interval = 1s, .streams_max = 4});
  std::map<wire::StreamKey, std::uint64_t> wanted, said;
  TimePoint now = kStart;
  for (std::uint64_t turn = 0; turn < 200; ++turn) {
    const std::uint64_t n = (turn * 7) % 11;
    settler.on_coverage(up_to(n, turn + 1), 1, now);
    wanted[stream(n)] = turn + 1;
    EXPECT_LE(settler.streams(), 4u + 1u);
    for (const Settler::Due& due : settler.take_due(now))
      said[due.coverage.stream] = due.coverage.intervals.front().last;
    EXPECT_LE(settler.streams(), 5u);
    now += 20ms;
  }
  while (settler.wake_at() != TimePoint::max()) {
    now = std::max(now, settler.wake_at());
    for (const Settler::Due& due : settler.take_due(now))
      said[due.coverage.stream] = due.coverage.intervals.front().last;
  }
  EXPECT_EQ(said, wanted);
}

TEST(Settler, WhenAllWaitTheFirstOfThemIsSignedEarly) {
  Settler settler({.interval = 1s, .streams_max = 2});
  for (const std::uint64_t n : {1, 2}) settler.on_coverage(up_to(n, 1), 1, kStart);
  settler.take_due(kStart);
  for (const std::uint64_t n : {1, 2}) settler.on_coverage(up_to(n, 2), 1, kStart + 1ms);
  settler.on_coverage(up_to(3, 1), 1, kStart + 2ms);
  EXPECT_EQ(settler.take_due(kStart + 2ms),
            (std::vector<Settler::Due>{{up_to(1, 2), 1}, {up_to(3, 1), 1}}));
}

}  // namespace
}  // namespace postern
