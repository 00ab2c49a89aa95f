#include "server/hole_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

wire::StreamKey stream(unsigned n = 1, std::uint64_t random = 7) {
  NodeId id;
  id.bytes[0] = static_cast<std::byte>(n);
  return {id, {1, random}, wire::Lane::metric};
}

store::Hole hole(std::uint64_t first, std::uint64_t last, unsigned n = 1) {
  return {stream(n), first, last, {}, {}};
}

const TimePoint kStart = TimePoint(1h);

class HoleWatchTest : public testing::Test {
 protected:
  HoleWatch::Round at(Duration after, std::vector<store::Hole> holes) {
    return watch_.look(holes, kStart + after);
  }
  /// Looks every 5 s in [from, to]; returns when something was asked.
  std::vector<Duration> asked(Duration from, Duration to, const std::vector<store::Hole>& holes) {
    std::vector<Duration> times;
    for (Duration t = from; t <= to; t += 5s)
      if (!at(t, holes).ask.empty()) times.push_back(t);
    return times;
  }
  HoleWatch watch_;
};

TEST_F(HoleWatchTest, AHoleIsAskedForAfterTheGraceAndThenEverMoreRarely) {
  EXPECT_THAT(asked(0s, 45min, {hole(5, 9)}),
              ElementsAre(60s, 2min, 4min, 8min, 16min, 26min, 36min));
}

TEST_F(HoleWatchTest, WhatIsClosedInTimeIsNeverAskedFor) {
  EXPECT_THAT(at(0s, {hole(5, 9)}).ask, IsEmpty());
  EXPECT_THAT(at(59s, {}).ask, IsEmpty());
  EXPECT_THAT(at(60s, {hole(5, 9)}).ask, IsEmpty()) << "a new hole, of another time";
}

TEST_F(HoleWatchTest, AShrinkingAndSplittingHoleKeepsItsAge) {
  at(0s, {hole(5, 20)});
  at(50s, {hole(7, 20)});
  at(55s, {hole(7, 9), hole(12, 20)});
  EXPECT_THAT(at(60s, {hole(7, 9), hole(12, 20)}).ask, ElementsAre(hole(7, 9), hole(12, 20)));
}

TEST_F(HoleWatchTest, WhatAHoleGrewByIsYounger) {
  for (Duration t = 0s; t < 10min; t += 5s) {
    // Always ten batches behind, none of them longer than 50 s: that is lag, not a hole.
    const auto done = static_cast<std::uint64_t>(t / 5s);
    const auto round = at(t, {hole(done + 1, done + 10)});
    EXPECT_THAT(round.ask, IsEmpty()) << t / 1s;
    EXPECT_THAT(round.raise, IsEmpty());
  }
}

TEST_F(HoleWatchTest, AGrowingHoleIsAskedForAsAWholeAndNotMoreOftenThanTheGrace) {
  std::vector<Duration> times;
  for (Duration t = 0s; t <= 10min; t += 5s) {
    const auto round = at(t, {hole(5, 10 + static_cast<std::uint64_t>(t / 1s))});
    if (round.ask.empty()) continue;
    EXPECT_EQ(round.ask.front().first, 5u);
    EXPECT_EQ(round.ask.front().last, 10 + static_cast<std::uint64_t>(t / 1s));
    EXPECT_TRUE(times.empty() || t - times.back() >= 60s);
    times.push_back(t);
  }
  EXPECT_GE(times.size(), 5u);
}

TEST_F(HoleWatchTest, ThoseDueLongestAreAskedFirstAndTheOthersInTheNextRound) {
  watch_ = HoleWatch({.asks_max = 2});
  at(0s, {hole(5, 5, 3)});
  at(10s, {hole(5, 5, 1), hole(5, 5, 2), hole(5, 5, 3)});
  const std::vector all{hole(5, 5, 1), hole(5, 5, 2), hole(5, 5, 3)};
  EXPECT_THAT(at(80s, all).ask, ElementsAre(hole(5, 5, 3), hole(5, 5, 1)));
  EXPECT_THAT(at(85s, all).ask, ElementsAre(hole(5, 5, 2)));
}

TEST_F(HoleWatchTest, AnOldHoleIsOneAlertAndItClosesWithTheHole) {
  const std::string cause = fmt::format("hole {} 5", stream().text());
  at(0s, {hole(5, 9)});
  EXPECT_THAT(at(15min - 1s, {hole(5, 9)}).raise, IsEmpty());
  const auto round = at(15min, {hole(5, 9)});
  ASSERT_THAT(round.raise, SizeIs(1));
  EXPECT_EQ(round.raise[0].cause, cause);
  EXPECT_EQ(round.raise[0].hole, hole(5, 9));
  EXPECT_EQ(round.raise[0].age, 15min);
  EXPECT_THAT(at(16min, {hole(5, 9)}).raise, IsEmpty()) << "once";
  EXPECT_THAT(at(17min, {hole(6, 6), hole(9, 9)}).close, IsEmpty()) << "not all of it yet";
  EXPECT_THAT(at(40min, {hole(9, 9)}).raise, IsEmpty()) << "a rest is the same alert";
  EXPECT_THAT(at(41min, {}).close, ElementsAre(cause));
  EXPECT_THAT(at(42min, {}).close, IsEmpty()) << "once";
}

