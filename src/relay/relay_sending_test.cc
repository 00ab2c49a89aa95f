#include <gtest/gtest.h>

#include "base/random.h"
#include "relay/test_relay.h"

namespace postern::relay {
namespace {

class SendingTest : public RelayTest {
 protected:
  /// Sends the next batch, reading it first if it must; 0: nothing to send.
  std::uint64_t send_one() {
    while (const Held* held = relay_.next(now_)) {
      if (held->message) return held->sequence;
      relay_.loaded(held->stream, held->sequence,
                    std::make_shared<const Bytes>(held->location.bytes));
    }
    return 0;
  }
};

TEST_F(SendingTest, LiveDataGoesBeforeTheBacklog) {
  add_all(metric_, 1, 3);
  attach();
  answer_offers();
  add(metric_, 4);
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{4, 1, 2, 3}));
}

TEST_F(SendingTest, WhatAChildHadWhenItAttachedIsBacklog) {
  attach();
  relay_.on_child_offer(theirs_, 10);
  add_all(theirs_, 9, 12);
  answer_offers();
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{11, 12, 9, 10}));
}

TEST_F(SendingTest, TheBacklogGetsItsShareWhileLiveDataWaits) {
  add_all(metric_, 1, 400);
  attach(10'000'000);
  answer_offers();
  add_all(metric_, 401, 800);
  std::size_t old = 0;
  for (int i = 0; i < 400; ++i) old += send_one() <= 400 ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(old), 100, 2);
  std::size_t rest = 0;
  while (send_one() != 0) ++rest;
  EXPECT_EQ(rest, 400u) << "everything when no live data waits";
}

TEST_F(SendingTest, LiveStateWaitsForNoBacklog) {
  const auto state = stream(Lane::state, 2);
  for (std::uint64_t s = 1; s <= 50; ++s) add(state, s, 1u << 20);
  for (std::uint64_t s = 1; s <= 50; ++s) add(metric_, s, 1u << 20);
  attach(20u << 20);
  answer_offers();
  while (send_one() != 0) {
  }
  add(state, 51, 1u << 20);
  EXPECT_EQ(send_one(), 51u) << "in-flight limit and credit leave room for it";
}

// The least a parent grants for state is one batch (W31).
TEST_F(SendingTest, AStateBacklogGoesOnWithCreditForOneBatch) {
  const auto state = stream(Lane::state);
  for (std::uint64_t s : {1, 2}) add(state, s, 1u << 20);
  attach(wire::kBatchMessageBytesMax);
  answer_offers();
  EXPECT_EQ(send_one(), 1u);
  EXPECT_EQ(send_one(), 0u);
  relay_.on_stored({state, {{1, 1, hash_of(1)}}}, now_);
  relay_.on_credit({(1u << 20) + wire::kBatchMessageBytesMax, 0, 0});
  EXPECT_EQ(send_one(), 2u);
}

TEST_F(SendingTest, ASmallOldBatchTakesNoCreditThatALiveOneWaitsFor) {
  add(metric_, 1, 50);
  attach(100);
  answer_offers();
  add(metric_, 2, 200);
  EXPECT_EQ(send_one(), 0u);
  relay_.on_credit({0, 0, 250});
  EXPECT_EQ(send_one(), 2u);
  EXPECT_EQ(send_one(), 1u);
}

TEST_F(SendingTest, WithinTheBacklogTheImportantLaneGoesFirstAndStreamsInTurn) {
  const auto event = stream(Lane::event, 3), state = stream(Lane::state, 3);
  add_all(metric_, 1, 2);
  add_all(theirs_, 11, 12);
  add(event, 21);
  add(state, 31);
  attach();
  answer_offers();
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{31, 21, 1, 11, 2, 12}));
}

TEST_F(SendingTest, AQuestionSendsAgainWhatIsHeldAndNamesWhatIsNot) {
  for (std::uint64_t s : {1, 2, 3, 6, 7}) add(theirs_, s);
  attach();
  answer_offers({{1, 3, hash_of(3)}, {6, 7, hash_of(7)}});
  settle(theirs_, {{1, 1, hash_of(1)}});
  EXPECT_EQ(send_one(), 0u);
  const auto missing = relay_.on_question(theirs_, {1, 9}, 1);
  EXPECT_EQ(missing, (std::vector<Range>{{4, 5}, {8, 9}}));
  relay_.on_stored({theirs_, {{1, 7, hash_of(7)}}}, now_);
  for (std::uint64_t s : {2, 3, 6, 7}) EXPECT_EQ(send_one(), s) << "whatever the parent says";
  EXPECT_EQ(send_one(), 0u);
  relay_.on_stored({theirs_, {{1, 7, hash_of(7)}}}, now_);
  EXPECT_EQ(send_one(), 0u) << "once";
}

