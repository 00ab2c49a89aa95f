#include "relay/relay.h"

#include <gtest/gtest.h>

namespace postern::relay {
namespace {

using wire::Lane;

Digest hash_of(std::uint64_t sequence, std::uint8_t salt = 0) {
  Digest digest{};
  digest[0] = static_cast<std::byte>(sequence & 0xff);
  digest[1] = static_cast<std::byte>(salt);
  return digest;
}

wire::StreamKey stream(Lane lane, std::uint8_t node = 1) {
  wire::StreamKey key;
  key.node.bytes.fill(static_cast<std::byte>(node));
  key.epoch = {1, 7};
  key.lane = lane;
  return key;
}

class RelayTest : public testing::Test {
 protected:
  void add(const wire::StreamKey& key, std::uint64_t sequence, std::uint32_t bytes = 100) {
    relay_.writing(key, sequence, hash_of(sequence));
    relay_.added({key,
                  sequence,
                  hash_of(sequence),
                  {1, sequence * 1000, bytes},
                  std::make_shared<const Bytes>(bytes)});
  }
  void attach(std::uint64_t credit = 1'000'000) {
    relay_.on_attached();
    relay_.on_credit({credit, credit, credit});
  }
  void answer_offers(std::vector<wire::Interval> parent_has = {}) {
    for (const wire::Coverage& offer : relay_.take_offers(100))
      relay_.on_stored({offer.stream, parent_has});
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
  const wire::StreamKey metric_ = stream(Lane::metric);
};

TEST_F(RelayTest, SendsNothingBeforeTheParentSaidWhatItHolds) {
  add(metric_, 1);
  attach();
  EXPECT_TRUE(send_all().empty());
  answer_offers();
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{1});
  EXPECT_TRUE(send_all().empty()) << "in flight, not sent twice";
}

TEST_F(RelayTest, OffersAndSendsOnlyWhatTheParentLacks) {
  for (std::uint64_t s : {1, 2, 3, 4}) add(metric_, s);
  attach();
  const auto offers = relay_.take_offers(10);
  ASSERT_EQ(offers.size(), 1u);
  EXPECT_EQ(offers[0].intervals, (std::vector<wire::Interval>{{1, 4, hash_of(4)}}));
  relay_.on_stored({metric_, {{1, 2, hash_of(2)}}});
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{3, 4}));
}

// An acknowledgement that does not name our own hash is another stream's, or a lie (rule D3).
TEST_F(RelayTest, BelievesNoAcknowledgementWithoutItsOwnHash) {
  add(metric_, 1);
  attach();
  answer_offers({{1, 1, hash_of(1, 99)}});
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{1});
  EXPECT_TRUE(relay_.on_settled(settled(metric_, {{1, 1, hash_of(1, 99)}})).locations.empty());
  EXPECT_EQ(relay_.counts().mismatches, 2u);
  EXPECT_EQ(relay_.counts().held, 1u);
}

// Stored is not settled: a gateway may burn down with what it stored (rule D3).
TEST_F(RelayTest, ForgetsOnlyWhatIsSettled) {
  add(metric_, 1);
  add(metric_, 2);
  attach();
  answer_offers({{1, 2, hash_of(2)}});
  EXPECT_EQ(relay_.counts().held, 2u);
  const auto released = relay_.on_settled(settled(metric_, {{1, 1, hash_of(1)}})).locations;
  ASSERT_EQ(released.size(), 1u);
  EXPECT_EQ(released[0].offset, 1000u);
  EXPECT_EQ(relay_.counts().held, 1u);
}

// A parent that lost its disk says so at the attach, and gets everything again.
TEST_F(RelayTest, ForgetsAtEveryAttachWhatTheLastConnectionSaid) {
  add(metric_, 1);
  attach();
  answer_offers({{1, 1, hash_of(1)}});
  EXPECT_TRUE(send_all().empty());
  relay_.on_detached();
  attach();
  answer_offers({});
  EXPECT_TRUE(send_all().empty()) << "its message is not in memory any more";
  relay_.loaded(metric_, 1, std::make_shared<const Bytes>(100));
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{1});
}

