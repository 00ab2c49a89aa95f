#include "gateway/gateway.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "net/dialer.h"
#include "net/http_client.h"
#include "node/admission.h"
#include "node/test_world.h"

namespace postern {
namespace {

using node::Role;
using testing_support::batch_message;
using testing_support::kWall;
using testing_support::NodeWorld;
using testing_support::parsed;
using testing_support::payload_of;
using testing_support::TestNode;
using testing_support::TestParent;
using wire::Lane;

/// A child that says what the test tells it to, and writes down what comes.
class TestChild final : ChannelHandler {
 public:
  TestChild(TestNode as, std::function<void()> changed)
      : node(std::move(as)), changed_(std::move(changed)) {}
  ~TestChild() override {
    if (channel) channel->set_handler(nullptr);
  }
  void use(std::shared_ptr<Channel> with, const std::optional<wire::pb::Signed>& approval) {
    if (channel) channel->set_handler(nullptr);
    channel = std::move(with);
    channel->set_handler(this);
    channel->raise_limit();
    wire::pb::Hello hello = node.hello(channel->peer().exporter);
    if (approval) *hello.mutable_approval() = *approval;
    channel->send(node::message_of(wire::Type::hello, hello));
  }
  void send(wire::Message message) { channel->send(std::move(message)); }
  std::size_t count(wire::Type type) const { return of_type(type).size(); }
  std::vector<wire::Message> of_type(wire::Type type) const {
    std::vector<wire::Message> found;
    for (const wire::Message& message : messages)
      if (message.type == type) found.push_back(message);
    return found;
  }
  std::vector<wire::pb::Answer> answers() const {
    std::vector<wire::pb::Answer> all;
    for (const auto& message : of_type(wire::Type::answer))
      all.push_back(parsed<wire::pb::Answer>(message));
    return all;
  }
  /// The newest word about what the gateway holds of the stream.
  std::vector<wire::Interval> stored(const wire::StreamKey& stream) const {
    std::vector<wire::Interval> newest;
    for (const auto& message : of_type(wire::Type::stored)) {
      const auto list = wire::decode_coverages(message.bytes());
      for (const auto& coverage : *list)
        if (coverage.stream == stream) newest = coverage.intervals;
    }
    return newest;
  }

  TestNode node;
  std::shared_ptr<Channel> channel;
  std::vector<wire::Message> messages;
  std::vector<RefusalNotice> refusals;

