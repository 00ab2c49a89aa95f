#include "spool/spool.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "spool/test_spool.h"

namespace postern::spool {
namespace {

TEST(Spool, HoldsInOrderWhatItReturnedForAndReadsItBack) {
  Fixture f;
  ASSERT_TRUE(f.open());
  EXPECT_TRUE(f.files().empty()) << "an unused spool has no segment";
  const std::vector<Spool::Append> group{batch(1), batch(2, 200'000), batch(3, 0),
                                         batch(4, 5, stream(2))};
  const auto syncs = f.disk.syncs();
  auto locations = f.spool->append(group);
  ASSERT_TRUE(locations);
  EXPECT_EQ(f.disk.syncs(), syncs + 1) << "one sync for all of them";
  ASSERT_TRUE(f.append(batch(5)));
  for (std::size_t i = 0; i < group.size(); ++i)
    EXPECT_EQ(*f.spool->read((*locations)[i]), *group[i].message);
  EXPECT_EQ(f.spool->usage().entries, 5u);

  f.cut_power();
  ASSERT_TRUE(f.open());
  ASSERT_EQ(f.sequences(), (Sequences{1, 2, 3, 4, 5}));
  EXPECT_EQ(f.entries[3].stream, stream(2));
  EXPECT_EQ(f.entries[3].hash, batch(4).hash);
  EXPECT_EQ(f.entries[1].location, (*locations)[1]);
  for (std::size_t i = 0; i < group.size(); ++i)
    EXPECT_EQ(*f.spool->read(f.entries[i].location), *group[i].message);
  EXPECT_TRUE(std::none_of(f.lines.begin(), f.lines.end(),
                           [](auto& line) { return line.contains("unreadable"); }));
}

TEST(Spool, OpensAfterACrashAtAnyByte) {
  Fixture whole;
  ASSERT_TRUE(whole.open());
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(whole.append(batch(n, 40)));
  const Bytes file = whole.disk.contents(whole.segment(1));
  for (std::size_t size = 0; size <= file.size(); ++size) {
    Fixture f;
    f.disk.set_contents(f.segment(1),
                        Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)));
    ASSERT_TRUE(f.open()) << size << f.error.message;
    const std::size_t records = size < kSegmentHeaderBytes ? 0 : (size - kSegmentHeaderBytes) / 126;
    EXPECT_EQ(f.entries.size(), records) << size;
    EXPECT_EQ(f.spool->usage().quarantined, 0u);
    EXPECT_EQ(f.disk.contents(f.segment(1)).size(),
              records == 0 ? 0 : kSegmentHeaderBytes + records * 126);
    ASSERT_TRUE(f.append(batch(9)));
    f.cut_power();
    ASSERT_TRUE(f.open());
    EXPECT_EQ(f.entries.size(), records + 1) << size;
  }
}

TEST(Spool, DamageIsNoticedCountedAndCostsOnlyWhatItCovers) {
  Fixture whole;
  ASSERT_TRUE(whole.open());
  for (std::uint64_t n = 1; n <= 3; ++n) ASSERT_TRUE(whole.append(batch(n, 40)));
  const Bytes file = whole.disk.contents(whole.segment(1));
  for (std::size_t at = kSegmentHeaderBytes + 126; at < kSegmentHeaderBytes + 252; ++at) {
    Fixture f;
    Bytes damaged = file;
    damaged[at] ^= std::byte{0x10};
    f.disk.set_contents(f.segment(1), damaged);
    ASSERT_TRUE(f.open());
    EXPECT_EQ(f.sequences(), (Sequences{1, 3})) << at;
    EXPECT_EQ(f.spool->usage().quarantined, 1u);
    ASSERT_FALSE(f.lines.empty());
    EXPECT_TRUE(f.lines[0].contains("asked for again")) << f.lines[0];

    // A restart serves the same, an append leaves the file alone, and releasing all puts it aside.
    ASSERT_TRUE(f.append(batch(9)));
    f.cut_power();
    ASSERT_TRUE(f.open());
    EXPECT_EQ(f.sequences(), (Sequences{1, 3, 9}));
    EXPECT_EQ(f.disk.contents(f.segment(1)), damaged);
    for (const Entry& entry : f.entries) f.spool->release({&entry.location, 1});
    EXPECT_EQ(f.files(), (std::vector<std::string>{"0000000000000001.quarantine"}));
    f.spool.reset();
    ASSERT_TRUE(f.open());
    EXPECT_EQ(f.spool->usage().quarantined, 1u) << "still to be seen";
    ASSERT_TRUE(f.append(batch(10)));
    EXPECT_EQ(f.files().size(), 2u);
  }
}

TEST(Spool, DamageInTheLastRecordsOfAClosedSegmentIsNoticedToo) {
  Fixture f;
  f.options.segment_bytes = 500;
  ASSERT_TRUE(f.open());
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(f.append(batch(n)));
  ASSERT_EQ(f.files().size(), 4u);
  f.cut_power();  // no index was written
  Bytes bytes = f.disk.contents(f.segment(2));
  bytes.back() ^= std::byte{1};
  f.disk.set_contents(f.segment(2), bytes);
  ASSERT_TRUE(f.open());
  EXPECT_EQ(f.sequences(), (Sequences{1, 3, 4}));
  EXPECT_EQ(f.spool->usage().quarantined, 1u);
  EXPECT_TRUE(*f.disk.exists(kFolder / "0000000000000002.quarantine"));
}

TEST(Spool, SaysCorruptWhenARecordWentBadUnderIt) {
  Fixture f;
  ASSERT_TRUE(f.open());
  ASSERT_TRUE(f.append(batch(1)));
  f.spool.reset();
  ASSERT_TRUE(f.open());
  ASSERT_EQ(f.entries.size(), 1u);
  Bytes bytes = f.disk.contents(f.segment(1));
  bytes.back() ^= std::byte{1};
  f.disk.set_contents(f.segment(1), bytes);
  EXPECT_EQ(f.spool->read(f.entries[0].location).error().code, Errc::corrupt);
}

TEST(Spool, RefusesToTouchASegmentOfANewerVersion) {
  Fixture f;
  Bytes header = encode(SegmentHeader{1, {}});
  header[4] = std::byte{2};
  Writer out;
  out.bytes(ByteView(header).first(144)).u32(crc32c(ByteView(header).first(144)));
  f.disk.set_contents(f.segment(1), out.take());
  EXPECT_FALSE(f.open());
  EXPECT_EQ(f.error.code, Errc::invalid);
  EXPECT_TRUE(f.error.message.contains("version 2")) << f.error.message;
}

// ---------------------------------------------------------------- fail the Nth

/// Appends until each went through, as a caller does; gives back those that were confirmed.
std::set<std::uint64_t> append_all(Fixture& f, std::uint64_t first, std::uint64_t last,
                                   bool retry) {
  std::set<std::uint64_t> confirmed;
  for (std::uint64_t n = first; n <= last; n += 2) {
    const std::vector<Spool::Append> group{batch(n, 70'000), batch(n + 1, 50)};
    for (int attempt = 0; attempt < (retry ? 3 : 1); ++attempt)
      if (f.spool->append(group)) {
        confirmed.insert({n, n + 1});
        break;
      }
  }
  return confirmed;
}

void expect_confirmed_once(const Fixture& f, const std::set<std::uint64_t>& confirmed,
                           const std::string& when) {
  const Sequences found = f.sequences();
  const std::set<std::uint64_t> unique(found.begin(), found.end());
  for (const std::uint64_t n : confirmed) EXPECT_TRUE(unique.contains(n)) << when << ": lost " << n;
  EXPECT_EQ(unique.size(), found.size()) << when << ": something is there twice";
  EXPECT_EQ(f.spool->usage().quarantined, 0u) << when;
  for (const Entry& entry : f.entries) {
    const auto message = f.spool->read(entry.location);
    ASSERT_TRUE(message) << when;
    EXPECT_EQ(message->empty() ? 0u : std::to_integer<std::uint64_t>((*message)[0]), entry.sequence)
        << when;
  }
}

class FailTheNth : public testing::TestWithParam<FakeDisk::Failing> {};

TEST_P(FailTheNth, AppendKeepsWhatItReturnedFor) {
  const bool once = GetParam() == FakeDisk::Failing::once;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (std::uint64_t nth = 1;; ++nth) {
      Fixture f(seed);
      f.options.segment_bytes = 150'000;
      ASSERT_TRUE(f.open());
      auto confirmed = append_all(f, 1, 2, true);
      f.disk.fail_at(nth, GetParam());
      confirmed.merge(append_all(f, 3, 8, once));
      const bool failed = f.disk.failed();
      if (once) {
        EXPECT_EQ(confirmed.size(), 8u) << "one failure is survived by trying again";
      }
      f.cut_power();
      ASSERT_TRUE(f.open());
      expect_confirmed_once(f, confirmed, fmt::format("seed {} call {}", seed, nth));
      // And the spool goes on.
      EXPECT_EQ(append_all(f, 9, 10, false).size(), 2u);
      if (!failed) break;
    }
  }
}

// A sync that fails leaves bytes which programs can read and the disk does not have. A process
// that starts after it sees them: it may report them only when it has made them durable.
TEST(Spool, WhatOpenReportsSurvivesAlthoughASyncFailedBefore) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    for (std::uint64_t nth = 1; nth <= 10; ++nth) {
      Fixture f(seed);
      ASSERT_TRUE(f.open());
      f.disk.fail_at(nth, FakeDisk::Failing::from_then_on);
      (void)f.append(batch(1, 5000));
      (void)f.append(batch(2, 5000));
      f.spool.reset();
      f.disk.heal();
      ASSERT_TRUE(f.open());
      const Sequences reported = f.sequences();
      f.cut_power();
      ASSERT_TRUE(f.open());
      EXPECT_EQ(f.sequences(), reported) << seed << " " << nth;
    }
  }
}

