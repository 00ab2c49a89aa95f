#include "store/stream_ledger.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace postern::store {
namespace {

Digest hash_of(std::uint64_t n, std::uint8_t salt = 0) {
  Digest digest{};
  if (n == 0) return digest;
  for (std::size_t i = 0; i < 8; ++i) digest[i] = static_cast<std::byte>(n >> (8 * i));
  digest[9] = static_cast<std::byte>(salt);
  return digest;
}
wire::Interval interval(std::uint64_t first, std::uint64_t last) {
  return {first, last, hash_of(last)};
}
Outcome batch(StreamLedger& ledger, std::uint64_t n) {
  return ledger.add_batch(n, hash_of(n - 1), hash_of(n)).outcome;
}
LedgerGap gap(std::uint64_t first, std::uint64_t last, std::uint64_t by) {
  return {{first, last, hash_of(first - 1), hash_of(last)}, {1, 1}, by, {}};
}
using Intervals = std::vector<wire::Interval>;

TEST(StreamLedger, SettledIsAppliedAndGapsTogether) {
  StreamLedger ledger({});
  batch(ledger, 1);
  batch(ledger, 6);
  EXPECT_EQ(ledger.add_gap(gap(2, 5, 1)).outcome, Outcome::applied);
  EXPECT_EQ(ledger.applied(), (Intervals{interval(1, 1), interval(6, 6)}));
  EXPECT_EQ(ledger.gaps(), (Intervals{interval(2, 5)}));
  EXPECT_EQ(ledger.settled(), (Intervals{interval(1, 6)}));
}

TEST(StreamLedger, WhatArrivesInsideAGapIsAppliedAndNotGone) {
  StreamLedger ledger({});
  ledger.add_gap(gap(2, 9, 1));
  for (std::uint64_t n : {4, 5, 9}) EXPECT_EQ(batch(ledger, n), Outcome::applied);
  EXPECT_EQ(ledger.gaps(), (Intervals{interval(2, 3), interval(6, 8)}));
  EXPECT_EQ(ledger.settled(), (Intervals{interval(2, 9)}));
}

TEST(StreamLedger, GapsAreAUnionWhateverTheirOrder) {
  std::vector<LedgerGap> gaps = {gap(2, 3, 1), gap(5, 6, 2), gap(2, 8, 3), gap(7, 12, 4),
                                 gap(5, 6, 5)};
  StreamLedger first({});
  for (const LedgerGap& g : gaps) first.add_gap(g);
  EXPECT_EQ(first.gaps(), (Intervals{interval(2, 12)}));
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  do {
    StreamLedger ledger({});
    for (std::size_t i : order) ASSERT_EQ(ledger.add_gap(gaps[i]).outcome, Outcome::applied);
    ASSERT_EQ(ledger.gap_records(), first.gap_records());
    ASSERT_EQ(ledger.settled(), first.settled());
  } while (std::ranges::next_permutation(order).found);
}

TEST(StreamLedger, AGapThatDisagreesWithWhatIsHeldTakesItsHashesAndIsAFinding) {
  StreamLedger ledger({});
  batch(ledger, 5);
  LedgerGap wrong = gap(2, 4, 1);
  wrong.range.hash = hash_of(4, 1);
  const auto verdict = ledger.add_gap(wrong);
  EXPECT_EQ(verdict.outcome, Outcome::applied);
  EXPECT_EQ(verdict.contradiction, (Contradiction{4, hash_of(4), hash_of(4, 1)}));
  EXPECT_EQ(ledger.gaps(), (std::vector<wire::Interval>{{2, 4, hash_of(4)}}));
  EXPECT_EQ(ledger.gap_records()[0].record.at_last, hash_of(4)) << "as it is kept";
}

TEST(StreamLedger, ABatchThatDoesNotFollowAGapIsEquivocation) {
  StreamLedger ledger({});
  ledger.add_gap(gap(2, 4, 1));
  EXPECT_EQ(ledger.add_batch(5, hash_of(4, 1), hash_of(5)).outcome, Outcome::equivocation);
  EXPECT_EQ(ledger.add_batch(4, hash_of(3), hash_of(4, 1)).outcome, Outcome::equivocation);
}

// The lowest hole may begin behind a gap; it must be taken there too, or the stream stands still.
TEST(StreamLedger, AtTheLimitTheLowestHoleBehindAGapIsTaken) {
  StreamLedger ledger({});
  ledger.add_gap(gap(1, 5, 1));
  std::uint64_t n = 10;
  while (batch(ledger, n) == Outcome::applied) n += 2;
  EXPECT_EQ(ledger.settled().size(), kIntervalsPerStreamMax - 1);
  EXPECT_EQ(batch(ledger, 8), Outcome::too_many_holes);
  for (std::uint64_t m : {6, 7, 8, 9, 11}) EXPECT_EQ(batch(ledger, m), Outcome::applied) << m;
  EXPECT_EQ(batch(ledger, n), Outcome::applied) << "there is room again";
}

TEST(StreamLedger, ASavedStateThatContradictsItselfIsCorrupt) {
  const Range one{2, 4, hash_of(1), hash_of(4)}, overlapping{4, 6, hash_of(3), hash_of(6)};
  const Range backwards{4, 2, hash_of(3), hash_of(2)};
  EXPECT_TRUE(StreamLedger::restore({}, 0, {one}, {gap(5, 6, 1)}));
  EXPECT_EQ(StreamLedger::restore({}, 0, {one, overlapping}, {}).error().code, Errc::corrupt);
  EXPECT_EQ(StreamLedger::restore({}, 0, {backwards}, {}).error().code, Errc::corrupt);
  LedgerGap stray = gap(5, 6, 1);
  stray.range.before = hash_of(4, 1);
  EXPECT_EQ(StreamLedger::restore({}, 0, {one}, {stray}).error().code, Errc::corrupt);
  EXPECT_EQ(StreamLedger::restore({}, 0, {}, {{{0, 3, {}, {}}, {1, 1}, 1, {}}}).error().code,
            Errc::corrupt);
}

TEST(StreamLedger, OneGapTooManyIsNotYetAndOneThatSpansThemIsTaken) {
  std::vector<LedgerGap> gaps;
  std::vector<Range> applied;
  for (std::uint64_t i = 0; i < kGapsPerStreamMax; ++i) {
    const std::uint64_t n = 1 + 2 * i;
    gaps.push_back(gap(n, n, n));
    applied.push_back({n + 1, n + 1, hash_of(n), hash_of(n + 1)});
  }
  StreamLedger ledger = StreamLedger::restore({}, 0, applied, gaps).value();
  const std::uint64_t next = 2 * kGapsPerStreamMax + 1;
  EXPECT_EQ(ledger.add_gap(gap(next, next, 9999)).outcome, Outcome::too_many_holes);
  EXPECT_EQ(ledger.add_gap(gap(1, next, 10000)).outcome, Outcome::applied);
  EXPECT_EQ(ledger.gap_records().size(), 1u);
}

TEST(StreamLedger, HolesAreWhatIsNeitherAppliedNorGoneUpToTheHighestKnown) {
  StreamLedger ledger({});
  EXPECT_TRUE(ledger.holes(10).empty());
  batch(ledger, 3);
  ledger.add_gap(gap(5, 6, 1));
  ledger.raise_sealed(9, hash_of(9));
  const Hole first{{}, 1, 2, Digest{}, hash_of(2)};
  const Hole second{{}, 4, 4, hash_of(3), hash_of(4)};
  const Hole tail{{}, 7, 9, hash_of(6), hash_of(9)};
  EXPECT_EQ(ledger.holes(10), (std::vector{first, second, tail}));
  EXPECT_EQ(ledger.holes(2), (std::vector{first, second}));
  for (std::uint64_t n : {1, 2, 4, 7, 8, 9}) batch(ledger, n);
  EXPECT_FALSE(ledger.has_holes());
}

TEST(StreamLedger, TheLastPossibleNumberHasNoTailBehindIt) {
  StreamLedger ledger({});
  batch(ledger, ~0ull);
  EXPECT_EQ(ledger.holes(10), std::vector{(Hole{{}, 1, ~0ull - 1, Digest{}, hash_of(~0ull - 1)})});
  EXPECT_TRUE(ledger.unsettled(~0ull, ~0ull).empty());
}

TEST(StreamLedger, UnsettledAreThePartsOfARange) {
  StreamLedger ledger({});
  for (std::uint64_t n : {3, 4, 8}) batch(ledger, n);
  using Pieces = std::vector<StreamLedger::Piece>;
  EXPECT_EQ(ledger.unsettled(1, 9), (Pieces{{1, 2}, {5, 7}, {9, 9}}));
  EXPECT_EQ(ledger.unsettled(4, 6), (Pieces{{5, 6}}));
  EXPECT_EQ(ledger.unsettled(3, 4), Pieces{});
  EXPECT_EQ(ledger.unsettled(20, 21), (Pieces{{20, 21}}));
}

TEST(StreamLedger, AHeadThatContradictsAnEdgeChangesNothing) {
  StreamLedger ledger({});
  batch(ledger, 1);
  batch(ledger, 4);
  EXPECT_EQ(ledger.raise_sealed(3, hash_of(3, 1)), (Contradiction{3, hash_of(3), hash_of(3, 1)}));
  EXPECT_EQ(ledger.raise_sealed(3, hash_of(3)), std::nullopt);
  EXPECT_EQ(ledger.raise_sealed(4, Digest{}), std::nullopt) << "says nothing";
  EXPECT_EQ(ledger.sealed(), 4u);
}

// Otherwise a stream with one wide gap could grow a range for every second batch of it.
TEST(StreamLedger, WhatArrivesInsideGapsIsBoundedAndSettledAllTheSame) {
  StreamLedger ledger({});
  ledger.add_gap(gap(1, 100'000, 1));
  std::uint64_t n = 3;
  while (batch(ledger, n) == Outcome::applied) n += 2;
  EXPECT_EQ(ledger.applied().size(), kAppliedRangesMax - 1);
  EXPECT_EQ(batch(ledger, n), Outcome::too_many_holes);
  EXPECT_EQ(ledger.settled(), (Intervals{interval(1, 100'000)}));
  EXPECT_EQ(batch(ledger, 4), Outcome::applied) << "it brings no further range";
}

TEST(StreamLedger, ClosingGivesEveryHoleItsGapAlsoWhenTheirNumberIsAtTheLimit) {
  std::vector<LedgerGap> gaps;
  std::vector<Range> applied;
  for (std::uint64_t i = 0; i < kGapsPerStreamMax; ++i) {
    const std::uint64_t n = 1 + 2 * i;
    gaps.push_back(gap(n, n, n));
    applied.push_back({n + 1, n + 1, hash_of(n), hash_of(n + 1)});
  }
  StreamLedger ledger = StreamLedger::restore({}, 0, applied, gaps).value();
  const std::uint64_t top = 2 * kGapsPerStreamMax;
  batch(ledger, top + 2);
  batch(ledger, top + 5);
  ledger.close({});
  EXPECT_EQ(ledger.settled(), (Intervals{interval(1, top + 5)}));
  EXPECT_EQ(ledger.gap_records().size(), kGapsPerStreamMax + 2);
}

}  // namespace
}  // namespace postern::store
