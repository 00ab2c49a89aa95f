#include "net/sources.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

constexpr TimePoint kStart{std::chrono::hours(1)};

Sources three_then_one_a_second(std::size_t sources_max = 100) {
  return Sources({.rate = 1,
                  .burst = 3,
                  .sources_max = sources_max,
                  .trusted_for = std::chrono::hours(24),
                  .trusted_max = 2});
}

TEST(Sources, AdmitABurstAndThenTheRate) {
  Sources sources = three_then_one_a_second();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(sources.admit("a", kStart)) << i;
  EXPECT_FALSE(sources.admit("a", kStart));
  EXPECT_TRUE(sources.admit("b", kStart)) << "others are not to blame";
  EXPECT_TRUE(sources.admit("a", kStart + std::chrono::seconds(1)));
  EXPECT_FALSE(sources.admit("a", kStart + std::chrono::seconds(1)));
}

TEST(Sources, SpareThoseThatAuthenticatedInTheLastDay) {
  Sources sources = three_then_one_a_second();
  sources.trust("a", kStart);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(sources.admit("a", kStart + std::chrono::hours(23)));
  const TimePoint later = kStart + std::chrono::hours(24);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(sources.admit("a", later));
  EXPECT_FALSE(sources.admit("a", later));
}

TEST(Sources, ForgetTheOldestTrustedOneAtTheLimit) {
  Sources sources = three_then_one_a_second();
  for (int i = 0; i < 3; ++i)
    sources.trust(std::string(1, static_cast<char>('a' + i)), kStart + std::chrono::seconds(i));
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(sources.admit("c", kStart));
  int admitted = 0;
  for (int i = 0; i < 50; ++i) admitted += sources.admit("a", kStart);
  EXPECT_EQ(admitted, 3);
}

TEST(Sources, RememberABoundedNumber) {
  Sources sources = three_then_one_a_second(10);
  for (int i = 0; i < 1000; ++i)
    sources.admit(std::to_string(i), kStart + std::chrono::milliseconds(i));
  EXPECT_LE(sources.remembered(), 10u);
}

}  // namespace
}  // namespace postern