TEST_F(SendingTest, AQuestionOfANewGenerationSendsTailsAgain) {
  add_all(theirs_, 1, 2);
  settle(theirs_, {{1, 2, hash_of(2)}}, 1);
  attach();
  EXPECT_TRUE(relay_.on_question(theirs_, {1, 2}, 1).empty());
  answer_offers();
  EXPECT_EQ(send_one(), 0u) << "settled in the newest generation";
  EXPECT_TRUE(relay_.on_question(theirs_, {1, 2}, 2).empty());
  answer_offers({{1, 2, hash_of(2)}});
  EXPECT_EQ(send_one(), 1u);
  EXPECT_EQ(send_one(), 2u);
}

TEST_F(SendingTest, AQuestionForWhatWasReleasedIsPassedOnAndItsAnswerTaken) {
  add_all(theirs_, 1, 3);
  attach();
  answer_offers({{1, 2, hash_of(2)}});
  relay_.make_room(200, now_);
  EXPECT_EQ(relay_.on_question(theirs_, {1, 2}, 1), (std::vector<Range>{{1, 2}}));
  EXPECT_EQ(relay_.classify(theirs_, 1, hash_of(1)), Relay::Arrival::fresh);
  EXPECT_EQ(relay_.on_question(stream(Lane::metric, 9), {4, 5}, 1), (std::vector<Range>{{4, 5}}));
}

TEST_F(SendingTest, AQuestionForEverythingCostsNoMoreThanWhatIsHeld) {
  add(theirs_, 5);
  const std::uint64_t end = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(relay_.on_question(theirs_, {1, end}, 0), (std::vector<Range>{{1, 4}, {6, end}}));
}

TEST_F(SendingTest, AReadThatIsUnderWayAtAReattachIsUsed) {
  relay_.added({theirs_, 1, hash_of(1), {1, 1, 100}, nullptr});
  attach();
  answer_offers();
  ASSERT_NE(relay_.next(now_), nullptr);
  attach();
  answer_offers();
  EXPECT_EQ(relay_.next(now_), nullptr);
  relay_.loaded(theirs_, 1, std::make_shared<const Bytes>(100));
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{1});
}

// It would never leave: what is in memory fills it, and waits for what is on disk.
TEST_F(SendingTest, MemoryThatIsFullOfLaterBatchesDoesNotStopAStream) {
  relay_.added({theirs_, 1, hash_of(1), {1, 1, 100}, nullptr});
  add(theirs_, 2, 32u << 20);
  add(theirs_, 3, 16u << 20);
  attach(1ull << 40);
  answer_offers();
  EXPECT_EQ(send_one(), 1u);
}

TEST_F(SendingTest, AReadThatFailedIsTriedAgainInTime) {
  relay_.added({theirs_, 1, hash_of(1), {1, 1, 100}, nullptr});
  attach();
  answer_offers();
  ASSERT_NE(relay_.next(now_), nullptr);
  relay_.read_failed(theirs_, 1, now_ + std::chrono::seconds(2));
  EXPECT_EQ(relay_.wake_at(), now_ + std::chrono::seconds(2));
  EXPECT_EQ(relay_.next(now_), nullptr);
  EXPECT_NE(relay_.next(now_ + std::chrono::seconds(2)), nullptr);
  ASSERT_TRUE(relay_.unreadable(theirs_, 1));
  EXPECT_EQ(relay_.counts().held, 0u);
}

