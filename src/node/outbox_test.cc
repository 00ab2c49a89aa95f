#include "node/outbox.h"

#include <gtest/gtest.h>

#include "base/fake_disk.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::kWall;
using testing_support::payload_of;

const std::filesystem::path kState = "/state";

/// What a relay knows after a restart: `sealed` lies in the spool.
void hold(relay::Relay& relay, const Outbox::Sealed& sealed) {
  relay.added({sealed.stream, sealed.sequence, sealed.hash, {}, nullptr});
}

class OutboxTest : public ::testing::Test {
 protected:
  Outbox::Sealed seal(Outbox& outbox, wire::Lane lane, std::string_view text) {
    return outbox.seal(lane, wire::PayloadKind::metrics, payload_of(text), kWall);
  }
  PrivateKey key_ = PrivateKey::generate();
  Outbox outbox_{key_, {3, 99}};
};

TEST_F(OutboxTest, BatchesAreNumberedChainedAndSigned) {
  Digest previous{};
  for (std::uint64_t n = 1; n <= 3; ++n) {
    const auto sealed = seal(outbox_, wire::Lane::metric, "payload " + std::to_string(n));
    auto stamped = wire::read_stamped(*sealed.message);
    ASSERT_TRUE(stamped);
    EXPECT_TRUE(stamped->stamps.empty());
    auto batch = wire::read_batch(stamped->body);
    ASSERT_TRUE(batch) << batch.error().message;
    EXPECT_EQ(batch->header.sequence, n);
    EXPECT_EQ(batch->header.previous, previous);
    EXPECT_EQ(batch->header.stream, (wire::StreamKey{key_.node_id(), {3, 99}, wire::Lane::metric}));
    EXPECT_EQ(as_text(batch->payload), "payload " + std::to_string(n));
    EXPECT_EQ(sha256(batch->payload), batch->header.payload_hash);
    EXPECT_EQ(sha256(batch->signed_part), sealed.hash);
    EXPECT_TRUE(key_.public_key().verifies(wire::kBatchContext, batch->signed_part,
                                           batch->header.signature));
    previous = sealed.hash;
  }
}

TEST_F(OutboxTest, LanesAreCountedApart) {
  seal(outbox_, wire::Lane::metric, "m");
  EXPECT_EQ(seal(outbox_, wire::Lane::state, "s").sequence, 1u);
  EXPECT_EQ(seal(outbox_, wire::Lane::metric, "m").sequence, 2u);
  EXPECT_EQ(outbox_.position(wire::Lane::event).sequence, 0u);
}

// The spool lets these in when nothing else fits (spool.md#S33).
TEST_F(OutboxTest, OnlyGapAndReleaseRecordsMakeRoom) {
  EXPECT_TRUE(outbox_.seal_gap({}, kWall).makes_room);
  EXPECT_TRUE(outbox_.seal_release({}, kWall).makes_room);
  EXPECT_FALSE(outbox_.seal_opening({}, kWall).makes_room);
  EXPECT_FALSE(outbox_.seal_probe({}, kWall).makes_room);
}

TEST_F(OutboxTest, GoesOnBehindWhatTheSpoolHolds) {
  relay::Relay relay(key_.node_id(), {});
  hold(relay, seal(outbox_, wire::Lane::metric, "1"));
  const auto second = seal(outbox_, wire::Lane::metric, "2");
  hold(relay, second);
  Outbox again(key_, {3, 99});
  again.resume(relay);
  const auto third = seal(again, wire::Lane::metric, "3");
  EXPECT_EQ(third.sequence, 3u);
  auto stamped = wire::read_stamped(*third.message);
  EXPECT_EQ(wire::read_batch(stamped->body)->header.previous, second.hash);
}

TEST_F(OutboxTest, GoesOnBehindWhatIsSettledAndGone) {
  relay::Relay relay(key_.node_id(), {});
  seal(outbox_, wire::Lane::metric, "1");
  const auto second = seal(outbox_, wire::Lane::metric, "2");
  wire::Settled settled;
  settled.coverage = {second.stream, {{1, 2, second.hash}}};
  relay.restored(settled, nullptr, TimePoint{});
  Outbox again(key_, {3, 99});
  again.resume(relay);
  EXPECT_EQ(again.position(wire::Lane::metric).sequence, 2u);
  EXPECT_EQ(again.position(wire::Lane::metric).hash, second.hash);
}

TEST_F(OutboxTest, AnEpochsFirstBatchNamesWhatWasBefore) {
  wire::EpochOpening opening;
  opening.previous = {2, 5};
  opening.reason = wire::EpochOpening::Reason::unreadable;
  opening.lanes[2] = {17, sha256(as_bytes("x"))};
  const auto sealed = outbox_.seal_opening(opening, kWall);
  EXPECT_EQ(sealed.sequence, 1u);
  EXPECT_EQ(sealed.stream.lane, wire::Lane::state);
  auto batch = wire::read_batch(wire::read_stamped(*sealed.message)->body);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->header.kind, wire::PayloadKind::epoch_opening);
  EXPECT_EQ(*wire::decode_epoch_opening(batch->payload), opening);
}

class EpochTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(disk_.make_directories(kState)); }
  EpochChoice choose(const relay::Relay& relay, std::uint64_t damaged = 0) {
    auto choice = choose_epoch(disk_, kState, id_, relay, damaged, random_);
    EXPECT_TRUE(choice) << choice.error().message;
    return *choice;
  }
  /// The epoch's first batch is in the spool.
  std::unique_ptr<relay::Relay> holding(const wire::Epoch& epoch,
                                        wire::Lane lane = wire::Lane::state) {
    auto relay = std::make_unique<relay::Relay>(id_, relay::Relay::Limits{});
    Outbox outbox(key_, epoch);
    hold(*relay, outbox.seal(lane, wire::PayloadKind::metrics, payload_of("x"), kWall));
    return relay;
  }

  PrivateKey key_ = PrivateKey::generate();
  const NodeId id_ = key_.node_id();
  FakeDisk disk_;
  SeededRandom random_{7};
  const relay::Relay empty_{id_, {}};
};

TEST_F(EpochTest, ANewFolderOpensTheFirstEpoch) {
  const auto choice = choose(empty_);
  EXPECT_EQ(choice.epoch.ordinal, 1u);
  ASSERT_TRUE(choice.opening);
  EXPECT_EQ(choice.opening->reason, wire::EpochOpening::Reason::new_folder);
  EXPECT_EQ(choice.opening->previous, wire::Epoch{});
}

TEST_F(EpochTest, ARestartGoesOn) {
  const auto first = choose(empty_);
  const auto second = choose(*holding(first.epoch));
  EXPECT_EQ(second.epoch, first.epoch);
  EXPECT_FALSE(second.opening);
}

TEST_F(EpochTest, ALostSpoolOpensTheNext) {
  const auto first = choose(empty_);
  const auto second = choose(empty_);
  EXPECT_EQ(second.epoch.ordinal, 2u);
  EXPECT_NE(second.epoch.random, first.epoch.random);
  ASSERT_TRUE(second.opening);
  EXPECT_EQ(second.opening->reason, wire::EpochOpening::Reason::unreadable);
  EXPECT_EQ(second.opening->previous, first.epoch);
}

TEST_F(EpochTest, NewDamageOpensTheNextAndSaysHowFarItGot) {
  const auto first = choose(empty_);
  const auto held = holding(first.epoch);
  const relay::Relay& relay = *held;
  const auto second = choose(relay, 1);
  EXPECT_EQ(second.epoch.ordinal, 2u);
  ASSERT_TRUE(second.opening);
  EXPECT_EQ(second.opening->lanes[0].sequence, 1u);
  EXPECT_EQ(second.opening->lanes[0].hash,
            relay.last_of({id_, first.epoch, wire::Lane::state})->second);
}

TEST_F(EpochTest, OldDamageDoesNot) {
  choose(empty_);
  const auto second = choose(empty_, 2);
  EXPECT_FALSE(choose(*holding(second.epoch), 2).opening);
}

TEST_F(EpochTest, DamageIsNoticedAfterOldDamageWasClearedAway) {
  const auto first = choose(empty_, 2);
  EXPECT_FALSE(choose(*holding(first.epoch), 0).opening);  // an operator took the files away
  EXPECT_TRUE(choose(*holding(first.epoch), 1).opening);
}

TEST_F(EpochTest, AnUnreadableFileIsNoReasonToCountAgain) {
  const auto first = choose(empty_);
  const auto held = holding(first.epoch);
  const relay::Relay& relay = *held;
  disk_.set_contents(kState / "epoch", to_bytes("garbage"));
  EXPECT_EQ(choose(relay).epoch, first.epoch);
  disk_.set_contents(kState / "epoch", to_bytes("garbage"));
  EXPECT_GT(choose(*holding(first.epoch), 1).epoch.ordinal, first.epoch.ordinal);
}

TEST_F(EpochTest, TheSpoolKnowsANewerEpochThanARestoredFile) {
  choose(empty_);
  EXPECT_EQ(choose(*holding({8, 1})).epoch, (wire::Epoch{8, 1}));
}

TEST_F(EpochTest, IsOnTheDiskBeforeAnybodyHearsOfIt) {
  const auto first = choose(empty_);
  disk_.crash();
  EXPECT_EQ(choose(empty_).opening->previous, first.epoch);
}

TEST_F(EpochTest, IsNotChosenWhenItCannotBeWritten) {
  disk_.fail_at(1, FakeDisk::Failing::from_then_on);
  EXPECT_FALSE(choose_epoch(disk_, kState, id_, empty_, 0, random_));
  disk_.heal();
  EXPECT_EQ(choose(empty_).epoch.ordinal, 1u);
}

}  // namespace
}  // namespace postern::node
