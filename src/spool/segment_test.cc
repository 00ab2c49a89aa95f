#include "spool/segment.h"

#include <gtest/gtest.h>

#include "base/fake_disk.h"

namespace postern::spool {
namespace {

wire::StreamKey stream(std::uint8_t node = 1) {
  wire::StreamKey key;
  key.node.bytes.fill(std::byte{node});
  key.epoch = {1, 7};
  key.lane = wire::Lane::metric;
  return key;
}

/// A segment file of groups: each inner number is the content size of a batch, each group one sync.
struct Built {
  Bytes file;
  std::vector<std::uint64_t> offsets;
  std::vector<std::uint64_t> group_ends;
};
Built build(const std::vector<std::vector<std::size_t>>& groups, std::uint64_t number = 3) {
  Built built;
  built.file = encode(SegmentHeader{number, {}});
  std::uint64_t sequence = 0, synced = 0;
  for (const auto& group : groups) {
    for (const std::size_t size : group) {
      const Bytes content(size, std::byte{static_cast<unsigned char>(size)});
      built.offsets.push_back(built.file.size());
      Writer out;
      write_record_header(
          out, {static_cast<std::uint32_t>(size), Kind::batch, stream(), synced, ++sequence, {}},
          {number, built.file.size()}, content);
      out.bytes(content);
      built.file.insert(built.file.end(), out.written().begin(), out.written().end());
    }
    synced = built.file.size();
    built.group_ends.push_back(synced);
  }
  return built;
}

Scan scan(const Bytes& bytes, std::optional<std::uint64_t> told_end = {},
          std::uint64_t number = 3) {
  FakeDisk disk;
  disk.set_contents("d/f", bytes);
  auto file = disk.open("d/f", Disk::Open::read);
  auto result = scan_segment(**file, number, told_end);
  EXPECT_TRUE(result);
  return *result;
}

TEST(SegmentHeader, ReadsBackAndIsOfOneSegmentOnly) {
  const SegmentHeader header{9, {{8, 1000}, {5, 148}}};
  const Bytes bytes = encode(header);
  ASSERT_EQ(bytes.size(), kSegmentHeaderBytes);
  EXPECT_EQ(*decode_segment_header(bytes, 9), header);
  EXPECT_EQ(decode_segment_header(bytes, 8).error().code, Errc::corrupt);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(decode_segment_header(ByteView(bytes).first(size), 9).error().code, Errc::corrupt);
}

TEST(Scan, ReadsWhatWasWritten) {
  const Built built = build({{10, 0, 300'000}, {20}});
  const Scan found = scan(built.file);
  ASSERT_EQ(found.records.size(), 4u);
  EXPECT_EQ(found.records[2].offset, built.offsets[2]);
  EXPECT_EQ(found.records[2].header.length, 300'000u);
  EXPECT_EQ(found.records[3].header.synced, built.group_ends[0]);
  EXPECT_EQ(found.end, built.file.size());
  EXPECT_EQ(found.damaged_bytes(), 0u);
}

// A crash can stop the writer after any byte.
TEST(Scan, EveryTornTailIsCutAndNeverDamage) {
  const Built built = build({{10, 20}, {30}, {5, 400, 7}});
  for (std::size_t size = 0; size <= built.file.size(); ++size) {
    const Scan found =
        scan(Bytes(built.file.begin(), built.file.begin() + static_cast<std::ptrdiff_t>(size)));
    const auto ends = std::count_if(built.offsets.begin() + 1, built.offsets.end(),
                                    [&](std::uint64_t offset) { return offset <= size; });
    EXPECT_EQ(found.records.size(),
              static_cast<std::size_t>(ends) + (size == built.file.size() ? 1 : 0))
        << size;
    EXPECT_EQ(found.damaged_bytes(), 0u) << size;
    EXPECT_LE(found.end, size);
  }
}

// A later sync returned, so these bytes had been acknowledged: they may not vanish unnoticed.
TEST(Scan, AnyFlippedBitBeforeTheLastAppendIsDamageAndCostsOneRecord) {
  const Built built = build({{10, 20}, {30}, {40}});
  for (std::uint64_t at = 0; at < built.group_ends[1]; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Bytes bytes = built.file;
      bytes[at] ^= static_cast<std::byte>(1u << bit);
      const Scan found = scan(bytes);
      EXPECT_GT(found.damaged_bytes(), 0u) << at;
      EXPECT_EQ(found.records.size(), at < kSegmentHeaderBytes ? 4u : 3u) << at;
      EXPECT_EQ(found.end, bytes.size());
    }
  }
}

TEST(Scan, ATornAppendLosesAllFromItsFirstUnreadableRecordOn) {
  const Built built = build({{10}, {20, 30, 40}});
  Bytes bytes = built.file;
  bytes[built.offsets[2] + 100] ^= std::byte{1};
  const Scan found = scan(bytes);
  EXPECT_EQ(found.records.size(), 2u);
  EXPECT_EQ(found.end, built.offsets[2]);
  EXPECT_EQ(found.damaged_bytes(), 0u);
  // The same bytes in a segment that is known to end behind them had been synced.
  const Scan told = scan(bytes, bytes.size());
  EXPECT_EQ(told.records.size(), 3u);
  EXPECT_EQ(told.damaged_bytes(), built.offsets[3] - built.offsets[2]);
}

TEST(Scan, NothingBehindAToldEndExists) {
  const Built built = build({{10}, {20}});
  EXPECT_EQ(scan(built.file, built.group_ends[0]).records.size(), 1u);
  EXPECT_EQ(scan(built.file, 0).records.size(), 0u);
  EXPECT_EQ(scan(built.file, 0).damaged_bytes(), 0u);
  EXPECT_EQ(scan(built.file, built.file.size() + 9).damaged_bytes(), 9u) << "the file is too short";
}

// A child decides what a batch holds: it must not be able to smuggle in records of others.
TEST(Scan, ARecordInsideAContentIsNoRecord) {
  const Built inner = build({{10}, {50}});
  Bytes bytes = encode(SegmentHeader{3, {}});
  for (int i = 0; i < 2; ++i) {
    Writer out;
    write_record_header(out,
                        {static_cast<std::uint32_t>(inner.file.size()),
                         Kind::batch,
                         stream(),
                         i == 0 ? 0 : bytes.size(),
                         1,
                         {}},
                        {3, bytes.size()}, inner.file);
    out.bytes(inner.file);
    bytes.insert(bytes.end(), out.written().begin(), out.written().end());
  }
  bytes[kSegmentHeaderBytes] ^= std::byte{1};
  EXPECT_EQ(scan(bytes).records.size(), 1u);
  EXPECT_GT(scan(bytes).damaged_bytes(), 0u);
}

}  // namespace
}  // namespace postern::spool
