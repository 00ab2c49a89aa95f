#include "server/renewal_outlook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern {
namespace {

using testing::HasSubstr;
using enum RenewalState;

class RenewalOutlookTest : public testing::Test {
 protected:
  RenewalState at(int day) { return outlook_of(facts_, day_of(day)).state; }
  std::string words(int day) { return outlook_of(facts_, day_of(day)).words; }
  static WallTime day_of(int day) {
    return wall_from_ms(1'800'000'000'000) + std::chrono::days(day);
  }
  CertificateFacts facts_{day_of(0), day_of(100), true, true, false, true, 0, ""};
};

TEST_F(RenewalOutlookTest, InItsTimeItIsRenewedByItself) {
  EXPECT_EQ(at(0), by_itself);
  EXPECT_EQ(at(49), by_itself);
  EXPECT_EQ(at(50), due);
  EXPECT_EQ(at(65), due) << "spread over a tenth, and a little more";
  EXPECT_EQ(at(66), will_miss);
  EXPECT_THAT(words(66), HasSubstr("has not asked since"));
  EXPECT_EQ(at(101), expired);
}

TEST_F(RenewalOutlookTest, WhoIsAwayWhenItIsTimeWillMissIt) {
  facts_.connected = false;
  EXPECT_EQ(at(49), by_itself) << "there is time";
  EXPECT_EQ(at(51), will_miss);
  EXPECT_THAT(words(51), HasSubstr("not connected"));
}

TEST_F(RenewalOutlookTest, OneFailureIsAnAccidentAndThreeAreNot) {
  facts_.failures = 2;
  facts_.trouble = "the store does not answer";
  EXPECT_EQ(at(51), due);
  facts_.failures = 3;
  EXPECT_EQ(at(51), will_miss);
  EXPECT_EQ(words(51), "failed 3 times: the store does not answer");
}

TEST_F(RenewalOutlookTest, WhatNobodyRenewsByItselfIsSaidToBeRenewedByHand) {
  facts_.renews = false;
  EXPECT_EQ(at(10), by_hand);
  facts_.ours = false;
  EXPECT_EQ(at(10), by_hand);
  EXPECT_THAT(words(10), HasSubstr("elsewhere"));
  facts_.revoked = true;
  EXPECT_EQ(at(10), revoked);
}

TEST_F(RenewalOutlookTest, OfWhatIsNotKnownNothingIsSaid) {
  facts_.not_after.reset();
  EXPECT_EQ(outlook_of(facts_, day_of(10)), RenewalOutlook{});
}

}  // namespace
}  // namespace postern
