#include "spool/inspect.h"

#include <gtest/gtest.h>

#include "spool/test_spool.h"

namespace postern::spool {
namespace {

/// Three segments, the first two with an index, under a spool that is in use.
struct Inspected : Fixture {
  void fill() {
    options.segment_bytes = 1000;
    ASSERT_TRUE(open());
    for (std::uint64_t n = 1; n <= 9; ++n)
      if (n != 5) {
        ASSERT_TRUE(append(batch(n)));
      }
    ASSERT_TRUE(append(batch(1, 100, stream(2))));
    while (spool->untidy()) spool->tidy();
    ASSERT_EQ(files().size(), 5u);
  }
  Inspection inspect() { return *Inspection::of(disk, kFolder); }
  void flip(const std::filesystem::path& path, std::size_t at) {
    Bytes bytes = disk.contents(path);
    bytes.at(at) ^= std::byte{1};
    disk.set_contents(path, bytes);
  }
  std::filesystem::path index(std::uint64_t number) const {
    return kFolder / fmt::format("{:016x}.index", number);
  }
};

TEST(Inspection, SaysWhereThereIsNoSpool) {
  FakeDisk disk;
  auto none = Inspection::of(disk, "state/spool");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message, "there is no spool in state/spool");
}

TEST(Inspection, ListsStreamsOfASpoolInUseAndWritesNothing) {
  Inspected f;
  f.fill();
  std::map<std::string, Bytes> before;
  for (const std::string& name : f.files()) before[name] = f.disk.contents(kFolder / name);
  const auto listing = f.inspect().list();
  ASSERT_TRUE(listing);
  ASSERT_EQ(listing->streams.size(), 2u);
  const Inspection::Stream& first = listing->streams.at(stream());
  EXPECT_EQ(first.ranges, (std::vector<Inspection::Range>{{1, 4}, {6, 9}}));
  EXPECT_EQ(first.batches, 8u);
  EXPECT_EQ(first.bytes, 8u * 186);
  EXPECT_EQ(listing->segments, 3u);
  EXPECT_EQ(listing->indexed, 2u);
  const auto verified = f.inspect().verify();
  ASSERT_TRUE(verified);
  EXPECT_TRUE(verified->damage.empty());
  EXPECT_EQ(verified->records, 9u);
  for (const std::string& name : f.files())
    EXPECT_EQ(before[name], f.disk.contents(kFolder / name));
}

TEST(Inspection, NamesDamageByFileOffsetAndBytes) {
  Inspected f;
  f.fill();
  f.flip(f.segment(1), kSegmentHeaderBytes + 186 + 100);  // of the second batch, which is indexed
  auto verified = f.inspect().verify();
  ASSERT_TRUE(verified);
  ASSERT_EQ(verified->damage.size(), 2u);
  for (const Inspection::Damage& damage : verified->damage) {
    EXPECT_EQ(damage.file, "0000000000000001.log");
    EXPECT_EQ(damage.offset, kSegmentHeaderBytes + 186);
    EXPECT_EQ(damage.bytes, 186u);
  }
  EXPECT_TRUE(verified->damage[1].what.starts_with("held batch 2 of ")) << verified->damage[1].what;

  f.flip(f.segment(1), kSegmentHeaderBytes + 186 + 100);
  f.flip(f.index(2), 50);
  verified = f.inspect().verify();
  ASSERT_EQ(verified->damage.size(), 1u);
  EXPECT_EQ(verified->damage[0].file, "0000000000000002.index");
}

TEST(Inspection, DoesNotTakeWhatIsBeingWrittenForDamage) {
  Inspected f;
  f.fill();
  Bytes bytes = f.disk.contents(f.segment(3));
  bytes.resize(bytes.size() + 50, std::byte{7});   // half a record
  bytes.resize(bytes.size() + 500, std::byte{0});  // pre-written
  f.disk.set_contents(f.segment(3), bytes);
  f.disk.set_contents(f.segment(4), Bytes(1000));  // the next one
  const auto verified = f.inspect().verify();
  ASSERT_TRUE(verified);
  EXPECT_TRUE(verified->damage.empty());
}

TEST(Inspection, ExportsEveryBatchThatCanBeRead) {
  Inspected f;
  f.fill();
  f.flip(f.segment(1), kSegmentHeaderBytes + 186 + 100);
  f.disk.set_contents("out/there", {});
  const auto exported = f.inspect().export_to("out/batches");
  ASSERT_TRUE(exported) << exported.error().message;
  EXPECT_EQ(exported->batches, 8u);
  EXPECT_EQ(exported->damage.size(), 1u);
  f.disk.crash();
  const Bytes file = f.disk.contents("out/batches");
  Reader in(file);
  EXPECT_EQ(as_text(in.view(4)), kExportMagic);
  EXPECT_EQ(in.u32(), kExportVersion);
  std::vector<std::uint64_t> found;
  while (in.left() > 0) {
    const ByteView message = in.view(in.u32());
    ASSERT_EQ(message.size(), 100u);
    found.push_back(std::to_integer<std::uint64_t>(message[0]));
  }
  EXPECT_EQ(found, (std::vector<std::uint64_t>{1, 3, 4, 6, 7, 8, 9, 1}));
  EXPECT_FALSE(f.inspect().export_to("out/batches")) << "it would overwrite a file";
}

}  // namespace
}  // namespace postern::spool