 private:
  void on_message(Channel&, wire::Message message) override {
    messages.push_back(std::move(message));
    changed_();
  }
  void on_refused(Channel&, const RefusalNotice& notice) override {
    refusals.push_back(notice);
    changed_();
  }
  void on_closed(Channel&, const Error&) override { changed_(); }
  std::function<void()> changed_;
};

class GatewayTest : public NodeWorld {
 protected:
  void SetUp() override { furnish(folder_ / self_.self.name, self_); }
  void TearDown() override {
    disk_.open_gate();
    if (gateway_) gateway_->stop("the test ends it");
    gateway_.reset();
    run_posted();
  }
  void open(bool with_parent = true) {
    const ParentSetting nobody{"ms.home.example", {"127.0.0.1", 1}};
    auto opened =
        Gateway::open(around(), settings_for(self_, {with_parent ? parent_.setting() : nobody}));
    ASSERT_TRUE(opened) << opened.error().message;
    gateway_ = std::move(*opened);
    if (!with_parent) return;
    until([&] { return !parent_.of_type(wire::Type::head).empty(); }, "the gateway's attach");
  }
  void dial(TestChild& child, std::optional<wire::pb::Signed> approval) {
    DialRequest request;
    request.host = "127.0.0.1";
    request.port = gateway_->port();
    request.name = self_.self.name;
    request.tls = *TlsContext::create(child.node.credential(), group_.anchors(),
                                      {.now = [] { return kWall; }});
    dialer_.dial(std::move(request), [&child, approval](const DialResult& result) {
      ASSERT_TRUE(result) << result.error().words;
      child.use(*result, approval);
    });
  }
  using Asked = std::shared_future<Result<HttpResponse>>;
  /// Blocks, so away from the loop.
  Asked post(const std::string& target, const std::string& body,
             const std::string& method = "POST") {
    HttpRequest request;
    request.method = method;
    request.target = target;
    request.body = body;
    return std::async(std::launch::async,
                      [request, port = gateway_->port()] {
                        return http_over_unverified_tls("127.0.0.1", port, request);
                      })
        .share();
  }
  HttpResponse answer(const Asked& asked) {
    until([&] { return asked.wait_for(std::chrono::seconds(0)) == std::future_status::ready; },
          "an answer");
    EXPECT_TRUE(asked.get()) << asked.get().error().message;
    return asked.get().value_or(HttpResponse{});
  }
  void attach(TestChild& child) {
    const std::size_t before = child.count(wire::Type::welcome);
    dial(child, group_.approval(child.node));
    until([&] { return child.count(wire::Type::welcome) > before; }, "a welcome");
  }
  node::Outbox::Sealed seal(std::string_view text = "x") {
    return outbox_.seal(Lane::metric, wire::PayloadKind::metrics, payload_of(text), kWall);
  }
  /// The gateway has read all that the child sent before.
  void fence(TestChild& child) {
    const std::size_t before = child.count(wire::Type::pong);
    child.send(wire::make_message(wire::Type::ping, Bytes(8)));
    until([&] { return child.count(wire::Type::pong) > before; }, "a pong");
  }
  std::size_t forwarded(const Digest& hash) const {
    return static_cast<std::size_t>(
        std::count_if(parent_.batches.begin(), parent_.batches.end(),
                      [&](const auto& batch) { return batch.hash == hash; }));
  }
  /// The parent answers the newest request.
  void reply(const wire::pb::Reply& without_id) {
    wire::pb::Reply reply = without_id;
    reply.set_id(parsed<wire::pb::Request>(parent_.of_type(wire::Type::request).back()).id());
    parent_.send(node::message_of(wire::Type::reply, reply));
  }
  static wire::pb::Reply body_of(const std::string& body) {
    wire::pb::Reply answer;
    answer.set_body(body);
    return answer;
  }
  void until_requests(std::size_t n) {
    until([&] { return parent_.of_type(wire::Type::request).size() >= n; }, "a request");
  }

