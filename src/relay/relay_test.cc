#include "relay/relay.h"

#include <gtest/gtest.h>

#include "relay/test_relay.h"

namespace postern::relay {
namespace {

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
  relay_.on_stored({metric_, {{1, 2, hash_of(2)}}}, now_);
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{3, 4}));
}

// An acknowledgement that does not name our own hash is another stream's, or a lie (rule D3).
TEST_F(RelayTest, BelievesNoAcknowledgementWithoutItsOwnHash) {
  add(metric_, 1);
  attach();
  answer_offers({{1, 1, hash_of(1, 99)}});
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{1});
  EXPECT_FALSE(settle(metric_, {{1, 1, hash_of(1, 99)}}).accepted);
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
  settle(metric_, {{1, 1, hash_of(1)}});
  EXPECT_EQ(relay_.counts().held, 1u);
  const auto gone = relay_.trim_tails(now_ + Relay::Limits{}.tail_age);
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0].offset, 1000u);
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
  settle(metric_, {{1, 1, hash_of(1)}});
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1)), Relay::Arrival::settled);
  EXPECT_EQ(relay_.classify(metric_, 1, hash_of(1, 5)), Relay::Arrival::equivocation);
}

// A hop may hold less than the server has settled, by another path; the signature is its proof. The
// origin holds the end of its own stream, so an end it never made is no word about its batches.
TEST_F(RelayTest, OnlyAHopBelievesAnEndThatItDoesNotHold) {
  const auto others = stream(Lane::metric, 2);
  add(metric_, 1);
  add(others, 1);
  settle(metric_, {{1, 9, hash_of(9)}});
  EXPECT_EQ(relay_.counts().tails, 0u);
  settle(others, {{1, 9, hash_of(9)}});
  EXPECT_EQ(relay_.counts().tails, 1u);
}

TEST_F(RelayTest, CoverageJoinsSettledAndHeld) {
  for (std::uint64_t s : {1, 2, 3, 5}) add(metric_, s);
  settle(metric_, {{1, 2, hash_of(2)}});
  EXPECT_EQ(relay_.coverage(metric_).intervals,
            (std::vector<wire::Interval>{{1, 3, hash_of(3)}, {5, 5, hash_of(5)}}));
  EXPECT_EQ(relay_.last_of(metric_)->first, 5u);
}

// A restored server opens a new generation and may take settled back (B42, rule D10).
TEST_F(RelayTest, SettledGoesBackOnlyAcrossGenerations) {
  add(metric_, 1);
  add(metric_, 2);
  settle(metric_, {{1, 2, hash_of(2)}}, 2);
  settle(metric_, {{1, 1, hash_of(1)}}, 2);
  EXPECT_EQ(relay_.settled(metric_)->coverage.intervals[0].last, 2u);
  settle(metric_, {}, 1);
  EXPECT_EQ(relay_.settled(metric_)->coverage.intervals.size(), 1u);
  settle(metric_, {{1, 1, hash_of(1)}}, 3);
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
  relay_.on_stored({metric_, {{1, 3, hash_of(3)}}}, now_);
  relay_.on_stored({metric_, {{1, 1, hash_of(1)}, {3, 3, hash_of(3)}}}, now_);
  const Held* again = relay_.next(now_);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->sequence, 2u);
}

// A replayed settled must not become the newest one that is kept and passed on.
TEST_F(RelayTest, AcceptsNoSettledThatSaysLessOrContradicts) {
  for (std::uint64_t s : {1, 2, 3}) add(metric_, s);
  EXPECT_TRUE(settle(metric_, {{1, 2, hash_of(2)}}).accepted);
  EXPECT_FALSE(settle(metric_, {{1, 1, hash_of(1)}}).accepted);
  EXPECT_FALSE(settle(metric_, {{1, 3, hash_of(3, 9)}}).accepted);
  EXPECT_TRUE(settle(metric_, {{1, 3, hash_of(3)}}).accepted);
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
  EXPECT_EQ(reads, 2u) << "the backlog has half of the memory";
}