// The end of a segment whose tail is still there must be known although the segment that stated it
// first is gone.
TEST(Spool, ATailIsNotForgottenWithTheSegmentThatToldOfIt) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Fixture f(seed);
    f.options.segment_bytes = 380;  // the small ones share the first, the others stand alone
    ASSERT_TRUE(f.open());
    ASSERT_TRUE(f.append(batch(1, 20)));
    f.disk.fail_at(2, FakeDisk::Failing::from_then_on);
    EXPECT_FALSE(f.append(batch(2, 20)));
    f.disk.heal();
    std::vector<Location> second;
    for (std::uint64_t n = 2; n <= 4; ++n) {
      f.disk.fail_at(1);  // another attempt to cut it
      auto locations = f.append(batch(n));
      ASSERT_TRUE(locations && f.disk.failed());
      if (n == 2) second = *locations;
      if (n == 3) f.spool->release(second);
    }
    f.cut_power();
    ASSERT_TRUE(f.open());
    EXPECT_EQ(f.sequences(), (Sequences{1, 3, 4})) << seed;
    EXPECT_EQ(f.spool->usage().quarantined, 0u) << seed;
  }
}

// Two failures: the sync, and the cut of what the sync left. The retried batches may not come
// twice.
TEST(Spool, ATailThatCannotBeCutDoesNotComeBack) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Fixture f(seed);
    ASSERT_TRUE(f.open());
    ASSERT_TRUE(f.append(batch(1)));
    f.disk.fail_at(2, FakeDisk::Failing::from_then_on);  // the sync, the truncation
    EXPECT_FALSE(f.append(batch(2)));
    f.disk.heal();
    f.disk.fail_at(1);  // the second attempt to cut it
    ASSERT_TRUE(f.append(batch(2)));
    f.cut_power();
    ASSERT_TRUE(f.open());
    EXPECT_EQ(f.sequences(), (Sequences{1, 2})) << seed;
    EXPECT_EQ(f.spool->usage().quarantined, 0u);
  }
}

