#include "spool/index.h"

#include <gtest/gtest.h>

#include "spool/test_spool.h"
#include "wire/batch.h"

namespace postern::spool {
namespace {

/// A real batch message, with stamps and a payload of `payload_bytes`.
Bytes real_message(std::uint64_t sequence, std::size_t payload_bytes = 10) {
  wire::BatchHeader header;
  header.stream = stream();
  header.sequence = sequence;
  header.previous.fill(std::byte{0x77});
  header.first = wall_from_ms(1'000);
  header.last = wall_from_ms(2'000);
  header.records = 42;
  header.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
  Bytes batch = wire::encode_signed_part(header);
  batch.resize(wire::kBatchHeaderBytes + payload_bytes);
  const wire::Stamp stamps[] = {{stream(1).node, wall_from_ms(3)}, {stream(2).node, {}}};
  return wire::write_stamped(stamps, batch);
}

Summary real_summary() {
  Summary summary;
  summary.previous.fill(std::byte{0x77});
  summary.first_time = wall_from_ms(1'000);
  summary.last_time = wall_from_ms(2'000);
  summary.records = 42;
  return summary;
}

TEST(Summary, IsReadFromTheFrontOfABatchMessageOnly) {
  const Bytes message = real_message(5);
  EXPECT_EQ(summary_of(message, 5), real_summary());
  EXPECT_EQ(summary_of(ByteView(message).first(1 + 2 * 24 + 108), 5), real_summary());
  EXPECT_FALSE(summary_of(ByteView(message).first(1 + 2 * 24 + 107), 5)) << "cut short";
  EXPECT_FALSE(summary_of(message, 6)) << "another batch";
  EXPECT_FALSE(summary_of({}, 1));
}

SegmentIndex sample() {
  SegmentIndex index;
  index.number = 3;
  index.header_checksum = 0x1234;
  std::uint64_t offset = kSegmentHeaderBytes;
  for (std::uint64_t n = 1; n <= 6; ++n) {
    RecordHeader header;
    header.length = static_cast<std::uint32_t>(10 * n);
    header.stream = stream(static_cast<std::uint8_t>(1 + n % 2));
    header.sequence = n;
    header.hash.fill(static_cast<std::byte>(n));
    index.add(header, offset, n == 2 ? std::nullopt : std::optional(real_summary()));
    offset += kRecordHeaderBytes + header.length;
  }
  index.end = offset;
  return index;
}

RecordHeader settled_header(std::uint8_t node) {
  RecordHeader header;
  header.length = 4;
  header.kind = Kind::settled;
  header.stream = stream(node);
  return header;
}

TEST(SegmentIndex, ReadsAsItWasWrittenAndKnowsAStreamOnce) {
  const SegmentIndex index = sample();
  EXPECT_EQ(index.streams.size(), 2u);
  const auto read = decode_index(encode(index), 3);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->records, index.records);
  EXPECT_EQ(read->streams, index.streams);
  EXPECT_EQ(read->end, index.end);
  EXPECT_EQ(read->header_checksum, 0x1234u);
}

TEST(SegmentIndex, ListsOfSettledRecordsTheNewestOfAStream) {
  SegmentIndex index = sample();
  for (const int node : {1, 2, 1}) {
    index.add(settled_header(static_cast<std::uint8_t>(node)), index.end, std::nullopt);
    index.end += kRecordHeaderBytes + 4;
  }
  const auto read = decode_index(encode(index), 3);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->records.size(), 8u);
  EXPECT_EQ(read->records[6], index.records[7]);
  EXPECT_EQ(read->records[7], index.records[8]);
}

TEST(SegmentIndex, NoCutAndNoFlippedBitIsTakenForAnIndex) {
  const Bytes whole = encode(sample());
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(decode_index(ByteView(whole).first(size), 3)) << size;
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    Bytes flipped = whole;
    flipped[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    EXPECT_FALSE(decode_index(flipped, 3)) << bit;
  }
  EXPECT_FALSE(decode_index(whole, 4)) << "of another segment";
}

// ---------------------------------------------------------------- in a spool

void tidy_all(Spool& spool) {
  while (spool.untidy()) spool.tidy();
}

/// Four segments of two batches and a settled record each; the first three are left.
struct Indexed : Fixture {
  explicit Indexed(std::uint64_t seed = 1) : Fixture(seed) { options.segment_bytes = 1000; }

  void fill() {
    ASSERT_TRUE(open());
    for (std::uint64_t n = 1; n <= 8; n += 2) {
      spool->note_settled(stream(), settled_message(fmt::format("settled {}", n)));
      Spool::Append real = batch(n);
      real.message = std::make_shared<const Bytes>(real_message(n));
      const std::vector<Spool::Append> group{real, batch(n + 1)};
      ASSERT_TRUE(spool->append(group));
    }
    ASSERT_EQ(files().size(), 4u);
  }
  std::filesystem::path index(std::uint64_t number) const {
    return kFolder / fmt::format("{:016x}.index", number);
  }
  bool has_index(std::uint64_t number) { return *disk.exists(index(number)); }
};

TEST(SpoolIndex, IsWrittenForWhatWasLeftAndNotByAnAppend) {
  Indexed f;
  f.fill();
  EXPECT_FALSE(f.has_index(1));
  EXPECT_TRUE(f.spool->untidy());
  tidy_all(*f.spool);
  EXPECT_TRUE(f.has_index(1) && f.has_index(2) && f.has_index(3));
  EXPECT_FALSE(f.has_index(4)) << "still being written";
  f.spool.reset();
  EXPECT_TRUE(f.has_index(4)) << "an orderly end leaves all of them";
}

TEST(SpoolIndex, TellsTheSameAsTheSegmentWithoutReadingIt) {
  Indexed f;
  f.fill();
  f.cut_power();
  ASSERT_TRUE(f.open());
  const std::vector<Entry> scanned = f.entries;
  ASSERT_EQ(scanned.size(), 8u);
  EXPECT_EQ(scanned[0].summary, real_summary());
  EXPECT_FALSE(scanned[1].summary) << "no batch message";
  EXPECT_TRUE(f.has_index(1) && f.has_index(4)) << "open makes up for what is missing";
  f.spool.reset();

  // One bit of a batch turns: who reads the segment would notice.
  Bytes bytes = f.disk.contents(f.segment(2));
  bytes.back() ^= std::byte{1};
  f.disk.set_contents(f.segment(2), bytes);
  ASSERT_TRUE(f.open());
  EXPECT_EQ(f.entries, scanned);
  EXPECT_EQ(f.spool->usage().quarantined, 0u);
  EXPECT_EQ(to_string(*f.settled[stream()]), "settled 7");
}

TEST(SpoolIndex, WhatItNamesAndIsBadBecomesDamageWhenItIsRead) {
  Indexed f;
  f.fill();
  f.spool.reset();
  Bytes bytes = f.disk.contents(f.segment(2));
  bytes.back() ^= std::byte{1};
  f.disk.set_contents(f.segment(2), bytes);
  ASSERT_TRUE(f.open());
  ASSERT_EQ(f.sequences(), (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(f.spool->read(f.entries[3].location).error().code, Errc::corrupt);
  EXPECT_EQ(f.spool->usage().quarantined, 1u);
  EXPECT_FALSE(f.has_index(2));
  EXPECT_TRUE(f.lines.back().contains("cannot be read")) << f.lines.back();
  EXPECT_FALSE(f.spool->read(f.entries[3].location));
  EXPECT_EQ(f.spool->usage().quarantined, 1u) << "counted once";

  f.cut_power();
  ASSERT_TRUE(f.open());
  EXPECT_EQ(f.sequences(), (std::vector<std::uint64_t>{1, 2, 3, 5, 6, 7, 8}));
  EXPECT_EQ(f.spool->usage().quarantined, 1u);
  for (const Entry& entry : f.entries) f.spool->release({&entry.location, 1});
  EXPECT_TRUE(*f.disk.exists(kFolder / "0000000000000002.quarantine"));
}

TEST(SpoolIndex, ASettledRecordThatIsBadYieldsToTheOneBefore) {
  Indexed f;
  f.fill();
  f.spool.reset();
  Bytes bytes = f.disk.contents(f.segment(4));
  bytes[kSegmentHeaderBytes + kRecordHeaderBytes] ^= std::byte{1};
  f.disk.set_contents(f.segment(4), bytes);
  ASSERT_TRUE(f.open());
  EXPECT_EQ(to_string(*f.settled[stream()]), "settled 5");
  EXPECT_EQ(f.spool->usage().quarantined, 1u);
  EXPECT_EQ(f.entries.size(), 8u);
}

TEST(SpoolIndex, DoesNotCountWhenItIsTornOrOfAnotherSegment) {
  Indexed whole;
  whole.fill();
  whole.spool.reset();
  std::map<std::string, Bytes> files;
  for (const std::string& name : whole.files()) files[name] = whole.disk.contents(kFolder / name);
  const auto open_with = [&](auto change) {
    Indexed f;
    for (const auto& [name, bytes] : files) f.disk.set_contents(kFolder / name, bytes);
    change(f);
    EXPECT_TRUE(f.open()) << f.error.message;
    EXPECT_EQ(f.entries.size(), 8u);
    EXPECT_EQ(f.spool->usage().quarantined, 0u);
    for (const Entry& entry : f.entries) EXPECT_TRUE(f.spool->read(entry.location));
    EXPECT_TRUE(f.has_index(2)) << "written again";
  };
  const Bytes second = files["0000000000000002.index"];
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, second.size() - 1})
    open_with([&](Indexed& f) {
      f.disk.set_contents(
          f.index(2), Bytes(second.begin(), second.begin() + static_cast<std::ptrdiff_t>(size)));
    });
  open_with([&](Indexed& f) { (void)f.disk.remove(f.index(2)); });
  open_with([&](Indexed& f) { f.disk.set_contents(f.index(2), files["0000000000000003.index"]); });
  open_with([&](Indexed& f) {  // of a segment that had the number once
    SegmentIndex other = *decode_index(second, 2);
    other.header_checksum ^= 1;
    other.records.clear();
    f.disk.set_contents(f.index(2), encode(other));
  });
  open_with([&](Indexed& f) {  // a later header knows of another end
    SegmentIndex other = *decode_index(second, 2);
    other.records.pop_back();
    other.end -= 1;
    f.disk.set_contents(f.index(2), encode(other));
  });
}

TEST(SpoolIndex, OneWithoutItsSegmentGoesAndKeepsItsNumberTaken) {
  Indexed f;
  f.disk.set_contents(f.index(7), encode(sample()));
  ASSERT_TRUE(f.open());
  EXPECT_FALSE(f.has_index(7));
  ASSERT_TRUE(f.append(batch(1)));
  EXPECT_TRUE(*f.disk.exists(f.segment(8)));
  f.disk.crash();
  EXPECT_FALSE(f.has_index(7)) << "gone for good before there was anything else";
}

TEST(SpoolIndex, GoesWithItsSegment) {
  Indexed f;
  f.fill();
  f.spool.reset();
  ASSERT_TRUE(f.open());
  for (const Entry& entry : f.entries) f.spool->release({&entry.location, 1});
  for (std::uint64_t n = 1; n <= 4; ++n) EXPECT_FALSE(f.has_index(n));
}

// A crash or a failure at every call while indexes are written: nothing is lost, nothing is
// believed that is not so, and the spool goes on.
TEST(SpoolIndex, AnyFailureWhileItIsWrittenCostsNothing) {
  for (const auto how : {FakeDisk::Failing::once, FakeDisk::Failing::from_then_on}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      for (std::uint64_t nth = 1;; ++nth) {
        Indexed f(seed);
        f.fill();
        f.disk.fail_at(nth, how);
        tidy_all(*f.spool);
        const bool failed = f.disk.failed();
        EXPECT_FALSE(f.spool->untidy());
        if (seed % 2 == 0) {
          f.disk.heal();
          ASSERT_TRUE(f.append(batch(9)));
          tidy_all(*f.spool);
          EXPECT_TRUE(f.has_index(1) && f.has_index(2) && f.has_index(3)) << nth;
        }
        f.cut_power();
        ASSERT_TRUE(f.open()) << f.error.message;
        EXPECT_EQ(f.entries.size(), seed % 2 == 0 ? 9u : 8u) << seed << " " << nth;
        EXPECT_EQ(f.spool->usage().quarantined, 0u);
        for (const Entry& entry : f.entries) EXPECT_TRUE(f.spool->read(entry.location));
        EXPECT_TRUE(f.append(batch(10)));
        if (!failed) break;
      }
    }
  }
}

}  // namespace
}  // namespace postern::spool