// ---- Tails, generations, evidence

TEST_F(RelayTest, KeepsWhatIsSettledForAWhileOldestGoesFirst) {
  add_all(theirs_, 1, 3);
  settle(theirs_, {{1, 2, hash_of(2)}});
  EXPECT_EQ(relay_.counts().held, 1u);
  EXPECT_EQ(relay_.counts().tails, 2u);
  now_ += std::chrono::minutes(5);
  settle(theirs_, {{1, 3, hash_of(3)}});
  EXPECT_TRUE(relay_.trim_tails(now_).empty());
  const auto gone = relay_.trim_tails(now_ + std::chrono::minutes(5));
  ASSERT_EQ(gone.size(), 2u);
  EXPECT_EQ(gone[0].offset, 1000u);
  EXPECT_EQ(gone[1].offset, 2000u);
  EXPECT_EQ(relay_.trim_tails(now_ + std::chrono::minutes(10)).size(), 1u);
  EXPECT_EQ(relay_.counts().tail_bytes, 0u);
}

TEST_F(RelayTest, KeepsNoMoreTailsThanItsLimit) {
  Relay::Limits limits;
  limits.tail_bytes_max = 250;
  Relay small(metric_.node, limits);
  for (std::uint64_t s : {1, 2, 3, 4}) small.added({metric_, s, hash_of(s), {1, s, 100}, nullptr});
  small.on_settled(settled(metric_, {{1, 4, hash_of(4)}}), nullptr, now_);
  EXPECT_EQ(small.trim_tails(now_).size(), 2u);
}

TEST_F(RelayTest, TailsAreNeitherOfferedNorSent) {
  add_all(theirs_, 1, 2);
  settle(theirs_, {{1, 2, hash_of(2)}});
  attach();
  EXPECT_TRUE(relay_.take_offers(10).empty());
  add(theirs_, 3);
  answer_offers();
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{3});
}

TEST_F(RelayTest, WhatTheKeptSettledCoversIsTailAfterARestart) {
  for (std::uint64_t s : {1, 2, 3}) add(metric_, s);
  relay_.restored(settled(metric_, {{1, 2, hash_of(2)}}), nullptr, now_);
  EXPECT_EQ(relay_.counts().held, 1u);
  EXPECT_EQ(relay_.counts().tails, 2u);
  EXPECT_EQ(relay_.trim_tails(now_ + std::chrono::minutes(10)).size(), 2u);
}

// The end of an own stream is known by the settled alone once its batches are gone: its numbers
// must not be given a second time (rule D1).
TEST_F(RelayTest, ARestoredSettledKeepsTheEndOfAnOwnStream) {
  relay_.restored(settled(metric_, {{1, 9, hash_of(9)}}, 1), nullptr, now_);
  EXPECT_EQ(relay_.last_of(metric_)->first, 9u);
  relay_.restored(settled(theirs_, {{1, 1, hash_of(1)}}, 2), nullptr, now_);
  EXPECT_EQ(relay_.last_of(metric_)->first, 9u) << "also across generations";
  EXPECT_FALSE(settle(metric_, {{1, 9, hash_of(9)}}, 2).set_back);
  EXPECT_TRUE(settle(metric_, {{1, 10, hash_of(10)}}, 2).set_back);
}

TEST_F(RelayTest, ANewGenerationBringsTailsBackToLife) {
  add_all(theirs_, 1, 4);
  settle(theirs_, {{1, 4, hash_of(4)}}, 1);
  attach();
  EXPECT_TRUE(relay_.take_offers(10).empty());
  const auto verdict = settle(theirs_, {{1, 2, hash_of(2)}}, 2);
  EXPECT_TRUE(verdict.accepted);
  EXPECT_TRUE(verdict.rewound);
  EXPECT_EQ(relay_.counts().held, 2u);
  EXPECT_EQ(relay_.counts().tails, 2u);
  answer_offers({{1, 2, hash_of(2)}});
  relay_.loaded(theirs_, relay_.next(now_)->sequence, std::make_shared<const Bytes>(100));
  EXPECT_EQ(send_all(), std::vector<std::uint64_t>{3});
}

