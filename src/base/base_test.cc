#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/random.h"

namespace postern {
namespace {

TEST(Hex, RoundTripsAndRefusesWhatIsNotHex) {
  const Bytes bytes = to_bytes(std::string_view("\x00\xff\x10", 3));
  EXPECT_EQ(to_hex(bytes), "00ff10");
  EXPECT_EQ(from_hex("00FF10"), bytes);
  EXPECT_EQ(from_hex("0").error().code, Errc::invalid);
  EXPECT_EQ(from_hex("0g").error().code, Errc::invalid);
}

TEST(Cursor, ReadsBackWhatItWrote) {
  Writer out;
  out.u8(7).u16(0x1234).u32(0xdeadbeef).u64(0x0123456789abcdef).i64(-5).bytes(as_bytes("end"));
  Reader in(out.written());
  EXPECT_EQ(in.u8(), 7);
  EXPECT_EQ(in.u16(), 0x1234);
  EXPECT_EQ(in.u32(), 0xdeadbeef);
  EXPECT_EQ(in.u64(), 0x0123456789abcdefu);
  EXPECT_EQ(in.i64(), -5);
  EXPECT_EQ(as_text(in.view(3)), "end");
  EXPECT_TRUE(in.exhausted());
}

// A peer decides how many bytes arrive: whatever is missing must be noticed, and stay noticed.
TEST(Cursor, FailsForGoodPastTheEnd) {
  Writer out;
  out.u32(1);
  Reader in(out.written());
  EXPECT_EQ(in.u64(), 0u);
  EXPECT_TRUE(in.failed());
  EXPECT_EQ(in.u8(), 0u);
  EXPECT_TRUE(in.failed());
  EXPECT_FALSE(in.exhausted());
}

// The check value that every CRC-32C implementation must give (RFC 3720 B.4: 32 zero bytes too).
TEST(Crc32c, GivesThePublishedValues) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(Bytes(32)), 0x8a9136aau);
  const std::string text = "the same, whether in one piece or two";
  EXPECT_EQ(crc32c(as_bytes(text).subspan(5), crc32c(as_bytes(text).first(5))),
            crc32c(as_bytes(text)));
}

TEST(Quantity, ReadsDurationsAndSizesWithUnitsOnly) {
  EXPECT_EQ(parse_duration("30s"), Duration(std::chrono::seconds(30)));
  EXPECT_EQ(parse_duration("250ms"), Duration(std::chrono::milliseconds(250)));
  EXPECT_FALSE(parse_duration("30"));
  EXPECT_FALSE(parse_duration("s"));
  EXPECT_FALSE(parse_duration("99999999999999999999d"));
  EXPECT_EQ(parse_bytes("10GiB"), 10ull << 30);
  EXPECT_EQ(parse_bytes("4096"), 4096u);
  EXPECT_FALSE(parse_bytes("10 potatoes"));
  EXPECT_EQ(format_duration(std::chrono::minutes(5)), "5m");
  EXPECT_EQ(format_bytes(10ull << 30), "10.0 GiB");
}

TEST(Clock, WritesTimesAsRfc3339) {
  EXPECT_EQ(to_rfc3339(wall_from_ms(1'800'000'000'123)), "2027-01-15T08:00:00.123Z");
}

TEST(Random, TheSameSeedGivesTheSameNumbers) {
  SeededRandom a(42), b(42), c(43);
  const auto first = a.u64();
  EXPECT_EQ(first, b.u64());
  EXPECT_NE(first, c.u64());
}

TEST(Log, OneEventIsOnePrintableLine) {
  std::string seen;
  Log log(Level::info, [&](Level, std::string_view text) { seen = text; });
  log.debug("not this one");
  EXPECT_EQ(seen, "");
  log.warning("peer says '{}'", "a\nfake line\x1b[31m");
  EXPECT_EQ(seen, "peer says 'a fake line [31m'");
}

TEST(ConstantTime, EqualOnlyWhenEverythingIs) {
  EXPECT_TRUE(equal_constant_time(as_bytes("abc"), as_bytes("abc")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("abd")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("ab")));
}

class PosixDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "postern-disk-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  PosixDisk disk_;
};

TEST_F(PosixDiskTest, WritesWholeFilesAtomicallyWithTheirMode) {
  ASSERT_TRUE(disk_.make_directories(folder_ / "a" / "b"));
  const auto path = folder_ / "a" / "b" / "key";
  ASSERT_TRUE(disk_.write_file(path, as_bytes("one"), 0600));
  ASSERT_TRUE(disk_.write_file(path, as_bytes("two"), 0600));
  EXPECT_EQ(disk_.read_file(path), to_bytes("two"));
  EXPECT_EQ(static_cast<unsigned>(std::filesystem::status(path).permissions()), 0600u);
  EXPECT_EQ(disk_.list(folder_ / "a" / "b"), std::vector<std::string>{"key"});
}

TEST_F(PosixDiskTest, NamesTheFileThatIsMissing) {
  auto missing = disk_.read_file(folder_ / "nothing");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("nothing"), std::string::npos);
}

TEST_F(PosixDiskTest, ReadsFewerBytesOnlyAtTheEnd) {
  auto file = disk_.open(folder_ / "f", Disk::Open::create_new);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write_at(4, as_bytes("data")));
  std::array<std::byte, 16> out{};
  EXPECT_EQ((*file)->read_at(0, out), 8u);
  EXPECT_EQ((*file)->read_at(100, out), 0u);
}

}  // namespace
}  // namespace postern