  TestNode self_ = group_.node(Role::gateway, "gw1.site.example");
  TestParent parent_{loops_, lines_.log, group_, "ms.home.example", [this] { changed(); }};
  SocketDialer dialer_{loops_};
  TestChild agent_{group_.node(Role::agent, "agent1.site.example"), [this] { changed(); }};
  TestChild lower_{group_.node(Role::gateway, "gw2.site.example"), [this] { changed(); }};
  node::Outbox outbox_{agent_.node.self.identity, {1, 7}};
  const wire::StreamKey stream_ = outbox_.stream(Lane::metric);
  std::unique_ptr<Gateway> gateway_;
};

TEST_F(GatewayTest, StoredIsSaidOnlyAfterTheSync) {
  open();
  attach(agent_);
  fence(agent_);
  disk_.close_gate();
  const auto sealed = seal();
  agent_.send(batch_message(sealed));
  until([&] { return disk_.something_waits(); }, "a sync");
  fence(agent_);
  EXPECT_EQ(agent_.count(wire::Type::stored), 0u);
  EXPECT_EQ(forwarded(sealed.hash), 0u);
  disk_.open_gate();
  until([&] { return !agent_.stored(stream_).empty() && forwarded(sealed.hash) == 1; }, "stored");
  EXPECT_EQ(agent_.stored(stream_), (std::vector<wire::Interval>{{1, 1, sealed.hash}}));
  // The gateway's own are among them.
  const auto up = std::ranges::find(parent_.batches, sealed.hash, &TestParent::Batch::hash);
  EXPECT_EQ(up->stamps.size(), 1u);
}

TEST_F(GatewayTest, ADuplicateIsAnsweredAndGoesUpOnce) {
  open();
  attach(agent_);
  const auto sealed = seal();
  agent_.send(batch_message(sealed));
  until([&] { return forwarded(sealed.hash) == 1; }, "the batch");
  parent_.send(
      wire::make_message(wire::Type::settled, group_.settled({stream_, {{1, 1, sealed.hash}}})));
  until([&] { return agent_.count(wire::Type::settled) == 1; }, "settled");
  const std::size_t stored = agent_.count(wire::Type::stored);
  agent_.send(batch_message(sealed));
  until([&] { return agent_.count(wire::Type::stored) > stored; }, "an answer");
  EXPECT_EQ(agent_.count(wire::Type::settled), 2u);
  fence(agent_);
  EXPECT_EQ(forwarded(sealed.hash), 1u);
}

TEST_F(GatewayTest, EquivocationIsNoDuplicateAndStaysWithTheChild) {
  open();
  attach(agent_);
  const auto mine = seal("mine");
  agent_.send(batch_message(mine));
  until([&] { return !agent_.stored(stream_).empty(); }, "stored");
  node::Outbox clone(agent_.node.self.identity, {1, 7});
  const auto other =
      clone.seal(Lane::metric, wire::PayloadKind::metrics, payload_of("other"), kWall);
  agent_.send(batch_message(other));
  until([&] { return agent_.answers().size() == 1; }, "an answer");
  EXPECT_EQ(agent_.answers()[0].verdict(), node::kNotYet);
  EXPECT_EQ(agent_.answers()[0].hash(), node::field_of(other.hash));
  EXPECT_EQ(agent_.stored(stream_), (std::vector<wire::Interval>{{1, 1, mine.hash}}));
  EXPECT_EQ(forwarded(other.hash), 0u);
}

TEST_F(GatewayTest, WhatTheDiskDoesNotTakeIsNotStored) {
  open();
  attach(agent_);
  disk_.fail_syncs(true);
  const auto sealed = seal();
  agent_.send(batch_message(sealed));
  until([&] { return agent_.answers().size() == 1; }, "an answer");
  EXPECT_EQ(agent_.answers()[0].verdict(), node::kNotYet);
  EXPECT_GT(agent_.answers()[0].retry_after_ms(), 0u);
  EXPECT_TRUE(agent_.stored(stream_).empty());
  EXPECT_EQ(forwarded(sealed.hash), 0u);
  disk_.fail_syncs(false);
  agent_.send(batch_message(sealed));
  until([&] { return !agent_.stored(stream_).empty(); }, "stored");
}

TEST_F(GatewayTest, AFailureIsToldToTheConnectionThatSentItAgainToo) {  // rule D11
  open();
  attach(agent_);
  disk_.close_gate();
  const auto sealed = seal();
  agent_.send(batch_message(sealed));
  until([&] { return disk_.something_waits(); }, "a sync");
  attach(agent_);  // a new connection, which sends it again while it is being written
  agent_.send(batch_message(sealed));
  fence(agent_);
  disk_.fail_syncs(true);
  disk_.open_gate();
  until([&] { return !agent_.answers().empty(); }, "an answer");
  EXPECT_EQ(agent_.answers()[0].verdict(), node::kNotYet);
}

// ---- Admission

TEST_F(GatewayTest, AnApprovalShownInHelloIsEnoughWithoutAParent) {
  open();
  gateway_->stop("restart");
  gateway_.reset();
  run_posted();
  // The delegation is on disk by now: the worker that wrote it has ended.
  open(false);
  attach(agent_);
}

TEST_F(GatewayTest, AnUnknownNodeWithoutAParentIsRefusedAsBusy) {
  open(false);
  dial(agent_, std::nullopt);
  until([&] { return !agent_.refusals.empty(); }, "a refusal");
  EXPECT_EQ(agent_.refusals[0].reason, wire::Refusal::busy);
}

TEST_F(GatewayTest, AnUnknownNodeIsAskedForAboveAndTheRefusalHandedOn) {
  open();
  dial(agent_, std::nullopt);
  until_requests(1);
  wire::pb::Reply refusal;
  refusal.mutable_refused()->set_reason(
      static_cast<std::uint32_t>(wire::Refusal::pending_approval));
  refusal.mutable_refused()->set_words("not approved yet");
  reply(refusal);
  until([&] { return !agent_.refusals.empty(); }, "a refusal");
  EXPECT_EQ(agent_.refusals[0].reason, wire::Refusal::pending_approval);
  EXPECT_EQ(agent_.refusals[0].words, "not approved yet");
}

TEST_F(GatewayTest, AnApprovalFromAboveLetsItIn) {
  open();
  dial(agent_, std::nullopt);
  until_requests(1);
  wire::pb::AdmissionReply admitted;
  *admitted.mutable_approval() = group_.approval(agent_.node);
  wire::pb::Reply yes;
  yes.set_body(admitted.SerializeAsString());
  reply(yes);
  until([&] { return agent_.count(wire::Type::welcome) == 1; }, "a welcome");
}

TEST_F(GatewayTest, ADenyListEndsTheSessionAndIsPassedOn) {
  open();
  attach(agent_);
  attach(lower_);
  parent_.send(node::message_of(wire::Type::document, group_.deny(1, {agent_.node.self.id})));
  until([&] { return !agent_.refusals.empty() && lower_.count(wire::Type::document) == 1; },
        "the end");
  EXPECT_EQ(agent_.refusals[0].reason, wire::Refusal::removed);
  EXPECT_TRUE(lower_.refusals.empty());
  dial(agent_, group_.approval(agent_.node));  // nor does it come back with its old approval
  until([&] { return agent_.refusals.size() == 2; }, "a refusal");
}

TEST_F(GatewayTest, ARevokedCertificateEndsItsSessionAndAnotherComesIn) {
  open();
  attach(agent_);
  attach(lower_);
  parent_.send(
      node::message_of(wire::Type::document, group_.deny_certificate(1, agent_.node.mark())));
  until([&] { return !agent_.refusals.empty() && lower_.count(wire::Type::document) == 1; },
        "the end");
  EXPECT_EQ(agent_.refusals[0].reason, wire::Refusal::revoked);
  EXPECT_THAT(agent_.refusals[0].words, testing::HasSubstr("postern cert request"));
  EXPECT_TRUE(lower_.refusals.empty());
  dial(agent_, group_.approval(agent_.node));
  until([&] { return agent_.refusals.size() == 2; }, "a refusal");
  EXPECT_EQ(agent_.refusals[1].reason, wire::Refusal::revoked);
  EXPECT_EQ(parent_.gone, 0);
}

TEST_F(GatewayTest, ItLeavesAParentWhoseCertificateIsRevoked) {
  open();
  attach(lower_);
  parent_.send(
      node::message_of(wire::Type::document, group_.deny_certificate(1, parent_.node.mark())));
  until([&] { return parent_.gone == 1 && lower_.count(wire::Type::document) == 1; }, "the end");
  until([&] { return lines_.count("(revoked)") != 0; }, "the word for it");
}

TEST_F(GatewayTest, ADenyListInPlaceOfAnApprovalHidesNothing) {
  open();
  attach(agent_);
  const auto deny = group_.deny(1, {agent_.node.self.id});
  dial(lower_, deny);  // shown as an approval, before it comes from above
  until_requests(1);
  parent_.send(node::message_of(wire::Type::document, deny));
  until([&] { return !agent_.refusals.empty(); }, "the end of the session");
}

TEST_F(GatewayTest, AChainedReplyGoesBackWithTheChildsOwnNumber) {
  open();
  attach(agent_);
  attach(lower_);
  wire::pb::Admission admission;
  *admission.mutable_hello() = agent_.node.hello({});
  wire::pb::Request request;
  request.set_id(4711);
  request.set_kind(1);
  request.set_body(admission.SerializeAsString());
  lower_.send(node::message_of(wire::Type::request, request));
  until_requests(1);
  const auto up = parsed<wire::pb::Request>(parent_.of_type(wire::Type::request).back());
  wire::pb::Admission passed;
  ASSERT_TRUE(passed.ParseFromString(up.body()));
  ASSERT_EQ(passed.path_size(), 1);
  EXPECT_EQ(passed.path(0).name(), "gw2.site.example");
  wire::pb::Reply answer;
  answer.set_body("for gw2");
  reply(answer);
  until([&] { return lower_.count(wire::Type::reply) == 1; }, "a reply");
  const auto down = parsed<wire::pb::Reply>(lower_.of_type(wire::Type::reply)[0]);
  EXPECT_EQ(down.id(), 4711u);
  EXPECT_EQ(down.body(), "for gw2");
  EXPECT_EQ(agent_.count(wire::Type::reply), 0u);
}

// ---- Strangers without a certificate that is good (docs/formats/join.md#J12, channel.md#W58)

TEST_F(GatewayTest, WhatAStrangerSendsGoesUpAsItIsAndTheAnswerComesBack) {
  open();
  auto joined = post("/join", "what the machine signed");
  until_requests(1);
  auto request = parsed<wire::pb::Request>(parent_.of_type(wire::Type::request).back());
  wire::pb::JoinRelay relay;
  ASSERT_TRUE(relay.ParseFromString(request.body()));
  EXPECT_EQ(request.kind(), node::kJoinRequest);
  EXPECT_EQ(relay.request(), "what the machine signed");
  EXPECT_THAT(relay.address(), testing::StartsWith("127.0.0.1:"));
  EXPECT_EQ(relay.path_size(), 0) << "its parent writes down whom it came by";
  reply(body_of("what the group signed"));
  EXPECT_EQ(answer(joined).status, 200u);
  EXPECT_EQ(answer(joined).body, "what the group signed");

  auto renewed = post("/renew", "a request for a certificate");
  until_requests(2);
  request = parsed<wire::pb::Request>(parent_.of_type(wire::Type::request).back());
  EXPECT_EQ(request.kind(), node::kCertificateRequest);
  EXPECT_EQ(request.body(), "a request for a certificate");
  reply(body_of("a chain"));
  EXPECT_EQ(answer(renewed).body, "a chain");
}

TEST_F(GatewayTest, AStrangerHearsTheManagementServersOwnWordsWhenItSaysNo) {
  open();
  auto refused = post("/renew", "a request for a certificate");
  until_requests(1);
  reply(node::reply_of({wire::Refusal::expired, "it ended too long ago", std::chrono::minutes(1)}));
  EXPECT_EQ(answer(refused).status, 503u);
  EXPECT_EQ(answer(refused).body, "it ended too long ago\n");
  EXPECT_THAT(answer(refused).headers, testing::Contains(testing::Pair("Retry-After", "60")));
}

TEST_F(GatewayTest, AStrangerBehindALowerGatewayIsPassedOnWithTheWayItCame) {
  open();
  attach(lower_);
  wire::pb::JoinRelay relay;
  relay.set_request("x");
  relay.set_address("198.51.100.7:1");
  wire::pb::Request request;
  request.set_id(77);
  request.set_kind(node::kJoinRequest);
  request.set_body(relay.SerializeAsString());
  lower_.send(node::message_of(wire::Type::request, request));
  until_requests(1);
  const auto up = parsed<wire::pb::Request>(parent_.of_type(wire::Type::request).back());
  ASSERT_TRUE(relay.ParseFromString(up.body()));
  ASSERT_EQ(relay.path_size(), 1);
  EXPECT_EQ(relay.path(0).name(), lower_.node.self.name);
  EXPECT_EQ(relay.address(), "198.51.100.7:1");
  reply(body_of("y"));
  until([&] { return lower_.count(wire::Type::reply) == 1; }, "the reply");
  EXPECT_EQ(parsed<wire::pb::Reply>(lower_.of_type(wire::Type::reply)[0]).id(), 77u);
}

TEST_F(GatewayTest, AnAgentBringsNobody) {
  open();
  attach(agent_);
  wire::pb::Request request;
  request.set_id(1);
  request.set_kind(node::kJoinRequest);
  request.set_body(wire::pb::JoinRelay().SerializeAsString());
  agent_.send(node::message_of(wire::Type::request, request));
  attach(lower_);  // behind it
  EXPECT_TRUE(parent_.of_type(wire::Type::request).empty());
}

TEST_F(GatewayTest, AStrangerHearsWhyHeIsNotPassedOn) {
  open(false);
  const auto status = [&](const std::string& target, const std::string& body,
                          const std::string& method = "POST") {
    auto asked = post(target, body, method);
    return answer(asked).status;
  };
  EXPECT_EQ(status("/join", "", "GET"), 405u);
  EXPECT_EQ(status("/join", std::string(node::kJoinBytesMax + 1, 'x')), 413u);
  auto alone = post("/join", "x");
  EXPECT_EQ(answer(alone).status, 503u);
  EXPECT_THAT(answer(alone).body, testing::HasSubstr("cannot ask the management server"));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(status("/renew", "x"), 503u);
  auto late = post("/join", "x");
  EXPECT_EQ(answer(late).status, 429u) << "five at once of one address";
  const auto headers = answer(late).headers;
  EXPECT_TRUE(std::ranges::any_of(headers, [](const auto& h) { return h.first == "Retry-After"; }));
}

}  // namespace
}  // namespace postern
