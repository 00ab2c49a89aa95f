// A node runs in one thread when its surroundings have none: what simulations stand on.

#include "node/hand_driven.h"

#include <gtest/gtest.h>

#include "base/fake_disk.h"
#include "identity/state_folder.h"
#include "node/fake_channel.h"
#include "node/node.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::FakeChannel;
using testing_support::HandDrivenNetwork;
using testing_support::HandDrivenSamplers;
using testing_support::HandDrivenWorkers;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;

class HandDrivenNode : public testing::Test, public Node::Listener {
 protected:
  void SetUp() override {
    StateFolder folder(disk_, "state");
    ASSERT_TRUE(folder.prepare());
    const std::string key = agent_.self.identity.to_pem();
    ASSERT_TRUE(disk_.write_file("state/identity.key", as_bytes(key), 0600));
    ASSERT_TRUE(folder.install_tls(agent_.credential()));
    ASSERT_TRUE(folder.install_anchors(group_.anchors()));
    ASSERT_TRUE(folder.pin_group_root(group_.root.public_key()));
    NodeSettings settings;
    settings.group = group_.name;
    settings.name = agent_.self.name;
    settings.state_dir = "state";
    settings.parents = {{parent_.self.name, {"192.0.2.1", 5723}}};
    auto opened =
        Node::open({loops_, lines_.log, clock_, random_, disk_, network_, workers_, samplers_},
                   settings, Role::agent, *this);
    ASSERT_TRUE(opened) << opened.error().message;
    node_ = std::move(*opened);
    node_->start();
  }
  void settle_down() {
    do loop_.run_ready();
    while (workers_.run_one());
  }
  std::shared_ptr<FakeChannel> answer_dial() {
    ChannelPeer peer;
    peer.chain = {parent_.certificate()};
    peer.own_tls_key = agent_.tls_key();
    peer.dialled = true;
    peer.dialled_name = parent_.self.name;
    auto channel = std::make_shared<FakeChannel>(1, std::move(peer));
    auto dial = std::move(network_.dials.at(0));
    network_.dials.clear();
    loop_.post([dial = std::move(dial), channel] { dial.done(DialResult(channel)); });
    settle_down();
    return channel;
  }

  TestGroup group_;
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  TestNode parent_ = group_.node(Role::server, "ms.home.example");
  LogLines lines_;
  FakeClock clock_;
  SeededRandom random_{1};
  FakeDisk disk_;
  Loop loop_{"core", clock_};
  Loops loops_{loop_, 0, clock_};
  HandDrivenNetwork network_;
  HandDrivenWorkers workers_;
  HandDrivenSamplers samplers_;
  std::unique_ptr<Node> node_;
};

TEST_F(HandDrivenNode, DialsSaysHelloAndSendsWhatItsDiskHolds) {
  settle_down();
  ASSERT_EQ(network_.dials.size(), 1u);
  EXPECT_EQ(network_.dials[0].request.name, parent_.self.name);
  const auto channel = answer_dial();
  ASSERT_EQ(channel->of_type(wire::Type::hello).size(), 1u);
  wire::pb::Welcome welcome = parent_.welcome({});
  for (int lane = 0; lane < 3; ++lane) welcome.add_credit(1u << 20);
  channel->deliver(message_of(wire::Type::welcome, welcome));
  settle_down();
  EXPECT_TRUE(node_->uplink().attached());
  EXPECT_EQ(channel->of_type(wire::Type::head).size(), 1u);

  samplers_.hand_over({});  // nothing observed, nothing sealed
  settle_down();
  const auto before = node_->relay().counts().held;
  Sampler::Sample sample;
  Measurement measurement;
  measurement.name = "test";
  measurement.unit = "1";
  measurement.value = std::int64_t{1};
  measurement.time = clock_.wall();
  auto payload = encode_metrics(Resource{}, std::span(&measurement, 1));
  ASSERT_TRUE(payload);
  sample.metrics.push_back(std::move(*payload));
  samplers_.hand_over(std::move(sample));
  EXPECT_EQ(node_->relay().counts().held, before) << "held is what is on disk";
  settle_down();
  EXPECT_EQ(node_->relay().counts().held, before + 1);
  EXPECT_GT(node_->spool().usage().syncs, 0u);
}

TEST_F(HandDrivenNode, ItsTimersFollowTheClockThatJumps) {
  settle_down();
  auto dial = std::move(network_.dials.at(0));
  network_.dials.clear();
  loop_.post([dial = std::move(dial)] {
    dial.done(std::unexpected(DialFailure{DialFailure::Stage::connect, "refused", {}, {}}));
  });
  const auto due = loop_.run_ready();
  ASSERT_TRUE(due);
  EXPECT_GT(*due, clock_.now());
  for (int i = 0; i < 100 && network_.dials.empty(); ++i) {
    clock_.advance(*loop_.run_ready() - clock_.now());
    settle_down();
  }
  EXPECT_EQ(network_.dials.size(), 1u) << "the next attempt, without any waiting";
}

}  // namespace
}  // namespace postern::node