// Someone who lets everything through but one batch must not be able to hide it behind the rest.
TEST_F(HoleWatchTest, ABacklogThatDrainsIsNoAlertAndAWithheldBatchInItIs) {
  std::vector<HoleWatch::Unexplained> raised;
  for (Duration t = 0s; t <= 40min; t += 5s) {
    const auto done = 10 + static_cast<std::uint64_t>(t / 5s);
    std::vector<store::Hole> holes{hole(done, 1000)};
    if (t > 10min) holes.insert(holes.begin(), hole(50, 50));
    for (auto& one : at(t, holes).raise) raised.push_back(one);
    EXPECT_TRUE(t >= 15min || raised.empty());
  }
  ASSERT_THAT(raised, SizeIs(1));
  EXPECT_EQ(raised[0].hole, hole(50, 50));
}

TEST_F(HoleWatchTest, WhenTheListIsCutNothingBehindItsEndIsForgotten) {
  watch_ = HoleWatch({.holes_max = 2});
  at(0s, {hole(5, 5, 1)});
  at(15min, {hole(5, 5, 1)});
  const auto cut = at(16min, {hole(3, 3, 1), hole(4, 4, 1), hole(5, 5, 1)});
  EXPECT_THAT(cut.close, IsEmpty());
  const auto other = at(17min, {hole(3, 3, 0), hole(4, 4, 0)});
  EXPECT_THAT(other.close, IsEmpty());
  const auto round = at(18min, {hole(5, 5, 1)});
  EXPECT_THAT(round.raise, IsEmpty());
  EXPECT_THAT(at(19min, {}).close, SizeIs(1));
}

TEST_F(HoleWatchTest, AfterARestartAnAlertIsNeitherRaisedAgainNorForgotten) {
  store::Alert open, other, gone;
  open.cause = fmt::format("hole {} 5", stream().text());
  gone.cause = fmt::format("hole {} 30", stream().text());
  other.cause = "store rolled back";
  watch_.resume(std::vector{open, gone, other});
  const auto round = at(0s, {hole(7, 9)});
  EXPECT_THAT(round.close, ElementsAre(gone.cause));
  EXPECT_THAT(at(20min, {hole(7, 9)}).raise, IsEmpty());
  EXPECT_THAT(at(21min, {}).close, ElementsAre(open.cause));
}

TEST_F(HoleWatchTest, WhatAnOperatorClosedStaysClosedOverARestartUntilTheHoleIs) {
  store::Alert muted, ended;
  muted.cause = fmt::format("hole {} 5", stream().text());
  muted.closed = ended.closed = wall_from_ms(1);
  muted.muted = true;
  ended.cause = fmt::format("hole {} 30", stream().text());
  watch_.resume(std::vector{muted, ended});
  for (Duration t = 0s; t < 20min; t += 1min) EXPECT_THAT(at(t, {hole(5, 9)}).raise, IsEmpty());
  EXPECT_THAT(at(20min, {}).close, ElementsAre(muted.cause));
}

TEST_F(HoleWatchTest, ShowsWhatIsOlderThanTheGraceAndItsAge) {
  at(0s, {hole(5, 9)});
  at(50s, {hole(5, 9), hole(1, 1, 2)});
  EXPECT_THAT(watch_.open(kStart + 59s), IsEmpty());
  const auto open = watch_.open(kStart + 60s);
  ASSERT_THAT(open, SizeIs(1));
  EXPECT_EQ(open[0].hole, hole(5, 9));
  EXPECT_EQ(open[0].age, 60s);
  EXPECT_EQ(open[0].cause, "");
}

TEST_F(HoleWatchTest, AHoleThatGrowsForDaysCostsNoMoreThanABoundedNumberOfPieces) {
  for (Duration t = 0s; t <= 24h; t += 5s) {
    at(t, {hole(5, 10 + static_cast<std::uint64_t>(t / 1s))});
    ASSERT_LE(watch_.pieces(), 64u) << t / 1s;
  }
}

TEST_F(HoleWatchTest, AHoleUpToTheHighestNumberThereIsDoesNotWrapAround) {
  const std::uint64_t top = ~std::uint64_t{0};
  at(0s, {hole(1, top)});
  EXPECT_THAT(at(60s, {hole(3, top)}).ask, ElementsAre(hole(3, top)));
}

TEST(HoleAlert, NamesNodeLaneEpochRangeSinceWhenAndThePath) {
  store::Node node;
  node.name = "web1.dmz.example";
  node.path = {"gw1.dmz.example", "ms1.home.example"};
  const WallTime now = wall_from_ms(1'800'000'000'000);
  const auto alert = hole_alert({hole(5, 9), "hole x 5", 15min}, node, now);
  EXPECT_EQ(alert.cause, "hole x 5");
  EXPECT_EQ(alert.node, stream().node);
  for (const char* part : {"batches 5 to 9", "web1.dmz.example", "lane metric", "epoch 1",
                           "2027-01-15T07:45:00.000Z", "gw1.dmz.example, ms1.home.example"})
    EXPECT_THAT(alert.words, HasSubstr(part));
  EXPECT_THAT(hole_alert({hole(5, 9), "c", 15min}, std::nullopt, now).words,
              HasSubstr(stream().node.hex()));
}

TEST(HoleQuestion, CarriesTheHashesThatAreKnown) {
  store::Hole known = hole(5, 9);
  known.before.emplace().fill(std::byte{1});
  const auto question = hole_question(known, 3, wall_from_ms(77));
  EXPECT_EQ(question.stream().size(), wire::StreamKey::kBytes);
  EXPECT_EQ(question.before(), std::string(32, '\1'));
  EXPECT_EQ(question.at_last(), "");
  EXPECT_EQ(question.generation(), 3u);
  EXPECT_EQ(question.issued_ms(), 77);
}

}  // namespace
}  // namespace postern