TEST_F(RelayTest, ServesStateBeforeMetricsAndStreamsInTurn) {
  const auto a = stream(Lane::metric, 1), b = stream(Lane::metric, 2),
             alert = stream(Lane::state, 2);
  for (std::uint64_t s : {1, 2}) add(a, s);
  for (std::uint64_t s : {11, 12}) add(b, s);
  add(alert, 21);
  attach();
  answer_offers();
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{21, 1, 11, 2, 12}));
}

TEST_F(RelayTest, StopsWhereCreditEnds) {
  add(metric_, 1);
  add(metric_, 2);
  attach(150);
  answer_offers();
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{1});
  relay_.on_credit({150, 150, 200});
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{2});
}

TEST_F(RelayTest, SendsAgainAfterNotYetWhenItsTimeHasCome) {
  add(metric_, 1);
  attach();
  answer_offers();
  ASSERT_EQ(send_all().size(), 1u);
  relay_.on_not_yet(metric_, 1, now_ + std::chrono::seconds(5));
  EXPECT_TRUE(send_all().empty());
  EXPECT_EQ(relay_.wake_at(), now_ + std::chrono::seconds(5));
  now_ += std::chrono::seconds(5);
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{1});
}

TEST_F(RelayTest, TellsDuplicatesFromEquivocation) {
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1)), Relay::Arrival::fresh);
  relay_.writing(metric_, 1, hash_of(1));
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1)), Relay::Arrival::held);
  EXPECT_TRUE(relay_.coverage(metric_).intervals.empty()) << "not on disk, not stored";
  relay_.write_failed(metric_, 1);
  add(metric_, 1);
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1)), Relay::Arrival::held);
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1, 5)), Relay::Arrival::equivocation);
  relay_.on_settled(settled(metric_, {{1, 1, hash_of(1)}}));
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1)), Relay::Arrival::settled);
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1, 5)), Relay::Arrival::equivocation);
}

// A hop may hold less than the server has settled, by another path; the signature is its proof. The
// origin holds the end of its own stream, so an end it never made is no word about its batches.
TEST_F(RelayTest, OnlyAHopBelievesAnEndThatItDoesNotHold) {
  const auto others = stream(Lane::metric, 2);
  add(metric_, 1);
  add(others, 1);
  EXPECT_TRUE(relay_.on_settled(settled(metric_, {{1, 9, hash_of(9)}})).locations.empty());
  EXPECT_EQ(relay_.on_settled(settled(others, {{1, 9, hash_of(9)}})).locations.size(), 1u);
}

TEST_F(RelayTest, CoverageJoinsSettledAndHeld) {
  for (std::uint64_t s : {1, 2, 3, 5}) add(metric_, s);
  relay_.on_settled(settled(metric_, {{1, 2, hash_of(2)}}));
  EXPECT_EQ(relay_.coverage(metric_).intervals,
            (std::vector<wire::Interval>{{1, 3, hash_of(3)}, {5, 5, hash_of(5)}}));
  EXPECT_EQ(relay_.last_of(metric_)->first, 5u);
}

// A restored server opens a new generation and may take settled back (B42, rule D10).
TEST_F(RelayTest, SettledGoesBackOnlyAcrossGenerations) {
  add(metric_, 1);
  add(metric_, 2);
  relay_.on_settled(settled(metric_, {{1, 2, hash_of(2)}}, 2));
  relay_.on_settled(settled(metric_, {{1, 1, hash_of(1)}}, 2));
  EXPECT_EQ(relay_.settled(metric_)->coverage.intervals[0].last, 2u);
  relay_.on_settled(settled(metric_, {}, 1));
  EXPECT_EQ(relay_.settled(metric_)->coverage.intervals.size(), 1u);
  relay_.on_settled(settled(metric_, {{1, 1, hash_of(1)}}, 3));
  EXPECT_EQ(relay_.settled(metric_)->coverage.intervals[0].last, 1u);
}

