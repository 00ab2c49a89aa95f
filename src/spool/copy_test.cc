// Segments of which little is live are copied forward (spool.md#S34).

#include <gtest/gtest.h>

#include "base/random.h"
#include "spool/test_spool.h"

namespace postern::spool {
namespace {

void tidy_all(Spool& spool) {
  for (int i = 0; spool.untidy(); ++i) {
    ASSERT_LT(i, 1000) << "it comes to an end";
    spool.tidy();
  }
}

std::uint64_t number_in(const Bytes& message) {
  return message.empty() ? 0 : std::to_integer<std::uint64_t>(message[0]);
}

/// Three segments of ten batches each, of which each first one is still needed.
struct Sparse : Fixture {
  explicit Sparse(std::uint64_t seed = 1) : Fixture(seed) { options.segment_bytes = 2100; }

  void fill() {
    ASSERT_TRUE(open());
    for (std::uint64_t n = 1; n <= 31; ++n) {
      auto location = append(batch(n));
      ASSERT_TRUE(location);
      locations[n] = (*location)[0];
    }
    ASSERT_EQ(files().size(), 4u);
  }
  void release_most() {
    for (std::uint64_t n = 1; n <= 30; ++n)
      if (n % 10 != 1) spool->release({&locations[n], 1});
  }
  std::map<std::uint64_t, Location> locations;
};

TEST(SpoolCopy, ALongLivedBatchDoesNotPinItsSegment) {
  Sparse f;
  f.fill();
  tidy_all(*f.spool);
  f.release_most();
  const auto before = f.spool->usage();
  EXPECT_EQ(before.entries, 4u);
  tidy_all(*f.spool);
  const auto after = f.spool->usage();
  EXPECT_EQ(f.files(), (std::vector<std::string>{"0000000000000004.log"}));
  EXPECT_LT(after.bytes, before.bytes / 5);
  EXPECT_EQ(after.entries, 4u);
  EXPECT_EQ(after.live_bytes, before.live_bytes);

  // Its owner goes on to know it by the place that it was told.
  for (const std::uint64_t n : {1u, 11u, 21u, 31u}) {
    auto message = f.spool->read(f.locations[n]);
    ASSERT_TRUE(message) << message.error().message;
    EXPECT_EQ(number_in(*message), n);
  }
  f.spool->release({&f.locations[11], 1});
  f.spool->release({&f.locations[11], 1});
  EXPECT_EQ(f.spool->usage().entries, 3u);
  EXPECT_EQ(f.spool->read(f.locations[11]).error().code, Errc::invalid);

  f.disk.crash();
  ASSERT_TRUE(f.open());
  std::set<std::uint64_t> found;  // and more: what is removed may come back with the power
  for (const Entry& entry : f.entries) {
    EXPECT_EQ(number_in(*f.spool->read(entry.location)), entry.sequence);
    found.insert(entry.sequence);
  }
  for (const std::uint64_t n : {1u, 11u, 21u, 31u}) EXPECT_TRUE(found.contains(n)) << n;
}

TEST(SpoolCopy, WhatWasCopiedIsCopiedAgainWhenItsTimeComes) {
  Sparse f;
  f.fill();
  f.release_most();
  tidy_all(*f.spool);
  std::vector<Location> passing;
  for (std::uint64_t n = 32; n <= 200; ++n) {
    auto location = f.append(batch(n));
    ASSERT_TRUE(location);
    f.spool->release(*location);
    tidy_all(*f.spool);
  }
  EXPECT_LE(f.files().size(), 4u);
  EXPECT_LE(f.spool->usage().bytes, 3 * 2100u);
  for (const std::uint64_t n : {1u, 11u, 21u, 31u})
    EXPECT_EQ(number_in(*f.spool->read(f.locations[n])), n);
  EXPECT_EQ(f.spool->usage().entries, 4u);
}

TEST(SpoolCopy, AStepIsBounded) {
  Fixture f;
  f.options.segment_bytes = 64u << 20;
  ASSERT_TRUE(f.open());
  std::vector<Location> locations;
  for (std::uint64_t n = 1; n <= 70; ++n) locations.push_back((*f.append(batch(n, 1'000'000)))[0]);
  ASSERT_EQ(f.files().size(), 2u);
  f.spool->tidy();  // the index
  ASSERT_EQ(f.files().size(), 3u);
  f.spool->release(std::span(locations).first(58));
  const auto before = f.spool->usage();
  f.spool->tidy();
  EXPECT_GT(f.spool->usage().bytes, before.bytes);
  EXPECT_LE(f.spool->usage().bytes, before.bytes + (1u << 20));
  EXPECT_EQ(f.spool->usage().entries, before.entries);
  tidy_all(*f.spool);
  EXPECT_LT(f.spool->usage().bytes, 15'000'000u);
}

TEST(SpoolCopy, BelowHalfIsEnoughWhenSpaceIsShort) {
  Sparse f;
  f.options.bytes_max = 7600;
  f.fill();
  tidy_all(*f.spool);
  for (std::uint64_t n = 1; n <= 30; ++n)
    if (n % 5 > 1) f.spool->release({&f.locations[n], 1});  // 40 % stay
  tidy_all(*f.spool);
  EXPECT_LT(f.spool->usage().bytes, 7600u * 6 / 10);
  for (std::uint64_t n = 1; n <= 30; ++n)
    if (n % 5 <= 1) {
      EXPECT_TRUE(f.spool->read(f.locations[n])) << n;
    }
}

TEST(SpoolCopy, AFullDiskStopsItAndNothingElse) {
  Sparse f;
  f.fill();
  f.release_most();
  f.spool->tidy();
  std::uint64_t used = 0;
  for (const std::string& name : f.files()) used += f.disk.contents(kFolder / name).size();
  f.disk.set_bytes_max(used + 150);
  tidy_all(*f.spool);
  EXPECT_TRUE(f.spool->read(f.locations[1]));
  f.disk.set_bytes_max(1u << 20);
  ASSERT_TRUE(f.append(batch(32)));
  EXPECT_EQ(f.spool->read(f.locations[31])->size(), 100u);
  tidy_all(*f.spool);
  EXPECT_LE(f.files().size(), 2u);
}

TEST(SpoolCopy, WhatIsBadIsNotCopiedAndItsFileIsKept) {
  Sparse f;
  f.fill();
  f.release_most();
  Bytes bytes = f.disk.contents(f.segment(2));
  bytes[kSegmentHeaderBytes + kRecordHeaderBytes] ^= std::byte{1};  // of the eleventh
  f.disk.set_contents(f.segment(2), bytes);
  tidy_all(*f.spool);
  EXPECT_EQ(f.spool->usage().quarantined, 1u);
  EXPECT_EQ(f.spool->read(f.locations[11]).error().code, Errc::corrupt);
  EXPECT_TRUE(f.spool->read(f.locations[1]) && f.spool->read(f.locations[21]));
  f.spool->release({&f.locations[11], 1});
  EXPECT_TRUE(*f.disk.exists(kFolder / "0000000000000002.quarantine"));
}

// The power goes, or a call fails, at every step of it.
TEST(SpoolCopy, AnyFailureOnTheWayLosesNothing) {
  for (const auto how : {FakeDisk::Failing::once, FakeDisk::Failing::from_then_on}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      for (std::uint64_t nth = 1;; ++nth) {
        Sparse f(seed);
        f.fill();
        f.spool->note_settled(stream(), settled_message("position"));
        ASSERT_TRUE(f.append(batch(32)));
        f.release_most();
        f.disk.fail_at(nth, how);
        tidy_all(*f.spool);
        const bool failed = f.disk.failed();
        if (seed % 2 == 0) {
          f.disk.heal();
          for (const std::uint64_t n : {1u, 11u, 21u, 31u})
            EXPECT_EQ(number_in(*f.spool->read(f.locations[n])), n) << nth;
          EXPECT_EQ(f.spool->usage().entries, 5u);
          ASSERT_TRUE(f.append(batch(33)));
          tidy_all(*f.spool);
        }
        f.cut_power();
        ASSERT_TRUE(f.open()) << f.error.message;
        std::set<std::uint64_t> found;
        for (const Entry& entry : f.entries) {
          EXPECT_EQ(number_in(*f.spool->read(entry.location)), entry.sequence);
          found.insert(entry.sequence);
        }
        for (const std::uint64_t n : {1u, 11u, 21u, 31u, 32u})
          EXPECT_TRUE(found.contains(n)) << seed << " " << nth;
        EXPECT_EQ(f.spool->usage().quarantined, 0u);
        EXPECT_EQ(to_string(*f.settled[stream()]), "position");
        if (!failed) break;
      }
    }
  }
}

}  // namespace
}  // namespace postern::spool
