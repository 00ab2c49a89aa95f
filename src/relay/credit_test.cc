#include "relay/credit.h"

#include <gtest/gtest.h>

namespace postern::relay {
namespace {

using wire::Lane;
constexpr std::uint64_t kBatch = wire::kBatchMessageBytesMax;

/// Sends as much as it may.
void use_up(CreditBook& book, std::uint64_t channel, const CreditBook::Totals& totals,
            CreditBook::Totals& sent) {
  for (const Lane lane : wire::kLanes) {
    const std::size_t index = wire::index_of(lane);
    const std::uint64_t left = totals[index] - sent[index];
    EXPECT_TRUE(book.on_received(channel, lane, left));
    sent[index] += left;
  }
}

TEST(CreditBook, MoreThanWasGrantedIsAProtocolError) {
  CreditBook book({});
  const auto totals = book.on_child(1);
  EXPECT_TRUE(book.on_received(1, Lane::metric, totals[2]));
  EXPECT_FALSE(book.on_received(1, Lane::metric, 1));
  EXPECT_FALSE(book.on_received(2, Lane::metric, 1)) << "no such connection";
}

TEST(CreditBook, StateHasRoomForOneBatchOfEveryChildWhateverTheOthersDo) {
  CreditBook book({.granted_bytes_max = 10 * kBatch});
  for (std::uint64_t channel = 1; channel <= 1000; ++channel) {
    const auto totals = book.on_child(channel);
    EXPECT_GE(totals[0], kBatch);
    EXPECT_TRUE(book.on_received(channel, Lane::state, kBatch));
  }
  book.set_full(true);
  const auto more = book.on_taken(7, Lane::state, kBatch);
  ASSERT_TRUE(more);
  EXPECT_EQ((*more)[0], 2 * kBatch);
}

TEST(CreditBook, TheSumStaysBelowItsLimit) {
  const CreditBook::Limits limits{.granted_bytes_max = 20 * kBatch};
  CreditBook book(limits);
  std::map<std::uint64_t, CreditBook::Totals> granted, sent, taken;
  for (std::uint64_t channel = 1; channel <= 300; ++channel) {
    granted[channel] = book.on_child(channel);
    book.wants(channel, Lane::metric);
  }
  for (int round = 0; round < 20; ++round)
    for (std::uint64_t channel = 1; channel <= 300; ++channel) {
      use_up(book, channel, granted[channel], sent[channel]);
      for (const Lane lane : wire::kLanes) {
        const std::size_t index = wire::index_of(lane);
        if (const auto more =
                book.on_taken(channel, lane, sent[channel][index] - taken[channel][index]))
          granted[channel] = *more;
        taken[channel][index] = sent[channel][index];
      }
      for (const auto& grant : book.take_grants()) granted[grant.channel] = grant.totals;
      std::uint64_t owed = 0;
      for (std::uint64_t each = 1; each <= 300; ++each)
        for (std::size_t lane = 0; lane < 3; ++lane) {
          const std::uint64_t open = granted[each][lane] - taken[each][lane];
          owed += lane == 0 ? (open > kBatch ? open - kBatch : 0) : open;
        }
      ASSERT_EQ(owed, book.granted_bytes());
      ASSERT_LE(owed, limits.granted_bytes_max);
    }
  for (std::uint64_t channel = 1; channel <= 300; ++channel)
    EXPECT_GE(granted[channel][2], kBatch) << "each had its turn";
  for (std::uint64_t channel = 1; channel <= 300; ++channel) book.gone(channel);
  EXPECT_EQ(book.granted_bytes(), 0u);
}

TEST(CreditBook, AFewChildrenGetLargeWindowsWhenTheyUseThem) {
  CreditBook book({});
  auto totals = book.on_child(1);
  EXPECT_EQ(totals[2], 8u << 20);
  for (std::uint64_t channel = 2; channel <= 100; ++channel) totals = book.on_child(channel);
  EXPECT_LT(totals[2], 100u << 10) << "small at first";
  EXPECT_TRUE(book.on_received(100, Lane::metric, totals[2]));
  const auto more = book.on_taken(100, Lane::metric, totals[2]);
  ASSERT_TRUE(more);
  EXPECT_GT((*more)[2] - totals[2], 400u << 10) << "its share when it is used";
}

// A thousand idle children must not leave one that has a large batch without a way.
TEST(CreditBook, WhereWindowsAreSmallAWholeBatchGoesInTurn) {
  CreditBook book({.granted_bytes_max = 8 * kBatch});
  std::map<std::uint64_t, CreditBook::Totals> granted;
  for (std::uint64_t channel = 1; channel <= 3000; ++channel)
    granted[channel] = book.on_child(channel);
  for (std::uint64_t channel : {1000, 1001, 1002, 1003, 1004, 1005})
    book.wants(channel, Lane::metric);
  std::vector<std::uint64_t> served;
  for (const auto& grant : book.take_grants()) {
    EXPECT_EQ(grant.totals[2], kBatch);
    served.push_back(grant.channel);
  }
  ASSERT_EQ(served, (std::vector<std::uint64_t>{1000, 1001, 1002, 1003}));
  EXPECT_TRUE(book.on_received(1000, Lane::metric, kBatch));
  EXPECT_TRUE(book.take_grants().empty()) << "not before it is taken";
  book.on_taken(1000, Lane::metric, kBatch);
  const auto next = book.take_grants();
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].channel, 1004u);
  book.gone(1001);
  EXPECT_EQ(book.take_grants().at(0).channel, 1005u) << "who leaves makes room";
  book.gone(1002);
  EXPECT_EQ(book.take_grants().at(0).channel, 1000u) << "who used its turn is in line again";
}

TEST(CreditBook, AFullSpoolGrantsNothingForEventAndMetricUntilThereIsRoom) {
  CreditBook book({});
  const auto totals = book.on_child(1);
  book.on_child(2);
  book.set_full(true);
  EXPECT_EQ(book.on_child(3)[2], 0u);
  ASSERT_TRUE(book.on_received(1, Lane::metric, totals[2]));
  EXPECT_FALSE(book.on_taken(1, Lane::metric, totals[2]));
  EXPECT_TRUE(book.take_grants().empty());
  book.set_full(false);
  std::vector<std::uint64_t> told;
  for (const auto& grant : book.take_grants()) {
    told.push_back(grant.channel);
    EXPECT_GT(grant.totals[2], grant.channel == 1 ? totals[2] : 0);
  }
  EXPECT_EQ(told, (std::vector<std::uint64_t>{1, 2, 3}));
}

TEST(CreditBook, TellsAChildOnlyWhenItIsWorthAMessage) {
  CreditBook book({});
  book.on_child(1);
  std::size_t told = 0;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(book.on_received(1, Lane::metric, 10'000));
    told += book.on_taken(1, Lane::metric, 10'000) ? 1 : 0;
  }
  EXPECT_GE(told, 1u);
  EXPECT_LE(told, 10u);
}

}  // namespace
}  // namespace postern::relay