TEST_P(FailTheNth, OpenFailsWholeOrServesAll) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    for (std::uint64_t nth = 1;; ++nth) {
      Fixture f(seed);
      f.options.segment_bytes = 150'000;
      ASSERT_TRUE(f.open());
      const auto confirmed = append_all(f, 1, 6, false);
      f.spool->note_settled(stream(), settled_message("up to 0"));
      ASSERT_TRUE(f.append(batch(7)));
      // A torn tail for open() to cut.
      f.disk.fail_at(2, FakeDisk::Failing::from_then_on);
      EXPECT_FALSE(f.append(batch(8, 3000)));
      f.cut_power();

      f.disk.fail_at(nth, GetParam());
      const bool opened = f.open();
      const bool failed = f.disk.failed();
      f.disk.heal();
      if (opened) expect_confirmed_once(f, confirmed, "with a failure survived");
      f.cut_power();
      ASSERT_TRUE(f.open()) << f.error.message;
      expect_confirmed_once(f, confirmed, fmt::format("seed {} call {}", seed, nth));
      ASSERT_TRUE(f.settled.contains(stream()));
      EXPECT_EQ(to_string(*f.settled[stream()]), "up to 0");
      if (!failed) break;
    }
  }
}

TEST_P(FailTheNth, ReleaseLosesNeitherTheUnreleasedNorAPosition) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (std::uint64_t nth = 1;; ++nth) {
      Fixture f(seed);
      f.options.segment_bytes = 150'000;
      ASSERT_TRUE(f.open());
      f.spool->note_settled(stream(), settled_message("old"));
      append_all(f, 1, 8, false);
      f.spool->note_settled(stream(2), settled_message("another"));
      f.spool.reset();
      ASSERT_TRUE(f.open());
      ASSERT_EQ(f.entries.size(), 8u);

      f.spool->note_settled(stream(), settled_message("new"));
      f.disk.fail_at(nth, GetParam());
      for (std::size_t i = 0; i < 6; ++i) f.spool->release({&f.entries[i].location, 1});
      const bool failed = f.disk.failed();
      f.cut_power();
      ASSERT_TRUE(f.open());
      const auto found = f.sequences();
      EXPECT_TRUE(std::ranges::count(found, 7u) == 1 && std::ranges::count(found, 8u) == 1);
      EXPECT_EQ(to_string(*f.settled[stream(2)]), "another") << nth;
      const std::string position = to_string(*f.settled[stream()]);
      const bool something_went = found.size() < 8;
      EXPECT_TRUE(position == "new" || (position == "old" && !something_went))
          << nth << ": " << position;
      if (!failed) break;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Spool, FailTheNth,
                         testing::Values(FakeDisk::Failing::once, FakeDisk::Failing::from_then_on));

