// Segments that are written full of zeros before they are needed (spool.md, "Pre-written
// segments").

#include <gtest/gtest.h>

#include "base/random.h"

#include "spool/test_spool.h"

namespace postern::spool {
namespace {

void tidy_all(Spool& spool) {
  while (spool.untidy()) spool.tidy();
}

struct Prepared : Fixture {
  explicit Prepared(std::uint64_t seed = 1) : Fixture(seed) { options = {100'000, 1000, true}; }
  std::uint64_t size_of(std::uint64_t number) { return disk.contents(segment(number)).size(); }
};

TEST(SpoolPrepared, TheNextSegmentIsThereBeforeItIsNeeded) {
  Prepared f;
  ASSERT_TRUE(f.open());
  ASSERT_TRUE(f.append(batch(1)));
  EXPECT_FALSE(f.spool->untidy()) << "an idle node writes no zeros";
  ASSERT_TRUE(f.append(batch(2)));
  tidy_all(*f.spool);
  EXPECT_EQ(f.size_of(2), 1000u);
  ASSERT_TRUE(f.append(batch(3)));
  ASSERT_TRUE(f.append(batch(4)));
  ASSERT_TRUE(f.append(batch(5)));
  EXPECT_EQ(f.size_of(2), 1000u) << "the fifth lies in it and it has not grown";
  EXPECT_EQ(f.size_of(1), 148u + 4 * 186);

  f.disk.crash();
  ASSERT_TRUE(f.open());
  EXPECT_EQ(f.sequences(), (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(f.size_of(2), 148u + 186) << "the zeros behind the end are nothing";
  EXPECT_EQ(f.spool->usage().quarantined, 0u);
  EXPECT_TRUE(std::none_of(f.lines.begin(), f.lines.end(),
                           [](auto& line) { return line.contains("never acknowledged"); }));
}

TEST(SpoolPrepared, AnAppendInItNeedsNoSyncOfTheFolder) {
  Prepared f;
  ASSERT_TRUE(f.open());
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(f.append(batch(n)));
  tidy_all(*f.spool);
  const auto before = f.disk.calls();
  ASSERT_TRUE(f.append(batch(5)));
  EXPECT_EQ(f.disk.calls() - before, 2u) << "a write and a sync";
}

TEST(SpoolPrepared, WhatIsLeftOfItWhenItIsLeftIsCutLater) {
  Prepared f;
  ASSERT_TRUE(f.open());
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(f.append(batch(n)));
  tidy_all(*f.spool);
  ASSERT_TRUE(f.append(batch(5)));
  ASSERT_TRUE(f.append(batch(6, 900)));
  EXPECT_EQ(f.size_of(2), 1000u);
  f.disk.crash();  // before it is cut: the next header says where it ends
  ASSERT_TRUE(f.open());
  EXPECT_EQ(f.sequences(), (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(f.spool->usage().quarantined, 0u);
  EXPECT_EQ(f.size_of(2), 148u + 186);
}

TEST(SpoolPrepared, AnUnusedOneIsRemovedAtTheEndAndAtTheStart) {
  Prepared f;
  ASSERT_TRUE(f.open());
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(f.append(batch(n)));
  tidy_all(*f.spool);
  EXPECT_TRUE(*f.disk.exists(f.segment(2)));
  f.cut_power();
  ASSERT_TRUE(f.open());
  EXPECT_FALSE(*f.disk.exists(f.segment(2)));
  for (std::uint64_t n = 5; n <= 8; ++n) ASSERT_TRUE(f.append(batch(n)));
  tidy_all(*f.spool);
  EXPECT_TRUE(*f.disk.exists(f.segment(4)));
  f.spool.reset();
  EXPECT_FALSE(*f.disk.exists(f.segment(4)));
}

TEST(SpoolPrepared, NothingIsWrittenInAdvanceWhereSpaceIsShort) {
  Prepared f;
  f.disk.set_bytes_max(4500);
  ASSERT_TRUE(f.open());
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(f.append(batch(n)));
  tidy_all(*f.spool);
  EXPECT_FALSE(*f.disk.exists(f.segment(2))) << "the file system is nearly full";

  Prepared g;
  g.options.bytes_max = 3500;
  ASSERT_TRUE(g.open());
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(g.append(batch(n)));
  tidy_all(*g.spool);
  EXPECT_FALSE(*g.disk.exists(g.segment(2))) << "the spool is half full";
}

TEST(SpoolPrepared, NeverCarriesTheFilesPastTheLimit) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SeededRandom random(seed);
    Prepared f(seed);
    f.options.bytes_max = 8000;
    ASSERT_TRUE(f.open());
    std::vector<Location> live;
    for (std::uint64_t n = 1; n <= 200; ++n) {
      if (auto location = f.append(batch(n, random.below(700)))) live.push_back((*location)[0]);
      if (random.below(3) == 0 && !live.empty()) {
        f.spool->release({&live.front(), 1});
        live.erase(live.begin());
      }
      if (random.below(3) != 0) f.spool->tidy();
      // What is copied forward may pass it by half a segment.
      ASSERT_LE(f.spool->usage().bytes, 8500u) << seed << " " << n;
    }
    EXPECT_FALSE(live.empty());
  }
}

// The power goes, or a call fails, at every step of writing, using, leaving and cutting one.
TEST(SpoolPrepared, AnyFailureOnTheWayLosesNothingAndClaimsNothing) {
  for (const auto how : {FakeDisk::Failing::once, FakeDisk::Failing::from_then_on}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      for (std::uint64_t nth = 1;; ++nth) {
        Prepared f(seed);
        ASSERT_TRUE(f.open());
        std::set<std::uint64_t> confirmed;
        f.disk.fail_at(nth, how);
        for (std::uint64_t n = 1; n <= 9; ++n) {
          for (int attempt = 0; attempt < 3 && !confirmed.contains(n); ++attempt)
            if (f.append(batch(n, n % 3 == 0 ? 300 : 100))) confirmed.insert(n);
          tidy_all(*f.spool);
        }
        const bool failed = f.disk.failed();
        if (how == FakeDisk::Failing::once) {
          EXPECT_EQ(confirmed.size(), 9u) << nth;
        }
        if (seed % 3 == 0) f.spool.reset();
        f.cut_power();
        ASSERT_TRUE(f.open()) << f.error.message;
        const auto found = f.sequences();
        const std::set<std::uint64_t> unique(found.begin(), found.end());
        EXPECT_EQ(unique.size(), found.size());
        for (const std::uint64_t n : confirmed)
          EXPECT_TRUE(unique.contains(n)) << seed << " " << nth;
        EXPECT_EQ(f.spool->usage().quarantined, 0u) << seed << " " << nth;
        for (const Entry& entry : f.entries) EXPECT_TRUE(f.spool->read(entry.location));
        EXPECT_TRUE(f.append(batch(20)));
        if (!failed) break;
      }
    }
  }
}

}  // namespace
}  // namespace postern::spool