// A generation is the store's, not a stream's: one word of it ends what the older ones said of all.
TEST_F(RelayTest, ANewGenerationRewindsEveryStream) {
  const auto others = stream(Lane::event, 3);
  add_all(theirs_, 1, 2);
  add_all(others, 1, 2);
  settle(others, {{1, 2, hash_of(2)}}, 1);
  attach();
  answer_offers();
  settle(theirs_, {{1, 2, hash_of(2)}}, 2);
  EXPECT_EQ(relay_.settled(others), nullptr);
  EXPECT_EQ(relay_.settled_message(others), nullptr);
  EXPECT_EQ(relay_.counts().held, 2u);
  const auto offers = relay_.take_offers(10);
  ASSERT_EQ(offers.size(), 1u);
  EXPECT_EQ(offers[0].stream, others);
  EXPECT_FALSE(settle(others, {{1, 2, hash_of(2)}}, 1).accepted) << "lower ones are ignored";
}

TEST_F(RelayTest, AfterARewindAChildIsAskedForWhatIsNotHereAnyMore) {
  add_all(theirs_, 1, 4);
  settle(theirs_, {{1, 4, hash_of(4)}}, 1);
  relay_.trim_tails(now_ + std::chrono::hours(1));
  EXPECT_EQ(relay_.classify(theirs_, 3, hash_of(3)), Relay::Arrival::settled);
  settle(theirs_, {{1, 2, hash_of(2)}}, 2);
  EXPECT_EQ(covered(theirs_), (std::vector<wire::Interval>{{1, 2, hash_of(2)}}));
  EXPECT_EQ(relay_.classify(theirs_, 3, hash_of(3)), Relay::Arrival::fresh);
}

// W34: to the server it proves that its store lost commits.
TEST_F(RelayTest, ShowsWhatItKeepsWhenItIsToldLessOncePerConnection) {
  add_all(theirs_, 1, 3);
  attach();
  settle(theirs_, {{1, 3, hash_of(3)}});
  EXPECT_TRUE(settle(theirs_, {{1, 2, hash_of(2)}}).behind);
  EXPECT_FALSE(settle(theirs_, {{1, 1, hash_of(1)}}).behind);
  relay_.on_detached();
  attach();
  EXPECT_TRUE(settle(theirs_, {{1, 2, hash_of(2)}}).behind);
  EXPECT_FALSE(settle(theirs_, {{1, 3, hash_of(3)}}).behind);
  EXPECT_FALSE(settle(theirs_, {{1, 2, hash_of(2)}}, 2).behind) << "a new generation may";
}

// The store may have lost that it ever opened the newer generation.
TEST_F(RelayTest, ShowsWhatItKeepsToWhoSpeaksForAnOlderGeneration) {
  add_all(theirs_, 1, 3);
  attach();
  settle(theirs_, {{1, 3, hash_of(3)}}, 2);
  const auto verdict = settle(theirs_, {{1, 3, hash_of(3)}}, 1);
  EXPECT_TRUE(verdict.behind);
  EXPECT_FALSE(verdict.accepted);
  EXPECT_FALSE(settle(theirs_, {{1, 3, hash_of(3)}}, 1).behind) << "once";
  EXPECT_FALSE(settle(metric_, {{1, 1, hash_of(1)}}, 1).behind) << "there is nothing to show";
}

TEST_F(RelayTest, KnowsWhetherAQuestionIsForWhatItKeepsASettledOf) {
  add_all(theirs_, 1, 5);
  settle(theirs_, {{2, 3, hash_of(3)}});
  EXPECT_TRUE(relay_.covers_settled(theirs_, {3, 9}));
  EXPECT_TRUE(relay_.covers_settled(theirs_, {1, 2}));
  EXPECT_FALSE(relay_.covers_settled(theirs_, {1, 1}));
  EXPECT_FALSE(relay_.covers_settled(theirs_, {4, 9}));
  EXPECT_FALSE(relay_.covers_settled(metric_, {1, 9}));
}