// ---------------------------------------------------------------- space

TEST(Spool, SpaceReturnsWhenASegmentHasNothingLive) {
  Fixture f;
  f.options.segment_bytes = 1000;
  ASSERT_TRUE(f.open());
  std::vector<Location> locations;
  for (std::uint64_t n = 1; n <= 40; ++n) locations.push_back((*f.append(batch(n)))[0]);
  const auto full = f.spool->usage();
  EXPECT_EQ(full.live_bytes, 40 * 186u);
  f.spool->release(std::span(locations).first(20));
  EXPECT_LT(f.spool->usage().bytes, full.bytes * 6 / 10);
  f.spool->release(std::span(locations).first(20));
  EXPECT_EQ(f.spool->usage().entries, 20u) << "releasing twice does no harm";
  f.spool->release(locations);
  EXPECT_EQ(f.spool->usage().bytes, 0u);
  EXPECT_TRUE(f.files().empty());
  EXPECT_EQ(f.spool->read(locations[0]).error().code, Errc::invalid);
}

TEST(Spool, ASettledRecordOutlivesItsSegment) {
  Fixture f;
  f.options.segment_bytes = 1000;
  ASSERT_TRUE(f.open());
  f.spool->note_settled(stream(1), settled_message("one"));
  f.spool->note_settled(stream(2), settled_message("two"));
  // Far more than one life of a segment, so that "one" is copied many times.
  for (std::uint64_t n = 1; n <= 100; ++n) {
    auto location = f.append(batch(n));
    ASSERT_TRUE(location);
    if (n == 50) f.spool->note_settled(stream(2), settled_message("two, newer"));
    f.spool->release(*location);
  }
  EXPECT_LE(f.files().size(), 2u);
  f.cut_power();
  ASSERT_TRUE(f.open());
  ASSERT_EQ(f.settled.size(), 2u);
  EXPECT_EQ(to_string(*f.settled[stream(1)]), "one");
  EXPECT_EQ(to_string(*f.settled[stream(2)]), "two, newer");
}

