#include "relay/parents.h"

#include <gtest/gtest.h>

#include "relay/liveness.h"

namespace postern::relay {
namespace {

using std::chrono::seconds;

class ParentOrderTest : public testing::Test {
 protected:
  void SetUp() override { order_.set({"a", "b"}); }
  SeededRandom random_{1};
  ParentOrder order_{random_};
  TimePoint now_{std::chrono::hours(1)};
};

TEST_F(ParentOrderTest, BeginsWithThePrimary) { EXPECT_EQ(order_.next().index, 0u); }

TEST_F(ParentOrderTest, GoesToTheNextAtOnceWhenOneIsLost) {
  order_.failed(1, now_, std::chrono::minutes(5));
  order_.attached(0);
  order_.lost(0, now_);
  EXPECT_EQ(order_.next().index, 1u);
  EXPECT_LE(order_.next().at, now_);
}

TEST_F(ParentOrderTest, AsksAFailingParentLessOftenButNeverGivesUp) {
  order_.set({"a"});
  Duration last{};
  for (int i = 0; i < 20; ++i) {
    order_.failed(0, now_);
    last = order_.next().at - now_;
    now_ = order_.next().at;
  }
  EXPECT_GE(last, ParentOrder::kBackoffMax);
  EXPECT_LE(last, ParentOrder::kBackoffMax * 5 / 4 + seconds(1));
  order_.attached(0);
  order_.failed(0, now_);
  EXPECT_LE(order_.next().at - now_, seconds(2));
}

TEST_F(ParentOrderTest, ComesBackWhenTheRefuserSaid) {
  order_.set({"a"});
  order_.failed(0, now_, seconds(3));
  EXPECT_GE(order_.next().at - now_, seconds(3));
  EXPECT_LE(order_.next().at - now_, seconds(4));
}

TEST_F(ParentOrderTest, BelievesNoRefuserThatAsksForEternity) {
  order_.set({"a"});
  order_.failed(0, now_, std::chrono::hours(1000));
  EXPECT_LE(order_.next().at - now_, ParentOrder::kRetryAfterMax * 5 / 4);
}

TEST_F(ParentOrderTest, KeepsTheHistoryOfParentsThatStay) {
  order_.failed(0, now_, seconds(30));
  order_.set({"a", "c"});
  EXPECT_EQ(order_.next().index, 1u);
}

TEST(Liveness, PingsAnIdleLinkRarelyAndGivesUpAfterThree) {
  TimePoint now{std::chrono::hours(1)};
  const TimePoint heard = now;
  Liveness liveness;
  liveness.start(now);
  EXPECT_EQ(liveness.step(now + seconds(44), heard, false), Liveness::Action::nothing);
  now += seconds(45);
  EXPECT_EQ(liveness.step(now, heard, false), Liveness::Action::ping);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(liveness.step(now + seconds(4), heard, false), Liveness::Action::nothing);
    now += seconds(5);
    EXPECT_EQ(liveness.step(now, heard, false), Liveness::Action::ping);
  }
  now += seconds(5);
  EXPECT_EQ(liveness.step(now, heard, false), Liveness::Action::give_up);
}

TEST(Liveness, AnyByteIsASignOfLife) {
  const TimePoint start{std::chrono::hours(1)};
  Liveness liveness;
  liveness.start(start);
  EXPECT_EQ(liveness.step(start + seconds(5), start, true), Liveness::Action::ping);
  EXPECT_EQ(liveness.step(start + seconds(6), start + seconds(6), true), Liveness::Action::nothing);
  EXPECT_EQ(liveness.step(start + seconds(12), start + seconds(6), true), Liveness::Action::ping);
}

}  // namespace
}  // namespace postern::relay
