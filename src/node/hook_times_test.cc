#include "node/hook_times.h"

#include <gtest/gtest.h>

#include <vector>

namespace postern::node {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

class HookTimesTest : public testing::Test {
 protected:
  static WallTime at(double part) {
    return kBegin + std::chrono::duration_cast<milliseconds>(kLife * part);
  }
  static constexpr WallTime kBegin{milliseconds(1'800'000'000'000)};
  static constexpr milliseconds kLife = hours(24 * 90);
  SeededRandom random_{7};
  HookTimes times_{random_};
};

TEST_F(HookTimesTest, NothingIsDueBeforeACertificateIsKnown) {
  EXPECT_EQ(times_.due(), WallTime::max());
  times_.issued_elsewhere();
  EXPECT_EQ(times_.due(), WallTime::max());
}

TEST_F(HookTimesTest, WhatIsIssuedElsewhereIsDueAtHalfOfItsLife) {
  times_.use(kBegin, kBegin + kLife);
  times_.issued_elsewhere();
  EXPECT_FALSE(times_.is_due(at(0.499)));
  EXPECT_TRUE(times_.is_due(at(0.551)));
}

TEST_F(HookTimesTest, WhatTheGroupShouldHaveRenewedIsDueLater) {
  times_.use(kBegin, kBegin + kLife);
  EXPECT_FALSE(times_.is_due(at(0.69)));
  EXPECT_TRUE(times_.is_due(at(0.76)));
  times_.use(kBegin, kBegin + kLife);
  EXPECT_TRUE(times_.is_due(at(0.76))) << "the same one changes nothing";
}

TEST_F(HookTimesTest, OneRunAtATimeAndTheDistancesGrowUpToADay) {
  times_.use(kBegin, kBegin + kLife);
  times_.issued_elsewhere();
  WallTime now = at(0.6);
  std::vector<milliseconds> distances;
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(times_.is_due(now));
    times_.started();
    EXPECT_EQ(times_.due(), WallTime::max());
    times_.ended(now);
    distances.push_back(times_.due() - now);
    now = times_.due();
  }
  EXPECT_GE(distances.front(), hours(1));
  EXPECT_LE(distances.front(), std::chrono::minutes(75));
  EXPECT_GE(distances[1], hours(2));
  EXPECT_GE(distances.back(), hours(24));
  EXPECT_LE(distances.back(), hours(30));
}

TEST_F(HookTimesTest, AnotherCertificateBeginsAnew) {
  times_.use(kBegin, kBegin + kLife);
  times_.issued_elsewhere();
  times_.started();
  times_.use(at(0.6), at(0.6) + kLife);
  times_.ended(at(0.61));
  EXPECT_FALSE(times_.is_due(at(0.6) + kLife / 2)) << "who issued it is not known yet";
  times_.issued_elsewhere();
  EXPECT_TRUE(times_.is_due(at(0.6) + kLife * 56 / 100));
}

}  // namespace
}  // namespace postern::node