// A restored or cloned folder (rule D1). Only what is signed shows it.
TEST_F(RelayTest, ASettledThatNamesWhatWeNeverMadeShowsASetBack) {
  add_all(metric_, 1, 3);
  EXPECT_TRUE(settle(metric_, {{1, 4, hash_of(4)}}).set_back) << "behind our last";
  EXPECT_TRUE(settle(metric_, {{1, 2, hash_of(2, 9)}}).set_back) << "another batch 2";
  EXPECT_FALSE(settle(metric_, {{1, 3, hash_of(3)}}).set_back);
  relay_.trim_tails(now_ + std::chrono::hours(1));
  EXPECT_TRUE(settle(metric_, {{1, 3, hash_of(3, 9)}}).set_back) << "known at the edge";
  EXPECT_FALSE(settle(theirs_, {{1, 4, hash_of(4)}}).set_back) << "that is for the origin to say";
  auto elsewhere = metric_;
  elsewhere.epoch.ordinal = 2;
  EXPECT_TRUE(settle(elsewhere, {{1, 1, hash_of(1)}}).set_back) << "an epoch we never had";
}

TEST_F(RelayTest, AnUnsignedStoredShowsNoSetBackAndDeletesNothing) {
  add_all(metric_, 1, 3);
  attach();
  relay_.take_offers(10);
  relay_.on_stored({metric_, {{1, 3, hash_of(3, 9)}}}, now_);
  EXPECT_EQ(relay_.counts().mismatches, 1u);
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{1, 2, 3}));
}

// A parent that has the batches of another life of a node says nothing of ours.
TEST_F(RelayTest, AnAnswerThatIsNotBelievedStillFreesWhatIsInFlight) {
  add_all(theirs_, 1, 3);
  attach();
  relay_.take_offers(10);
  relay_.on_stored({theirs_, {}}, now_);
  ASSERT_EQ(send_all(), (std::vector<std::uint64_t>{1, 2, 3}));
  ASSERT_TRUE(relay_.waiting_for_answers());
  relay_.on_stored({theirs_, {{1, 3, hash_of(3, 9)}}}, now_);
  EXPECT_FALSE(relay_.waiting_for_answers());
  EXPECT_EQ(relay_.counts().held, 3u);
  EXPECT_TRUE(send_all().empty()) << "not at once";
  now_ = relay_.wake_at();
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{1, 2, 3}));
}

TEST_F(RelayTest, ACopyThatTheServerContradictsIsForTheHopToForget) {
  add_all(theirs_, 1, 3);
  const auto verdict = settle(theirs_, {{1, 3, hash_of(3, 9)}});
  EXPECT_FALSE(verdict.accepted);
  ASSERT_EQ(verdict.contradicted, 3u);
  EXPECT_EQ(relay_.forget(theirs_, {3, 3}).size(), 1u);
  EXPECT_TRUE(settle(theirs_, {{1, 3, hash_of(3, 9)}}).accepted);
  EXPECT_EQ(relay_.counts().held, 0u);
  add_all(metric_, 1, 1);
  EXPECT_FALSE(settle(metric_, {{1, 1, hash_of(1, 9)}}).contradicted) << "the origin keeps its own";
}

// Within the 64 intervals of a message a stream with many holes goes on (B32).
TEST_F(RelayTest, ACutSettledStillCounts) {
  std::vector<wire::Interval> holes;
  for (std::uint64_t i = 0; i < wire::kIntervalsMax; ++i)
    holes.push_back({i * 4 + 1, i * 4 + 1, hash_of(i * 4 + 1)});
  EXPECT_TRUE(settle(theirs_, holes).accepted);
  holes.insert(holes.begin() + 1, {3, 3, hash_of(3)});
  holes.pop_back();
  EXPECT_TRUE(settle(theirs_, holes).accepted);
  EXPECT_EQ(relay_.classify(theirs_, 253, hash_of(253)), Relay::Arrival::settled)
      << "what was known behind the cut stays";
}

}  // namespace
}  // namespace postern::relay
