#include "server/numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/test_group.h"

namespace postern {
namespace {

using node::DocumentType;
using testing::HasSubstr;
using testing_support::TestGroup;

constexpr std::uint32_t kDeny = 4, kApproval = 3, kTick = 6;

NodeId node_id(int n) {
  NodeId id;
  id.bytes[0] = static_cast<std::byte>(n);
  return id;
}

wire::pb::DocumentBody shown(DocumentType type, Edition edition, int audience = 0) {
  wire::pb::DocumentBody body;
  body.set_type(static_cast<std::uint32_t>(type));
  body.set_generation(edition.first);
  body.set_number(edition.second);
  if (audience != 0) body.set_audience(node::field_of(node_id(audience).bytes));
  return body;
}

store::StoredDocument stored(std::uint32_t type, Edition edition, int audience = 0) {
  std::optional<NodeId> id;
  if (audience != 0) id = node_id(audience);
  return {type, id, edition.first, edition.second, {}};
}

wire::pb::Tick tick_of(const wire::pb::DocumentBody& body) {
  wire::pb::Tick tick;
  EXPECT_TRUE(tick.ParseFromString(body.payload()));
  return tick;
}

TEST(Ticks, SayTimeGenerationAndTheNewestNumberOfEachType) {
  Ticks ticks(node_id(9));
  ticks.on_document(kApproval, {1, 5});
  ticks.on_document(kApproval, {1, 4});
  ticks.on_document(kDeny, {1, 9});
  ticks.on_document(kDeny, {2, 3});
  const WallTime now = wall_from_ms(1'800'000'000'000);
  const auto body = ticks.next(now, 2);
  EXPECT_EQ(body.type(), kTick);
  EXPECT_EQ(body.generation(), 2u);
  EXPECT_EQ(body.number(), 1'800'000'000'000u);
  EXPECT_EQ(node::node_id_of_field(body.group_id()), node_id(9));
  const auto tick = tick_of(body);
  EXPECT_EQ(tick.time_ms(), to_ms(now));
  EXPECT_EQ(tick.generation(), 2u);
  ASSERT_EQ(tick.numbers_size(), 2);
  EXPECT_EQ(tick.numbers(0).type(), kApproval);
  EXPECT_EQ(tick.numbers(0).number(), 5u);
  EXPECT_EQ(tick.numbers(1).generation(), 2u);
  EXPECT_EQ(tick.numbers(1).number(), 3u);
}

TEST(Ticks, NumbersRiseAlsoWhenTheClockWasSetBack) {
  Ticks ticks(node_id(9));
  const WallTime now = wall_from_ms(1'800'000'000'000);
  const std::uint64_t first = ticks.next(now, 1).number();
  EXPECT_EQ(ticks.next(now, 1).number(), first + 1);
  EXPECT_EQ(ticks.next(now - std::chrono::days(3650), 1).number(), first + 2);
  EXPECT_EQ(tick_of(ticks.next(now - std::chrono::days(3650), 1)).time_ms(),
            to_ms(now - std::chrono::days(3650)))
      << "the time it says is the clock's";
  EXPECT_EQ(ticks.next(wall_from_ms(-5), 1).number(), first + 4);
  EXPECT_EQ(ticks.next(now + std::chrono::seconds(30), 1).number(), first + 30'000);
}

TEST(Ticks, AreAboveOneThatIsAroundAlready) {
  Ticks ticks(node_id(9));
  ticks.on_document(kTick, {1, 5'000'000'000'000});
  const auto body = ticks.next(wall_from_ms(1'800'000'000'000), 1);
  EXPECT_EQ(body.number(), 5'000'000'000'001u);
  EXPECT_EQ(tick_of(body).numbers_size(), 0) << "ticks do not speak of ticks";
}

TEST(JudgeDocument, WhatTheStoreHasOrHasReplacedChangesNothing) {
  const std::vector have{stored(kApproval, {1, 7}, 1), stored(kApproval, {1, 5}, 2)};
  for (const Edition& edition : {Edition{1, 7}, {1, 6}, {1, 1}})
    EXPECT_EQ(judge_document(shown(DocumentType::approval, edition, 1), 1, have, {}), Rewind{});
  // A number of ours that nobody has any more: the node was removed since.
  EXPECT_EQ(judge_document(shown(DocumentType::approval, {1, 6}, 3), 1, have, {}), Rewind{});
}

TEST(JudgeDocument, AHigherNumberThanWasGivenOutMeansThatTheStoreWasSetBack) {
  const std::vector have{stored(kApproval, {1, 7}, 1)};
  for (const int audience : {1, 2}) {
    const Rewind rewind =
        judge_document(shown(DocumentType::approval, {1, 8}, audience), 1, have, {});
    EXPECT_TRUE(rewind.adopt);
    EXPECT_EQ(rewind.open_generation, 2u);
    EXPECT_THAT(rewind.words, HasSubstr("approval 8 of generation 1"));
  }
  EXPECT_TRUE(judge_document(shown(DocumentType::deny, {1, 1}), 1, {}, {}).adopt);
}

TEST(JudgeDocument, AHigherGenerationIsAnsweredByAHigherOne) {
  const Rewind rewind =
      judge_document(shown(DocumentType::deny, {5, 2}), 3, {stored(kDeny, {3, 9})}, {});
  EXPECT_TRUE(rewind.adopt);
  EXPECT_EQ(rewind.open_generation, 6u);
}

// Which of the lost ones is shown first must not decide about the others.
TEST(JudgeDocument, AllThatWasLostIsAdoptedInAnyOrderAndOneGenerationIsEnough) {
  const SetBacks set_backs{{1, 40}};
  const std::vector have{stored(kApproval, {1, 50}, 1), stored(kApproval, {2, 61}, 2)};
  const Rewind rewind =
      judge_document(shown(DocumentType::approval, {1, 45}, 3), 2, have, set_backs);
  EXPECT_TRUE(rewind.adopt);
  EXPECT_EQ(rewind.open_generation, std::nullopt);
  EXPECT_FALSE(judge_document(shown(DocumentType::approval, {1, 40}, 3), 2, have, set_backs).adopt);
  EXPECT_FALSE(judge_document(shown(DocumentType::approval, {1, 45}, 2), 2, have, set_backs).adopt)
      << "decided anew since";
  EXPECT_FALSE(judge_document(shown(DocumentType::approval, {2, 60}, 3), 2, have, set_backs).adopt);
}

TEST(JudgeDocument, ALostDenyListCountsAlsoBesideANewerOne) {
  const std::vector have{stored(kDeny, {2, 41})};
  EXPECT_TRUE(judge_document(shown(DocumentType::deny, {1, 45}), 2, have, {{1, 40}}).adopt);
  EXPECT_FALSE(judge_document(shown(DocumentType::deny, {1, 39}), 2, have, {{1, 40}}).adopt);
}

TEST(JudgeDocument, TicksTasksAndWhatTheRootSignsAreNotAdopted) {
  for (const DocumentType type : {DocumentType::tick, DocumentType::task, DocumentType::delegation,
                                  DocumentType::successor, DocumentType{77}})
    EXPECT_EQ(judge_document(shown(type, {9, 9}), 1, {}, {}), Rewind{});
}

TEST(JudgeDocument, TheLastGenerationIsTheLast) {
  const Rewind rewind = judge_document(shown(DocumentType::deny, {~0u, 2}), 3, {}, {});
  EXPECT_TRUE(rewind.adopt);
  EXPECT_EQ(rewind.open_generation, std::nullopt);
}

class JudgeSettled : public testing::Test {
 protected:
  wire::Settled settled(std::uint32_t generation, std::vector<wire::Interval> intervals) const {
    wire::Settled settled;
    settled.group = node_id(9);
    settled.generation = generation;
    settled.coverage = {stream_, std::move(intervals)};
    return settled;
  }
  Rewind judge(const wire::Settled& settled) const {
    return judge_settled(settled, node_id(9), 3, {stream_, {{1, 10, {}}, {20, 30, {}}}});
  }
  wire::StreamKey stream_{node_id(1), {1, 7}, wire::Lane::state};
};

TEST_F(JudgeSettled, WhatTheStoreHasProvesNothing) {
  EXPECT_EQ(judge(settled(3, {})), Rewind{});
  EXPECT_EQ(judge(settled(3, {{1, 10, {}}, {22, 30, {}}})), Rewind{});
}

TEST_F(JudgeSettled, BatchesThatTheStoreDoesNotHaveOpenAGeneration) {
  for (const wire::Interval interval :
       {wire::Interval{1, 11, {}}, {5, 25, {}}, {15, 15, {}}, {31, 31, {}}}) {
    const Rewind rewind = judge(settled(3, {{1, 1, {}}, interval}));
    EXPECT_EQ(rewind.open_generation, 4u) << interval.first;
    EXPECT_FALSE(rewind.adopt);
    EXPECT_THAT(rewind.words, HasSubstr(fmt::format("{} to {}", interval.first, interval.last)));
  }
}

TEST_F(JudgeSettled, AHigherGenerationProvesItAlone) {
  EXPECT_EQ(judge(settled(7, {})).open_generation, 8u);
  EXPECT_EQ(judge(settled(~0u, {})).open_generation, std::nullopt);
}

TEST_F(JudgeSettled, AnOlderGenerationIsKnownToHaveLostAndProvesNothing) {
  EXPECT_EQ(judge(settled(2, {{1, 100, {}}})), Rewind{});
}

TEST_F(JudgeSettled, AnotherGroupIsNoneOfOurBusiness) {
  wire::Settled other = settled(3, {{1, 100, {}}});
  other.group = node_id(8);
  EXPECT_EQ(judge(other), Rewind{});
}

TEST(DenyLists, GoFirstAndTheRestKeepsItsOrder) {
  const TestGroup group;
  std::vector<wire::pb::Signed> documents;
  for (const auto& [type, number] : {std::pair{DocumentType::approval, 1u},
                                     {DocumentType::configuration, 2u},
                                     {DocumentType::deny, 3u},
                                     {DocumentType::approval, 4u},
                                     {DocumentType::deny, 5u}})
    documents.push_back(node::sign_document(group.body(type, number, ""), group.delegate, 1));
  deny_lists_first(documents);
  std::vector<std::uint64_t> numbers;
  for (const auto& document : documents) {
    wire::pb::DocumentBody body;
    ASSERT_TRUE(body.ParseFromString(document.body()));
    numbers.push_back(body.number());
  }
  EXPECT_THAT(numbers, testing::ElementsAre(3, 5, 1, 2, 4));
}

}  // namespace
}  // namespace postern
