#include "server/node_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/self.h"

namespace postern {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

const TimePoint kStart = TimePoint(100h);
const WallTime kWall = wall_from_ms(1'800'000'000'000);

NodeId id_of(unsigned number) {
  NodeId id;
  id.bytes[0] = static_cast<std::byte>(number);
  return id;
}
const NodeId kServer = id_of(1), kGateway = id_of(2), kAgent = id_of(3);

/// A gateway gw1 and an agent a1 behind it, as the store and the heads show them.
class NodeWatchTest : public testing::Test {
 protected:
  NodeWatchTest() {
    server_ = row("ms", kServer, store::Role::server);
    gateway_ = row("gw1", kGateway, store::Role::gateway);
    gateway_.path = {"ms"};
    agent_ = row("a1", kAgent, store::Role::agent);
    agent_.path = {"gw1", "ms"};
    watch_.resume(rows(), {});
  }
  static store::Node row(const std::string& name, NodeId id, store::Role role) {
    store::Node node;
    node.name = name;
    node.id = id;
    node.role = role;
    node.standing = store::Standing::approved;
    node.decided = node.first_seen = node.last_seen = kWall;
    node.connected = true;
    return node;
  }
  std::vector<store::Node> rows() const { return {server_, gateway_, agent_}; }
  WallTime wall() const {
    return kWall + std::chrono::duration_cast<std::chrono::milliseconds>(now_ - kStart);
  }
  /// What its next head says, with its clock ahead by `ahead` and its parent's by `parent_ahead`.
  wire::pb::Head hear(store::Node& from, std::chrono::seconds ahead = 0s,
                      std::chrono::seconds parent_ahead = 0s) {
    wire::pb::Head head = next_head(from);
    head.set_issued_ms(to_ms(wall() + ahead));
    std::vector<wire::Stamp> stamps;
    if (from.id == kAgent) stamps.push_back({kAgent, wall() + parent_ahead});
    store_head(from, head);
    watch_.on_head(head, stamps, from.id == kAgent ? kGateway : *from.id, now_, wall());
    return head;
  }
  wire::pb::Head next_head(const store::Node& from) const {
    wire::pb::Head head;
    head.set_node_id(node::field_of(from.id->bytes));
    head.set_number(from.head_number.value_or(0) + 1);
    head.set_issued_ms(to_ms(wall()));
    head.set_interval_ms(60'000);
    return head;
  }
  void store_head(store::Node& from, const wire::pb::Head& head) const {
    wire::pb::Signed message;
    message.set_body(head.SerializeAsString());
    from.head = to_bytes(std::string_view(message.SerializeAsString()));
    from.head_number = head.number();
    from.last_seen = wall();
    from.connected = true;
  }
  store::AlertChanges look() { return watch_.look(rows(), now_, wall()); }
  static std::vector<std::string> causes(const std::vector<store::Alert>& alerts) {
    std::vector<std::string> list;
    for (const store::Alert& alert : alerts) list.push_back(alert.cause);
    return list;
  }
  /// Minute by minute with heads of both.
  void pass(std::chrono::minutes time) {
    for (; time > 0min; time -= 1min) {
      now_ += 1min;
      hear(gateway_);
      hear(agent_);
      EXPECT_TRUE(look().empty());
    }
  }

  TimePoint now_ = kStart;
  store::Node server_, gateway_, agent_;
  NodeWatch watch_{{kServer, "ms", kWall, kWall + 24h * 365, 60s}, kStart};
};

TEST_F(NodeWatchTest, WhileHeadsComeThereIsNothingToSay) {
  pass(60min);
  EXPECT_TRUE(watch_.connected(agent_, wall()));
}

TEST_F(NodeWatchTest, ANodeThatItsGatewayReportsGoneIsLostAfterThreeHeartbeats) {
  pass(5min);
  agent_.connected = false;
  const TimePoint gone = now_;
  while (now_ < gone + 3min + 10s) {
    hear(gateway_);
    EXPECT_TRUE(look().empty()) << std::chrono::duration<double>(now_ - gone).count();
    now_ += 5s;
  }
  now_ += 1s;
  EXPECT_THAT(causes(look().raise), ElementsAre("heartbeat a1"));
  hear(agent_);
  EXPECT_THAT(look().close, ElementsAre("heartbeat a1"));
}

TEST_F(NodeWatchTest, AHeadThatComesAgainKeepsNobodyAlive) {
  pass(1min);
  const wire::pb::Head old = hear(gateway_);
  for (int i = 0; i < 4; ++i) {
    now_ += 1min;
    watch_.on_head(old, {}, kGateway, now_, wall());
    hear(agent_);
  }
  EXPECT_THAT(causes(look().raise), ElementsAre("heartbeat gw1"));
}

TEST_F(NodeWatchTest, AHeadThatAnotherServerTookCountsAsHeard) {
  pass(1min);
  for (int i = 0; i < 10; ++i) {
    now_ += 1min;
    store_head(gateway_, next_head(gateway_));
    hear(agent_);
    EXPECT_TRUE(look().empty());
  }
}

TEST_F(NodeWatchTest, AClockIsComparedHopByHopSoAGatewaysWrongClockIsNotItsAgents) {
  for (int i = 0; i < 2; ++i) {
    now_ += 1min;
    hear(gateway_, 100s);
    hear(agent_, 0s, 100s);
  }
  EXPECT_THAT(causes(look().raise), ElementsAre("clock gw1"));
  for (int i = 0; i < 2; ++i) {
    now_ += 1min;
    hear(gateway_, 100s);
    hear(agent_, 400s, 100s);
  }
  const auto wrong = look();
  ASSERT_THAT(causes(wrong.raise), ElementsAre("clock a1"));
  EXPECT_EQ(wrong.raise[0].severity, "critical");
  now_ += 1min;
  hear(gateway_);
  hear(agent_);
  EXPECT_THAT(look().close, ElementsAre("clock gw1", "clock a1"));
}

TEST_F(NodeWatchTest, OneHeadThatWasHeldUpIsNoWrongClock) {
  pass(2min);
  now_ += 1min;
  hear(gateway_, -90s);
  hear(agent_);
  EXPECT_TRUE(look().empty());
  now_ += 1min;
  hear(gateway_);
  hear(agent_);
  EXPECT_TRUE(look().empty());
}

TEST_F(NodeWatchTest, SpoolAndCertificateAreAsTheNewestHeadSays) {
  pass(1min);
  now_ += 1min;
  wire::pb::Head head = next_head(agent_);
  head.set_spool_bytes(90);
  head.set_spool_bytes_max(100);
  head.set_oldest_unsettled_ms(head.issued_ms() - 3'700'000);
  head.set_tls_not_before_ms(to_ms(kWall - 24h * 80));
  head.set_tls_not_after_ms(to_ms(kWall + 24h * 10));
  store_head(agent_, head);
  hear(gateway_);
  EXPECT_THAT(causes(look().raise), ElementsAre("spool-fill a1", "certificate a1"));
  now_ += 1min;
  head.set_number(head.number() + 1);
  store_head(agent_, head);
  EXPECT_THAT(causes(look().raise), ElementsAre("spool-age a1")) << "not for one head alone";
  now_ += 1min;
  head.set_number(head.number() + 1);
  head.set_spool_bytes(10);
  head.clear_oldest_unsettled_ms();
  head.set_tls_not_after_ms(to_ms(kWall + 24h * 300));
  store_head(agent_, head);
  hear(gateway_);
  EXPECT_THAT(look().close, ElementsAre("spool-fill a1", "spool-age a1", "certificate a1"));
}

TEST_F(NodeWatchTest, ThisServersOwnCertificateIsWatchedToo) {
  watch_.set_own({kServer, "ms", kWall - 90h, kWall + 10h, 60s});
  const auto round = look();
  ASSERT_THAT(causes(round.raise), ElementsAre("certificate ms"));
  watch_.set_own({kServer, "ms", kWall, kWall + 100h, 60s});
  EXPECT_THAT(look().close, ElementsAre("certificate ms"));
}

TEST_F(NodeWatchTest, AFindingIsCountedOnceALookHoweverManyThereAre) {
  look();
  for (int i = 0; i < 100; ++i) watch_.on_finding(kAgent, "batch 7 is not as a1 signed it");
  watch_.on_finding(id_of(99), "of no member");
  const auto found = look();
  ASSERT_THAT(causes(found.raise), ElementsAre("finding a1"));
  EXPECT_THAT(found.raise[0].words, HasSubstr("batch 7 is not as a1 signed it"));
  EXPECT_TRUE(look().empty());
  watch_.on_finding(kAgent, "again");
  EXPECT_THAT(causes(look().again), ElementsAre("finding a1"));
  watch_.on_finding(kServer, "our own too");
  EXPECT_THAT(causes(look().raise), ElementsAre("finding ms"));
}

TEST_F(NodeWatchTest, ANodeThatIsApprovedAfterItKnockedIsWaitedForFromThenOn) {
  agent_.standing = store::Standing::pending;
  pass(60min);
  agent_.standing = store::Standing::approved;
  EXPECT_TRUE(look().empty()) << "it comes with its next knock";
}

TEST_F(NodeWatchTest, WhatIsOpenAboutARemovedNodeCloses) {
  now_ += 1h;
  hear(gateway_);
  EXPECT_THAT(causes(look().raise), ElementsAre("heartbeat a1"));
  agent_.standing = store::Standing::removed;
  EXPECT_THAT(look().close, ElementsAre("heartbeat a1"));
}

TEST_F(NodeWatchTest, TheMoreNodesThereAreTheSeldomerTheyAreLookedAt) {
  EXPECT_TRUE(watch_.due(kStart));
  look();
  EXPECT_FALSE(watch_.due(kStart + 4s));
  EXPECT_TRUE(watch_.due(kStart + 5s));
  const std::vector<store::Node> many(2 * kNodesPerLook, server_);
  watch_.look(many, kStart + 5s, kWall);
  EXPECT_FALSE(watch_.due(kStart + 19s));
  EXPECT_TRUE(watch_.due(kStart + 20s));
}

}  // namespace
}  // namespace postern
