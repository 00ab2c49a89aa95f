#include "server/sightings.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "identity/test_folder.h"
#include "node/test_group.h"
#include "server/service.h"

namespace postern {
namespace {

using node::Role;
using testing_support::kWall;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;

class SightingsTest : public testing::Test {
 protected:
  SightingsTest() {
    for (const TestNode* who : {&agent_, &gateway_, &other_gateway_}) {
      store::Node node;
      node.name = who->self.name;
      node.id = who->self.id;
      node.identity_key = to_bytes(who->self.identity.public_key().spki());
      node.role = static_cast<store::Role>(who->self.role);
      node.standing = store::Standing::approved;
      EXPECT_TRUE(store_->save_node(node, std::nullopt));
    }
    EXPECT_TRUE(registry_.load());
  }
  /// Of the agent, by way of the gateway; or as its own child sends it.
  Sighting head(std::uint64_t number, WallTime at, std::uint32_t interval_ms = 60'000,
                bool by_gateway = true) {
    wire::pb::Head head;
    head.set_node_id(node::field_of(agent_.self.id.bytes));
    head.set_number(number);
    head.set_interval_ms(interval_ms);
    auto* stream = head.add_streams();
    stream->set_lane(3);
    stream->set_epoch_ordinal(1);
    stream->set_sealed(number);
    stream->set_hash(node::field_of(sha256(as_bytes("newest"))));
    Sighting sighting;
    auto& seen = sighting.head.emplace();
    seen.message.set_body(head.SerializeAsString());
    seen.message.set_signature(node::field_of(
        agent_.self.identity.sign(node::kHeadContext, as_bytes(seen.message.body()))));
    if (by_gateway) seen.stamps = {{agent_.self.id, at}};
    seen.by = by_gateway ? gateway_.self.id : agent_.self.id;
    sighting.seen.time = at;
    sighting.bytes = seen.message.ByteSizeLong();
    return sighting;
  }
  Sighting gone(const TestNode& through) {
    Sighting sighting;
    sighting.seen.id = agent_.self.id;
    sighting.seen.connected = false;
    sighting.seen.through = through.self.name;
    return sighting;
  }
  /// How many changed nothing.
  std::size_t note(std::vector<Sighting> sightings) {
    return note_sightings(sightings, {*store_, registry_, server_.self, lines_.log, clock_, watch_})
        ->ignored;
  }
  store::Node row() { return **store_->node(agent_.self.id); }

  TestGroup group_;
  TestNode server_ = group_.node(Role::server, "ms.home.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  TestNode gateway_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode other_gateway_ = group_.node(Role::gateway, "gw2.site.example");
  LogLines lines_;
  FakeClock clock_;
  std::unique_ptr<store::Store> store_ = std::move(*store::open_sqlite(":memory:"));
  GroupFolder::Delegate delegate_{PrivateKey::generate(), 1};
  NodeWatch watch_{{server_.self.id, server_.self.name, {}, {}, std::chrono::seconds(60)},
                   clock_.now()};
  Registry registry_{*store_,      lines_.log, clock_,
                     server_.self, delegate_,  ServerSettings::AgentPolicy::pending};
};

TEST_F(SightingsTest, AReplayedHeadDoesNotKeepADeadNodeAlive) {
  EXPECT_EQ(note({head(5, kWall)}), 0u);
  EXPECT_TRUE(row().connected);
  EXPECT_EQ(row().path, (std::vector<std::string>{"gw1.site.example", "ms.home.example"}));
  EXPECT_EQ(note({gone(gateway_)}), 0u);
  const store::Node dead = row();
  EXPECT_FALSE(dead.connected);
  EXPECT_EQ(note({head(5, kWall + std::chrono::hours(1)), head(4, kWall + std::chrono::hours(1))}),
            2u);
  EXPECT_EQ(row(), dead);
  EXPECT_EQ(note({head(6, kWall + std::chrono::hours(1))}), 0u);
  EXPECT_TRUE(row().connected);
}

TEST_F(SightingsTest, AHeadThatWasAlteredIsNotNoted) {
  Sighting forged = head(5, kWall);
  forged.head->message.mutable_body()->back() ^= 1;
  EXPECT_EQ(note({forged, head(4, kWall)}), 1u);
  EXPECT_EQ(row().head_number, 4u);
}

TEST_F(SightingsTest, OnlyAGatewayOnItsPathMaySayThatANodeIsGone) {
  note({head(5, kWall)});
  EXPECT_EQ(note({gone(other_gateway_)}), 1u);
  EXPECT_TRUE(row().connected);
  EXPECT_EQ(note({gone(gateway_)}), 0u);
  EXPECT_FALSE(row().connected);
  EXPECT_EQ(row().last_seen, kWall) << "and it is not the node's own word";
}

TEST_F(SightingsTest, OneTurnIsNotedInTheOrderItCame) {
  EXPECT_EQ(note({head(5, kWall), gone(gateway_), head(6, kWall)}), 0u);
  EXPECT_TRUE(row().connected);
  EXPECT_EQ(store_->streams(agent_.self.id)->at(0).sealed, 6u);
}

TEST_F(SightingsTest, TheHashOfTheNewestBatchIsKeptForTheQuestionAboutAHole) {
  note({head(5, kWall)});
  const auto holes = *store_->holes(10);
  ASSERT_EQ(holes.size(), 1u);
  EXPECT_EQ(holes[0].last, 5u);
  EXPECT_EQ(holes[0].at_last, sha256(as_bytes("newest")));
}

TEST_F(SightingsTest, WhatWaitsIsBoundedAndOurOwnWordHasMoreRoom) {
  Sightings waiting;
  Sighting from_outside;
  from_outside.bytes = 10;
  for (std::size_t i = 0; i < kSightingsMax + 5; ++i) waiting.add(from_outside);
  EXPECT_EQ(waiting.dropped(), 5u);
  waiting.add(gone(gateway_));
  EXPECT_EQ(waiting.dropped(), 5u);
  EXPECT_EQ(waiting.take().size(), kSightingsMax + 1);
  from_outside.bytes = kSightingBytesMax;
  waiting.add(from_outside);
  waiting.add(from_outside);
  EXPECT_EQ(waiting.dropped(), 6u);
  EXPECT_EQ(waiting.take().size(), 1u);
}

TEST_F(SightingsTest, ANodeIsConnectedByTheIntervalThatItNamesItself) {
  testing_support::TemporaryFolder folder;
  PosixDisk disk;
  SystemRandom random;
  GroupFolder group(disk, folder.path());
  ServerService::About about{"demo",
                             server_.self.name,
                             "",
                             "",
                             server_.self.id,
                             {},
                             group_.root.public_key(),
                             group_.anchors(),
                             kWall,
                             kWall,
                             std::chrono::seconds(10)};
  ServerService service(*store_, registry_, group, clock_, random, std::move(about));
  const auto connected = [&] { return service.node(agent_.self.name)->node.connected; };
  note({head(5, clock_.wall(), 300'000, false)});
  clock_.advance(std::chrono::seconds(900));
  EXPECT_TRUE(connected()) << "it sends a head every 5 minutes, whatever our own interval is";
  clock_.advance(std::chrono::seconds(11));
  EXPECT_FALSE(connected());
  note({head(6, clock_.wall(), 1000, false)});
  EXPECT_TRUE(connected());
  clock_.advance(std::chrono::seconds(14));
  EXPECT_FALSE(connected());
  note({head(7, clock_.wall(), 0, false)});
  clock_.advance(std::chrono::seconds(39));
  EXPECT_TRUE(connected()) << "it does not say: ours";
}

}  // namespace
}  // namespace postern
