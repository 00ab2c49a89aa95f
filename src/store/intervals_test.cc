#include "store/intervals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace postern::store {
namespace {

using Added = IntervalSet::Added;

/// The hash of batch n of a well-behaved stream; `salt` makes it another stream's.
Digest hash_of(std::uint64_t n, std::uint8_t salt = 0) {
  Digest digest{};
  if (n == 0) return digest;
  for (std::size_t i = 0; i < 8; ++i) digest[i] = static_cast<std::byte>(n >> (8 * i));
  digest[9] = static_cast<std::byte>(salt);
  return digest;
}
Range range(std::uint64_t first, std::uint64_t last) {
  return {first, last, hash_of(first - 1), hash_of(last)};
}
Added add(IntervalSet& set, std::uint64_t n) { return set.add(n, hash_of(n - 1), hash_of(n)); }

TEST(IntervalSet, NeighboursMergeAndKeepTheHashesOfTheirEdges) {
  IntervalSet set(8);
  EXPECT_EQ(add(set, 3), Added::added);
  EXPECT_EQ(add(set, 5), Added::added);
  EXPECT_EQ(set.ranges(), (std::vector{range(3, 3), range(5, 5)}));
  EXPECT_EQ(add(set, 4), Added::added);
  EXPECT_EQ(set.ranges(), std::vector{range(3, 5)});
}

TEST(IntervalSet, EveryOrderOfArrivalGivesTheSameSet) {
  std::vector<std::uint64_t> order(6);
  std::iota(order.begin(), order.end(), 1);
  do {
    IntervalSet set(8);
    for (std::uint64_t n : order) {
      EXPECT_EQ(add(set, n), Added::added);
      EXPECT_EQ(add(set, n), Added::duplicate);
    }
    ASSERT_EQ(set.ranges(), std::vector{range(1, 6)});
  } while (std::ranges::next_permutation(order).found);
}

TEST(IntervalSet, AnotherHashAtAnEdgeIsEquivocationNeverADuplicate) {
  IntervalSet set(8);
  for (std::uint64_t n : {3, 4, 5}) add(set, n);
  const IntervalSet before = set;
  EXPECT_EQ(set.add(5, hash_of(4), hash_of(5, 1)), Added::equivocation) << "the last one";
  EXPECT_EQ(set.add(3, hash_of(2, 1), hash_of(3, 1)), Added::equivocation)
      << "the first one, by its predecessor";
  EXPECT_EQ(set.add(6, hash_of(5, 1), hash_of(6)), Added::equivocation)
      << "does not follow the last";
  EXPECT_EQ(set.add(2, hash_of(1), hash_of(2, 1)), Added::equivocation)
      << "the first does not follow it";
  EXPECT_EQ(set.add(4, hash_of(3), hash_of(4, 1)), Added::duplicate)
      << "inside, hashes are not kept";
  EXPECT_EQ(set, before);
}

TEST(IntervalSet, TheFirstBatchHasNoPredecessor) {
  IntervalSet set(8);
  EXPECT_EQ(set.add(1, hash_of(7), hash_of(1)), Added::equivocation);
  EXPECT_EQ(set.add(1, Digest{}, hash_of(1)), Added::added);
}

TEST(IntervalSet, AtTheLimitOnlyTheLowestHoleAndNeighboursAreTaken) {
  IntervalSet set(4);
  for (std::uint64_t n : {10, 20, 30}) EXPECT_EQ(add(set, n), Added::added);
  EXPECT_EQ(add(set, 40), Added::too_many);
  EXPECT_EQ(add(set, 5), Added::too_many) << "a hole, but not the lowest one's first batch";
  EXPECT_EQ(add(set, 11), Added::added) << "no further range";
  for (std::uint64_t n = 1; n <= 9; ++n) EXPECT_EQ(add(set, n), Added::added) << n;
  EXPECT_EQ(set.ranges(), (std::vector{range(1, 11), range(20, 20), range(30, 30)}));
}

TEST(IntervalSet, ARangeSwallowsWhatItCoversAndJoinsWhatItTouches) {
  IntervalSet set(8);
  for (std::uint64_t n : {2, 5, 9, 12}) add(set, n);
  EXPECT_EQ(set.add(range(3, 8)), Added::added);
  EXPECT_EQ(set.ranges(), (std::vector{range(2, 9), range(12, 12)}));
  EXPECT_EQ(set.add(range(4, 9)), Added::duplicate);
  EXPECT_EQ(set.add(range(7, 20)), Added::added);
  EXPECT_EQ(set.ranges(), std::vector{range(2, 20)});
}

TEST(IntervalSet, TheHighestNumberDoesNotWrap) {
  constexpr std::uint64_t kTop = ~0ull;
  IntervalSet set(8);
  EXPECT_EQ(add(set, kTop), Added::added);
  EXPECT_EQ(add(set, 1), Added::added);
  EXPECT_EQ(add(set, kTop - 1), Added::added);
  EXPECT_EQ(set.ranges(), (std::vector{range(1, 1), range(kTop - 1, kTop)}));
}

}  // namespace
}  // namespace postern::store
