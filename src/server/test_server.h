#pragma once

// For the tests of the running server: management servers of one group on one store in memory, and
// children that the test plays. One thread, one clock, no sockets. Header only; no product code
// includes it.

#include <gtest/gtest.h>

#include "base/fake_disk.h"
#include "identity/state_folder.h"
#include "node/fake_channel.h"
#include "node/hand_driven.h"
#include "node/signed.h"
#include "node/test_group.h"
#include "server/server.h"
#include "store/memory.h"

namespace postern::testing_support {

/// A management server with all that surrounds it, but the clock and the memory.
class TestServer {
 public:
  TestServer(const TestGroup& group, TestNode node, FakeClock& clock, const store::MemoryStore& all)
      : node_(std::move(node)), clock_(clock) {
    StateFolder folder(disk_, "/state");
    EXPECT_TRUE(folder.prepare());
    EXPECT_TRUE(
        disk_.write_file("/state/identity.key", as_bytes(node_.self.identity.to_pem()), 0600));
    EXPECT_TRUE(disk_.write_file("/state/delegate.key", as_bytes(group.delegate.to_pem()), 0600));
    EXPECT_TRUE(disk_.write_file("/state/delegate.number", as_bytes("1"), 0644));
    EXPECT_TRUE(disk_.write_file("/state/ca.key",
                                 as_bytes(private_key_pem(group.authority.key.get())), 0600));
    EXPECT_TRUE(
        disk_.write_file("/state/ca.pem", as_bytes(group.authority.certificate.pem()), 0644));
    EXPECT_TRUE(folder.install_anchors(group.anchors()));
    EXPECT_TRUE(folder.pin_group_root(group.root.public_key()));
    EXPECT_TRUE(folder.install_tls(node_.credential()));
    ServerSettings settings;
    settings.group = group.name;
    settings.name = node_.self.name;
    settings.state_dir = "/state";
    settings.api_socket = "";
    auto view = all.view();
    store_ = view.get();
    auto opened =
        Server::open({loops_, lines.log, clock_, random_, disk_, network_, workers_, samplers},
                     settings, std::move(view));
    if (!opened)
      ADD_FAILURE() << opened.error().message;
    else
      server_ = std::move(*opened);
  }

  /// A connection as TLS hands it over; nothing is said on it yet.
  std::shared_ptr<FakeChannel> connect(const TestNode& child) {
    ChannelPeer peer;
    peer.address = "192.0.2.1:40000";
    peer.chain = {child.certificate()};
    peer.exporter.fill(static_cast<std::byte>(channels_.size() + 1));
    peer.own_tls_key = node_.tls_key();
    auto channel = std::make_shared<FakeChannel>(channels_.size() + 1, peer);
    channel->set_last_received(clock_.now());
    channels_.push_back(channel);
    network_.port_handler->on_channel(channel);
    return channel;
  }
  /// It says hello and is answered.
  std::shared_ptr<FakeChannel> attach(const TestNode& child) {
    auto channel = connect(child);
    channel->deliver(node::message_of(wire::Type::hello, child.hello(channel->peer().exporter)));
    settle_down();
    return channel;
  }
  /// All that can be done now.
  void settle_down() {
    do loop_.run_ready();
    while (workers_.run_one());
  }
  void heard_from_all() {
    for (const auto& channel : channels_) channel->set_last_received(clock_.now());
  }
  HttpResponse ask(const std::string& method, const std::string& target,
                   const std::string& body = "") {
    HttpRequest request;
    request.method = method;
    request.target = target;
    request.body = body;
    request.headers = {{"content-type", "application/json"}};
    std::optional<HttpResponse> answer;
    server_->api(std::move(request), {0, 0, "tester", api::Scope::administrate},
                 [&](HttpResponse response) { answer = std::move(response); });
    EXPECT_FALSE(answer) << "never inside the call";
    settle_down();
    EXPECT_TRUE(answer);
    return answer.value_or(HttpResponse{});
  }
  /// -1: there is no such measurement.
  std::int64_t health(std::string_view name) {
    for (const Measurement& measurement : samplers.own_health())
      if (measurement.name == name) return std::get<std::int64_t>(measurement.value);
    return -1;
  }

