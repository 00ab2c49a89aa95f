#include "base/fake_disk.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

std::unique_ptr<File> create(FakeDisk& disk, const std::string& path) {
  EXPECT_TRUE(disk.make_directories("d"));
  auto file = disk.open(path, Disk::Open::create_new);
  EXPECT_TRUE(file);
  return std::move(*file);
}

TEST(FakeDisk, KeepsWhatWasSyncedAndLosesTheRestByChance) {
  bool lost = false, kept = false, torn = false;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    FakeDisk disk(seed);
    auto file = create(disk, "d/f");
    const Bytes safe(600, std::byte{1}), risked(2000, std::byte{2});
    ASSERT_TRUE(file->write_at(0, safe));
    ASSERT_TRUE(file->sync());
    ASSERT_TRUE(disk.sync_directory("d"));
    ASSERT_TRUE(file->write_at(600, risked));
    disk.crash();
    const Bytes now = disk.contents("d/f");
    ASSERT_GE(now.size(), 600u) << seed;
    EXPECT_TRUE(std::equal(safe.begin(), safe.end(), now.begin())) << seed;
    const auto left = std::count(now.begin(), now.end(), std::byte{2});
    (left == 0 ? lost : left == 2000 ? kept : torn) = true;
    EXPECT_FALSE(file->sync()) << "a file from before the crash is dead";
  }
  EXPECT_TRUE(lost && kept && torn);
}

TEST(FakeDisk, MayLoseANameUntilItsDirectoryIsSynced) {
  int vanished = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    FakeDisk disk(seed);
    auto file = create(disk, "d/f");
    ASSERT_TRUE(file->sync());
    disk.crash();
    vanished += *disk.exists("d/f") ? 0 : 1;
  }
  EXPECT_GT(vanished, 0);
  EXPECT_LT(vanished, 20);
}

TEST(FakeDisk, FailsTheCallItWasToldTo) {
  FakeDisk disk;
  auto file = create(disk, "d/f");
  disk.fail_at(2);
  EXPECT_TRUE(file->sync());
  EXPECT_FALSE(file->sync());
  EXPECT_TRUE(file->sync());
  disk.fail_at(1, FakeDisk::Failing::from_then_on, Errc::exhausted);
  EXPECT_EQ(file->sync().error().code, Errc::exhausted);
  EXPECT_EQ(disk.list("d").error().code, Errc::exhausted);
  disk.heal();
  EXPECT_TRUE(disk.list("d"));
}

// A program that calls sync again after a failure is told "fine" by the kernel, and is wrong.
TEST(FakeDisk, DoesNotSayAgainThatASyncFailed) {
  bool lied = false;
  for (std::uint64_t seed = 1; seed <= 20 && !lied; ++seed) {
    FakeDisk disk(seed);
    auto file = create(disk, "d/f");
    ASSERT_TRUE(disk.sync_directory("d"));
    ASSERT_TRUE(file->write_at(0, Bytes(100)));
    disk.fail_at(1);
    EXPECT_FALSE(file->sync());
    EXPECT_TRUE(file->sync());
    EXPECT_EQ(disk.contents("d/f").size(), 100u);
    disk.crash();
    lied = disk.contents("d/f").empty();
  }
  EXPECT_TRUE(lied);
}

TEST(FakeDisk, IsFullAtItsLimit) {
  FakeDisk disk;
  disk.set_bytes_max(100);
  auto file = create(disk, "d/f");
  EXPECT_TRUE(file->write_at(0, Bytes(100)));
  EXPECT_EQ(file->write_at(100, Bytes(1)).error().code, Errc::exhausted);
  EXPECT_EQ(*disk.free_bytes("d"), 0u);
  EXPECT_TRUE(disk.remove("d/f"));
  EXPECT_EQ(*disk.free_bytes("d"), 100u);
}

TEST(FakeDisk, WritesWholeFilesAtomicallyWhateverFails) {
  for (std::uint64_t n = 1;; ++n) {
    FakeDisk disk(n);
    ASSERT_TRUE(disk.make_directories("d"));
    ASSERT_TRUE(disk.write_file("d/f", as_bytes("old")));
    disk.fail_at(n);
    const bool written = disk.write_file("d/f", as_bytes("new")).has_value();
    disk.heal();
    disk.crash();
    const std::string now = to_string(disk.contents("d/f"));
    EXPECT_TRUE(now == "new" || (!written && now == "old")) << n << ": " << now;
    if (!disk.failed()) break;
  }
}

}  // namespace
}  // namespace postern
