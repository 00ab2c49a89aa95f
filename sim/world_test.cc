// The simulated world itself: keys, order of events, network, disks, and runs that replay.

#include <gtest/gtest.h>

#include "identity/key.h"
#include "model/compression.h"
#include "sim/fake_key.h"
#include "sim/run.h"
#include "sim/watched_disk.h"
#include "sim/wires.h"

namespace postern::sim {
namespace {

TEST(FakeKey, SignsLikeAKeyAndIsTheSameForTheSameSeed) {
  seed_keys(7);
  const PrivateKey first = PrivateKey::generate(), second = PrivateKey::generate();
  const Signature signature = first.sign("postern test v1", as_bytes("words"));
  EXPECT_TRUE(first.public_key().verifies("postern test v1", as_bytes("words"), signature));
  EXPECT_FALSE(first.public_key().verifies("postern test v1", as_bytes("wordz"), signature));
  EXPECT_FALSE(first.public_key().verifies("postern other v1", as_bytes("words"), signature));
  EXPECT_FALSE(second.public_key().verifies("postern test v1", as_bytes("words"), signature));
  const auto read = PrivateKey::from_pem(first.to_pem());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->node_id(), first.node_id());
  seed_keys(7);
  EXPECT_EQ(PrivateKey::generate().node_id(), first.node_id());
}

TEST(FakeCompression, GivesBackWhatItWasGivenAndNothingElse) {
  const std::string raw(1000, 'x');
  auto packed = compress(raw, 3);
  ASSERT_TRUE(packed);
  EXPECT_EQ(*decompress(*packed, 1000), raw);
  EXPECT_FALSE(decompress(*packed, 999));
  packed->pop_back();
  EXPECT_FALSE(decompress(*packed, 1000));
}

TEST(Events, HappenByTimeAndThenInTheOrderOfAsking) {
  Events events;
  std::string order;
  events.after(std::chrono::seconds(2), [&] { order += 'c'; });
  events.after(std::chrono::seconds(1), [&] {
    order += 'a';
    events.after(Duration(0), [&] { order += 'x'; });
  });
  events.after(std::chrono::seconds(1), [&] { order += 'b'; });
  const TimePoint end = events.now() + std::chrono::seconds(2);
  while (events.step(end)) {
  }
  EXPECT_EQ(order, "abxc");
  EXPECT_EQ(events.now(), end);
}

TEST(WatchedDisk, CanBeCopiedWhole) {
  struct Nobody final : DiskWatcher {
    void on_write(const std::string&, ByteView) override {}
    void on_sync(const std::string&) override {}
    void on_remove(const std::string&) override {}
    void on_failure() override {}
  } nobody;
  WatchedDisk disk(1, nobody);
  ASSERT_TRUE(disk.make_directories("/state/spool"));
  ASSERT_TRUE(disk.write_file("/state/spool/a", as_bytes("1")));
  ASSERT_TRUE(disk.write_file("/state/b", as_bytes("2")));
  const WatchedDisk::Files files = disk.files();
  EXPECT_EQ(files.size(), 2u);
  ASSERT_TRUE(disk.remove("/state/b"));
  disk.replace(2, files);
  EXPECT_EQ(disk.files(), files);
}

Outcome outcome_of(std::uint64_t seed, Coverage& coverage) {
  static Certificates certificates;
  Trace trace(Trace::Wanted::digest);
  return run(seed, {}, certificates, trace, coverage);
}

TEST(Run, TheSameSeedGivesTheSameRun) {
  Coverage coverage;
  const Outcome first = outcome_of(3, coverage), second = outcome_of(3, coverage),
                other = outcome_of(4, coverage);
  EXPECT_EQ(first.digest, second.digest);
  EXPECT_EQ(first.events, second.events);
  EXPECT_NE(first.digest, other.digest);
}

TEST(Run, WithoutFaultsEverythingArrives) {
  static Certificates certificates;
  Coverage coverage;
  Options options;
  options.faults = false;
  for (const std::uint64_t seed : {1, 2, 3}) {
    Trace trace(Trace::Wanted::digest);
    const Outcome outcome = run(seed, options, certificates, trace, coverage);
    EXPECT_FALSE(outcome.broken) << seed << ": " << outcome.broken->words;
    EXPECT_GT(outcome.promised, 10u);
  }
}

}  // namespace
}  // namespace postern::sim