TEST_F(RelayTest, ACopyRefusedIsForgottenAndNotSentAgain) {
  add(metric_, 1);
  attach();
  answer_offers();
  ASSERT_EQ(send_all().size(), 1u);
  EXPECT_TRUE(relay_.on_copy_refused(metric_, 1, hash_of(1)));
  EXPECT_TRUE(send_all().empty());
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1)), Relay::Arrival::fresh);
}

// A hop that lost a copy says less than before; what it no longer names goes again (B33).
TEST_F(RelayTest, SendsAgainWhatTheParentNoLongerNames) {
  for (std::uint64_t s : {1, 2, 3}) add(metric_, s);
  attach();
  answer_offers();
  ASSERT_EQ(send_all().size(), 3u);
  relay_.on_stored({metric_, {{1, 3, hash_of(3)}}});
  relay_.on_stored({metric_, {{1, 1, hash_of(1)}, {3, 3, hash_of(3)}}});
  const Held* again = relay_.next(now_);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->sequence, 2u);
}

// A replayed settled must not become the newest one that is kept and passed on.
TEST_F(RelayTest, AcceptsNoSettledThatSaysLessOrContradicts) {
  for (std::uint64_t s : {1, 2, 3}) add(metric_, s);
  EXPECT_TRUE(relay_.on_settled(settled(metric_, {{1, 2, hash_of(2)}})).accepted);
  EXPECT_FALSE(relay_.on_settled(settled(metric_, {{1, 1, hash_of(1)}})).accepted);
  EXPECT_FALSE(relay_.on_settled(settled(metric_, {{1, 3, hash_of(3, 9)}})).accepted);
  EXPECT_TRUE(relay_.on_settled(settled(metric_, {{1, 3, hash_of(3)}})).accepted);
}

TEST_F(RelayTest, CoverageFollowsHolesThatOpenAndClose) {
  for (std::uint64_t s : {1, 2, 3, 4, 5}) add(metric_, s);
  relay_.on_copy_refused(metric_, 3, hash_of(3));
  EXPECT_EQ(relay_.coverage(metric_).intervals,
            (std::vector<wire::Interval>{{1, 2, hash_of(2)}, {4, 5, hash_of(5)}}));
  add(metric_, 3);
  EXPECT_EQ(relay_.coverage(metric_).intervals, (std::vector<wire::Interval>{{1, 5, hash_of(5)}}));
}

TEST_F(RelayTest, ANodeHasABoundedNumberOfStreams) {
  auto key = metric_;
  std::size_t taken = 0;
  for (std::uint32_t ordinal = 1; ordinal < 1000; ++ordinal) {
    key.epoch.ordinal = ordinal;
    if (!relay_.has_room_for(key)) continue;
    relay_.writing(key, 1, hash_of(1));
    ++taken;
  }
  EXPECT_EQ(taken, Relay::Limits{}.streams_per_node_max);
  EXPECT_TRUE(relay_.has_room_for(stream(Lane::metric, 2)));
}

TEST_F(RelayTest, ReadsNoMoreIntoMemoryThanItsLimit) {
  for (std::uint8_t node = 1; node <= 10; ++node)
    relay_.added({stream(Lane::metric, node), 1, hash_of(1), {1, node * 100u, 8u << 20}, nullptr});
  attach(1ull << 40);
  answer_offers();
  std::size_t reads = 0;
  while (const Held* held = relay_.next(now_)) {
    ASSERT_EQ(held->message, nullptr);
    ++reads;
  }
  EXPECT_EQ(reads, 4u);
}

}  // namespace
}  // namespace postern::relay