/// A parent and a server that take, forget, settle, rewind and ask as they like. Whatever they do,
/// what is neither settled nor given up is held, named, and arrives in the end.
void run_at_random(std::uint64_t seed) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  SeededRandom random(seed);
  Relay::Limits limits;
  limits.in_flight_bytes_max = 500;
  limits.cached_bytes_max = 600;
  limits.tail_bytes_max = 1000;
  Relay relay(stream(Lane::state, 1).node, limits);
  TimePoint now{std::chrono::hours(1)};
  const NodeId parent = stream(Lane::state, 77).node;
  const std::vector<wire::StreamKey> keys = {stream(Lane::state, 1), stream(Lane::metric, 1),
                                             stream(Lane::event, 2), stream(Lane::metric, 3)};
  std::map<wire::StreamKey, std::uint64_t> made;
  std::map<wire::StreamKey, std::set<std::uint64_t>> arrived, given_up;
  std::uint32_t generation = 1;
  std::uint64_t credit = 0;

  const auto attach = [&] {
    relay.on_attached(parent);
    credit = 3000;
    relay.on_credit({credit, credit, credit});
  };
  const auto intervals_of = [&](const wire::StreamKey& key) {
    std::vector<wire::Interval> intervals;
    for (const std::uint64_t s : arrived[key]) {
      if (!intervals.empty() && intervals.back().last + 1 == s)
        intervals.back() = {intervals.back().first, s, hash_of(s)};
      else if (intervals.size() < wire::kIntervalsMax)
        intervals.push_back({s, s, hash_of(s)});
      else
        break;
    }
    return intervals;
  };
  const auto pump = [&](std::size_t batches) {
    for (const wire::Coverage& offer : relay.take_offers(100))
      relay.on_stored({offer.stream, intervals_of(offer.stream)}, now);
    for (std::size_t i = 0; i < batches; ++i) {
      const Held* held = relay.next(now);
      if (held == nullptr) break;
      const wire::StreamKey key = held->stream;
      const std::uint64_t sequence = held->sequence;
      if (!held->message) {
        if (random.below(4) == 0)
          relay.read_failed(key, sequence, now + std::chrono::seconds(1));
        else
          relay.loaded(key, sequence, std::make_shared<const Bytes>(held->location.bytes));
        continue;
      }
      if (random.below(4) == 0) {
        relay.on_not_yet(key, sequence, now + std::chrono::seconds(1));
        continue;
      }
      arrived[key].insert(sequence);
      relay.on_stored({key, intervals_of(key)}, now);
      relay.on_credit({credit += 100, credit, credit});
    }
  };
  for (int step = 0; step < 400; ++step) {
    const wire::StreamKey key = keys[random.below(keys.size())];
    switch (random.below(9)) {
      case 0:
      case 1:
      case 2: {
        const std::uint64_t s = ++made[key];
        SharedBytes message = random.below(2) == 0 ? std::make_shared<const Bytes>(100) : nullptr;
        relay.added({key, s, hash_of(s), {1, s, 100}, message});
        break;
      }
      case 3:
        attach();
        break;
      case 4:
        pump(random.below(20));
        break;
      case 5:
        (void)relay.on_settled({{}, {}, 0, generation, {}, {key, intervals_of(key)}},
                               std::make_shared<const Bytes>(1), now);
        break;
      case 6:
        if (random.below(5) != 0) break;
        // The parent and the server lose the newest half, and the server says so.
        while (arrived[key].size() > 4 && random.below(5) != 0)
          arrived[key].erase(std::prev(arrived[key].end()));
        ++generation;
        attach();
        (void)relay.on_settled({{}, {}, 0, generation, {}, {key, intervals_of(key)}},
                               std::make_shared<const Bytes>(1), now);
        break;
      case 7: {
        const auto missing = relay.on_question(key, {1, made[key]}, generation);
        for (const Range& range : missing) EXPECT_LE(range.last, made[key]);
        break;
      }
      case 8: {
        now += std::chrono::seconds(random.below(3));
        if (random.below(3) != 0) break;
        const auto room = relay.make_room(random.below(400), now);
        for (const auto& gap : room.gaps)
          if (random.below(2) == 0) {
            relay.keep(gap.stream, {gap.first, gap.last});
          } else {
            relay.shed(gap.stream, {gap.first, gap.last});
            for (std::uint64_t s = gap.first; s <= gap.last; ++s) given_up[gap.stream].insert(s);
          }
        for (const auto& notice : room.notices)
          for (std::uint64_t s = notice.range.first; s <= notice.range.last; ++s)
            given_up[notice.stream].insert(s);
        for (const auto& release : room.releases)
          relay.keep(release.stream, {release.first, release.last});
        break;
      }
    }
    std::uint64_t held = 0;
    for (const wire::StreamKey& each : keys) held += relay.held_of(each).size();
    ASSERT_EQ(relay.counts().held, held);
    ASSERT_EQ(relay.counts().held_bytes, held * 100);
  }
  // Everything that is still held arrives. More than one attach: an acknowledgement whose end is
  // not here any more tells nothing (B31), and what it was for goes again on the next connection.
  for (int i = 0; i < 200; ++i) {
    if (i % 40 == 0) {
      attach();
      relay.on_credit({1u << 30, 1u << 30, 1u << 30});
      credit = 1u << 30;
    }
    now += std::chrono::seconds(2);
    pump(50);
  }
  EXPECT_EQ(relay.next(now), nullptr);
  for (const wire::StreamKey& key : keys)
    for (const Held* held : relay.held_of(key))
      EXPECT_TRUE(arrived[key].contains(held->sequence) || given_up[key].contains(held->sequence))
          << key.text() << " " << held->sequence;
}

TEST(Sending, WhateverHappensAllThatIsHeldArrives) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) run_at_random(seed);
}

}  // namespace
}  // namespace postern::relay