TEST(Spool, WritesNotedSettledWhenItIsClosed) {
  Fixture f;
  ASSERT_TRUE(f.open());
  f.spool->note_settled(stream(), settled_message("newest"));
  f.spool.reset();
  ASSERT_TRUE(f.open());
  EXPECT_EQ(to_string(*f.settled[stream()]), "newest");
}

TEST(Spool, KeepsAReserveForTheStateLaneAndThenSaysWhichLimit) {
  Fixture f;
  f.options = {100'000, 10'000};
  ASSERT_TRUE(f.open());
  std::uint64_t n = 0;
  std::vector<Location> locations;
  Result<std::vector<Location>> result;
  while ((result = f.append(batch(++n, 1000)))) locations.push_back((*result)[0]);
  EXPECT_EQ(result.error().code, Errc::exhausted);
  EXPECT_TRUE(result.error().message.contains("spool.bytes_max")) << result.error().message;
  EXPECT_LE(f.spool->usage().bytes, 85'000u);
  EXPECT_GT(f.spool->usage().bytes, 83'000u);

  const auto before_events = f.spool->usage().entries;
  while ((result = f.append(batch(++n, 1000, stream(1, wire::Lane::event)))))
    ;
  EXPECT_GE(f.spool->usage().entries, before_events + 8) << "metrics leave room for events";
  EXPECT_LE(f.spool->usage().bytes, 95'000u);
  EXPECT_TRUE(result.error().message.contains("kept for the state lane"));

  const auto important = stream(1, wire::Lane::state);
  const auto before = f.spool->usage().entries;
  while ((result = f.append(batch(++n, 1000, important))))
    ;
  EXPECT_GE(f.spool->usage().entries, before + 3);
  EXPECT_EQ(result.error().code, Errc::exhausted);
  EXPECT_LE(f.spool->usage().bytes, 100'000u);

  f.spool->release(locations);
  EXPECT_TRUE(f.append(batch(++n, 1000))) << "it recovers by itself";
}

// Space comes only when the gap record is on disk: a spool that `state` has filled would stay full.
TEST(Spool, TakesRecordsThatMakeRoomPastTheLimitAndNotWithoutEnd) {
  Fixture f;
  f.options = {100'000, 10'000};
  ASSERT_TRUE(f.open());
  const auto important = stream(1, wire::Lane::state);
  std::uint64_t n = 0;
  while (f.append(batch(++n, 1000, important)))
    ;
  Spool::Append record = batch(n, 1000, important);
  EXPECT_EQ(f.spool->admit(important.lane, 1000).error().code, Errc::exhausted);
  EXPECT_TRUE(f.spool->admit(important.lane, 1000, 1, true));
  record.makes_room = true;
  EXPECT_TRUE(f.append(record));
  Result<std::vector<Location>> result;
  while ((result = f.append(record))) ++record.sequence;
  EXPECT_EQ(result.error().code, Errc::exhausted);
  EXPECT_GT(f.spool->usage().bytes, 150'000u);
  EXPECT_LE(f.spool->usage().bytes, 100'000u + (64u << 10));
}

// All of it stands in the segment being written: that may not be held for ever.
TEST(Spool, ASmallFullSpoolWithNothingLiveLetsAppendsIn) {
  Fixture f;
  f.options = {3000, 16u << 20};
  ASSERT_TRUE(f.open());
  for (std::uint64_t n = 1; n <= 100; ++n) {
    auto location = f.append(batch(n, 1000));
    ASSERT_TRUE(location) << n << location.error().message;
    f.spool->release(*location);
  }
}

TEST(Spool, SurvivesAFullDisk) {
  Fixture f;
  ASSERT_TRUE(f.open());
  ASSERT_TRUE(f.append(batch(1, 1000)));
  f.disk.set_bytes_max(1500);
  EXPECT_EQ(f.append(batch(2, 1000)).error().code, Errc::exhausted);
  EXPECT_EQ(f.append(batch(2, 1000)).error().code, Errc::exhausted);
  f.disk.set_bytes_max(1u << 20);
  EXPECT_TRUE(f.append(batch(2, 1000)));
  f.cut_power();
  ASSERT_TRUE(f.open());
  EXPECT_EQ(f.sequences(), (Sequences{1, 2}));
}

TEST(Spool, LeavesForeignFilesAloneAndMakesItsFolder) {
  Fixture f;
  f.disk.set_contents(kFolder / "note.txt", to_bytes("mine"));
  f.disk.set_contents(kFolder / "1.log", to_bytes("mine"));
  ASSERT_TRUE(f.open());
  ASSERT_TRUE(f.append(batch(1)));
  EXPECT_EQ(to_string(f.disk.contents(kFolder / "1.log")), "mine");
  EXPECT_EQ(f.files().size(), 3u);
}

// Anything may happen, in any order: random lives of a spool against a plain list.
TEST(Spool, KeepsItsPromisesThroughRandomLives) {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    SeededRandom random(seed);
    Fixture f(seed);
    f.options.segment_bytes = 2000;
    f.options.preallocate = seed % 2 == 0;
    ASSERT_TRUE(f.open());
    std::map<std::uint64_t, Location> confirmed;  // and not released
    std::uint64_t next = 1;
    for (int step = 0; step < 80; ++step) {
      if (random.below(4) == 0)
        f.disk.fail_at(1 + random.below(6), random.below(2) == 0 ? FakeDisk::Failing::once
                                                                 : FakeDisk::Failing::from_then_on);
      switch (random.below(7)) {
        case 0:
        case 1:
          if (auto locations = f.append(batch(next, random.below(900))))
            confirmed[next++] = (*locations)[0];
          break;
        case 2:
          if (!confirmed.empty()) {
            auto one = confirmed.begin();
            std::advance(one, static_cast<std::ptrdiff_t>(random.below(confirmed.size())));
            f.spool->release({&one->second, 1});
            confirmed.erase(one);
          }
          break;
        case 3:
          f.spool->note_settled(stream(), settled_message(std::to_string(step)));
          break;
        case 4:
        case 5:
          f.spool->tidy();
          break;
        case 6:
          f.disk.heal();
          if (random.below(2) == 0)
            f.cut_power();
          else
            f.spool.reset();
          ASSERT_TRUE(f.open());
          EXPECT_EQ(f.spool->usage().quarantined, 0u);
          std::map<std::uint64_t, Location> now;
          for (const Entry& entry :
               f.entries)  // twice there when the power went while it was copied
            if (!now.emplace(entry.sequence, entry.location).second)
              f.spool->release({&entry.location, 1});
          for (const auto& [sequence, location] : confirmed)
            EXPECT_TRUE(now.contains(sequence)) << "lost " << sequence;
          confirmed = std::move(now);
          if (!confirmed.empty()) next = std::max(next, confirmed.rbegin()->first + 1);
          break;
      }
      f.disk.heal();
      for (const auto& [sequence, location] : confirmed)
        ASSERT_TRUE(f.spool->read(location)) << sequence;
    }
  }
}

}  // namespace
}  // namespace postern::spool