  /// What it asks of the store fails for a while.
  void fail_when(store::MemoryStore::Hook hook) { store_->fail_when(std::move(hook)); }

  LogLines lines;
  HandDrivenSamplers samplers;

 private:
  TestNode node_;
  FakeClock& clock_;
  SeededRandom random_{1};
  FakeDisk disk_;
  Loop loop_{"core", clock_};
  Loops loops_{loop_, 0, clock_};
  HandDrivenNetwork network_;
  HandDrivenWorkers workers_;
  std::vector<std::shared_ptr<FakeChannel>> channels_;
  store::MemoryStore* store_ = nullptr;  // the server's own
  std::unique_ptr<Server> server_;
};

/// Two servers, a gateway and an agent that are approved, and a stranger.
class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    const wire::pb::Signed delegation = group_.delegation();
    ASSERT_TRUE(store_.save_document(
        {1, std::nullopt, 1, 1, to_bytes(std::string_view(delegation.SerializeAsString()))}));
    for (const TestNode* server : {&first_node_, &second_node_})
      ASSERT_TRUE(store_.save_node(row_of(*server), std::nullopt, {}));
    const GroupFolder::Delegate delegate{*PrivateKey::from_pem(group_.delegate.to_pem()), 1};
    Registry registry(store_, quiet_.log, clock_, first_node_.self, delegate,
                      ServerSettings::AgentPolicy::pending);
    for (const TestNode* node : {&gateway_, &other_gateway_, &agent_})
      ASSERT_TRUE(registry.approve_pending(row_of(*node), {}, "tester"));
    first_.emplace(group_, copy_of(first_node_), clock_, store_);
  }
  TestServer& first() { return *first_; }
  void restart_first() {
    first_.reset();
    first_.emplace(group_, copy_of(first_node_), clock_, store_);
  }
  /// The other server; opened when it is first asked for.
  TestServer& second() {
    if (!second_) second_.emplace(group_, copy_of(second_node_), clock_, store_);
    return *second_;
  }
  /// Second by second, so that every timer runs about when it is due.
  void pass(std::chrono::seconds time) {
    for (std::chrono::seconds gone{0}; gone < time; ++gone) {
      clock_.advance(std::chrono::seconds(1));
      for (auto* server : {&first_, &second_}) {
        if (!*server) continue;
        (*server)->heard_from_all();
        (*server)->settle_down();
      }
    }
  }

  /// The next metric batch of an outbox of the agent.
  static node::Outbox::Sealed metric(node::Outbox& outbox, double value) {
    Measurement measurement;
    measurement.name = "m";
    measurement.unit = "1";
    measurement.value = value;
    measurement.time = kWall;
    return outbox.seal(wire::Lane::metric, wire::PayloadKind::metrics,
                       *encode_metrics({}, std::span(&measurement, 1)), kWall);
  }
  /// As a gateway sends it on.
  wire::Message by_gateway(const node::Outbox::Sealed& sealed) const {
    wire::Message message = batch_message(sealed);
    message.body = std::make_shared<const Bytes>(
        *wire::add_stamp(*sealed.message, {agent_.self.id, clock_.wall()}));
    return message;
  }
  /// The agent's own word, as a gateway sends it on.
  wire::Message head(std::uint64_t number) const {
    const std::vector<wire::Stamp> stamps{{agent_.self.id, clock_.wall()}};
    return head_of(agent_, number, stamps);
  }
  /// A node's own word; without stamps as it sends it itself.
  wire::Message head_of(const TestNode& node, std::uint64_t number,
                        const std::vector<wire::Stamp>& stamps = {}) const {
    wire::pb::Head head;
    head.set_node_id(node::field_of(node.self.id.bytes));
    head.set_number(number);
    head.set_issued_ms(to_ms(clock_.wall()));
    const std::string bytes =
        node::sign(node.self.identity, node::kHeadContext, head.SerializeAsString())
            .SerializeAsString();
    return wire::make_message(wire::Type::head, wire::write_stamped(stamps, as_bytes(bytes)));
  }
  static wire::Message offer(const wire::Coverage& coverage) {
    return wire::make_message(wire::Type::offer, wire::encode_coverages(std::span(&coverage, 1)));
  }
  static wire::Message shown(const wire::pb::Signed& document) {
    return node::message_of(wire::Type::document, document);
  }

  /// Documents of a type that were sent down this connection.
  static std::vector<wire::pb::DocumentBody> documents(const FakeChannel& channel,
                                                       node::DocumentType type) {
    std::vector<wire::pb::DocumentBody> found;
    for (const wire::Message& message : channel.of_type(wire::Type::document)) {
      wire::pb::DocumentBody body;
      EXPECT_TRUE(body.ParseFromString(parsed<wire::pb::Signed>(message).body()));
      if (static_cast<node::DocumentType>(body.type()) == type) found.push_back(std::move(body));
    }
    return found;
  }
  /// What was signed as settled of a stream, in the order of sending.
  static std::vector<wire::Settled> settled(const FakeChannel& channel,
                                            const wire::StreamKey& stream) {
    std::vector<wire::Settled> found;
    for (const wire::Message& message : channel.of_type(wire::Type::settled)) {
      auto view = wire::read_settled(message.bytes());
      EXPECT_TRUE(view);
      if (view && view->settled.coverage.stream == stream) found.push_back(view->settled);
    }
    return found;
  }
  /// What was stated as stored of a stream.
  static std::vector<wire::Coverage> stored(const FakeChannel& channel,
                                            const wire::StreamKey& stream) {
    std::vector<wire::Coverage> found;
    for (const wire::Message& message : channel.of_type(wire::Type::stored)) {
      auto list = wire::decode_coverages(message.bytes());
      EXPECT_TRUE(list);
      if (!list) continue;
      for (wire::Coverage& coverage : *list)
        if (coverage.stream == stream) found.push_back(std::move(coverage));
    }
    return found;
  }
  std::vector<std::string> open_alerts() {
    std::vector<std::string> causes;
    const auto open = store_.alerts(true, 100);
    EXPECT_TRUE(open);
    if (!open) return causes;
    for (const store::Alert& alert : *open) causes.push_back(alert.cause);
    return causes;
  }
  store::Standing standing(const TestNode& node) {
    auto row = store_.node(node.self.id);
    EXPECT_TRUE(row && *row);
    return row && *row ? (*row)->standing : store::Standing::pending;
  }

  TestGroup group_;
  FakeClock clock_;
  LogLines quiet_;
  store::MemoryStore store_;
  TestNode first_node_ = group_.node(node::Role::server, "ms1.home.example");
  TestNode second_node_ = group_.node(node::Role::server, "ms2.home.example");
  TestNode gateway_ = group_.node(node::Role::gateway, "gw1.site.example");
  TestNode other_gateway_ = group_.node(node::Role::gateway, "gw2.site.example");
  TestNode agent_ = group_.node(node::Role::agent, "agent1.site.example");
  TestNode stranger_ = group_.node(node::Role::agent, "agent9.site.example");
  wire::StreamKey stream_ = agent_.stream(wire::Lane::metric);

 private:
  /// Keys are not copied by accident; here it is meant.
  TestNode copy_of(const TestNode& node) const {
    TestNode copy = group_.node(node.self.role, node.self.name,
                                *PrivateKey::from_pem(node.self.identity.to_pem()));
    return copy;
  }
  static store::Node row_of(const TestNode& who) {
    store::Node node;
    node.name = who.self.name;
    node.id = who.self.id;
    node.identity_key = to_bytes(who.self.identity.public_key().spki());
    node.role = static_cast<store::Role>(who.self.role);
    node.standing =
        who.self.role == node::Role::server ? store::Standing::approved : store::Standing::pending;
    return node;
  }

  std::optional<TestServer> first_, second_;
};

}  // namespace postern::testing_support
