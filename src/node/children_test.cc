#include "node/children.h"

#include <gtest/gtest.h>

#include "node/fake_channel.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::batch_message;
using testing_support::FakeChannel;
using testing_support::kWall;
using testing_support::LogLines;
using testing_support::parsed;
using testing_support::payload_of;
using testing_support::TestGroup;
using testing_support::TestNode;

/// A gateway or server as its children's side sees it: decides what it is told to, writes down the
/// rest.
class FakeOwner final : public Children::Owner {
 public:
  explicit FakeOwner(std::shared_ptr<const TlsContext> tls) : tls_(std::move(tls)) {}

  void admit(const Candidate& candidate, std::function<void(Decision)> decided) override {
    candidates.push_back(candidate);
    if (decision)
      decided(*decision);
    else
      undecided.push_back(std::move(decided));
  }
  std::vector<wire::pb::Hop> path() override { return hops; }
  const TlsContext& tls() override { return *tls_; }
  Duration head_interval() override { return std::chrono::seconds(60); }
  std::optional<Refusal> objection_to(const Neighbour& who) override {
    if (!objects || !objects(who)) return std::nullopt;
    return Refusal{wire::Refusal::removed, "removed", std::chrono::minutes(1)};
  }
  void on_child(Child& child, const Candidate&) override { arrived.push_back(child.channel_id()); }
  void on_child_gone(const Child& child, const std::string&) override {
    gone.push_back(child.channel_id());
  }
  void on_batch(Child& child, const wire::Stamped&, const wire::BatchView& batch,
                SharedBytes message) override {
    batches.push_back(batch.header.sequence);
    if (take_at_once) child.taken(batch.header.stream.lane, message->size());
  }
  void on_offer(Child&, const std::vector<wire::Coverage>& list) override {
    for (const auto& offer : list) offers.push_back(offer);
  }
  void on_child_message(Child&, const wire::Message& message) override {
    messages.push_back(message.type);
  }
  void on_http(HttpRequest, Respond respond) override { respond({}); }
  void on_twin(const Child& child, const Candidate& twin) override {
    twins.emplace_back(child.channel_id(), twin.who.incarnation);
  }

  std::vector<std::pair<std::uint64_t, std::uint64_t>> twins;
  std::optional<Decision> decision = Decision(Admitted{});
  std::vector<std::function<void(Decision)>> undecided;
  std::vector<Candidate> candidates;
  std::function<bool(const Neighbour&)> objects;
  std::vector<wire::pb::Hop> hops;
  std::vector<std::uint64_t> arrived, gone, batches;
  std::vector<wire::Coverage> offers;
  std::vector<wire::Type> messages;
  bool take_at_once = true;

 private:
  std::shared_ptr<const TlsContext> tls_;
};

class ChildrenTest : public ::testing::Test {
 protected:
  static wire::Message empty(wire::Type type) { return wire::make_message(type, {}); }

  std::shared_ptr<FakeChannel> connect(const TestNode& node) {
    ChannelPeer peer;
    peer.address = "192.0.2.1:40000";
    peer.chain = {node.certificate()};
    peer.exporter.fill(static_cast<std::byte>(++last_id_));
    peer.own_tls_key = gateway_.tls_key();
    auto channel = std::make_shared<FakeChannel>(last_id_, peer);
    channel->set_last_received(clock_.now());
    children_.on_channel(channel);
    return channel;
  }
  wire::pb::Hello hello(const FakeChannel& channel, const TestNode& node) {
    return node.hello(channel.peer().exporter);
  }
  void say(FakeChannel& channel, const wire::pb::Hello& hello) {
    channel.deliver(message_of(wire::Type::hello, hello));
  }
  std::shared_ptr<FakeChannel> attach(const TestNode& node) {
    auto channel = connect(node);
    say(*channel, hello(*channel, node));
    return channel;
  }
  /// The code it was refused with; zero: it was not.
  static wire::Refusal refusal(const FakeChannel& channel) {
    return channel.refused.empty() ? wire::Refusal{} : channel.refused.front().reason;
  }
  void run_posted() {
    core_.post([this] { core_.stop(); });
    core_.run();
  }
  wire::Message batch(Outbox& outbox, wire::Lane lane, std::size_t bytes = 100) {
    return batch_message(
        outbox.seal(lane, wire::PayloadKind::metrics, payload_of(std::string(bytes, 'x')), kWall));
  }

  TestGroup group_;
  TestNode gateway_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  TestNode lower_ = group_.node(Role::gateway, "gw2.site.example");
  LogLines lines_;
  FakeClock clock_;
  Loop core_{"core", clock_};
  Loops loops_{core_, 0, clock_};
  FakeOwner owner_{
      *TlsContext::create(gateway_.credential(), group_.anchors(), {.now = [] { return kWall; }})};
  Children children_{loops_, lines_.log, gateway_.self, owner_};
  std::uint64_t last_id_ = 0;
};

// ---- Hello

TEST_F(ChildrenTest, AGoodHelloIsAnsweredByWelcome) {
  wire::pb::Hop own;
  own.set_name("gw1.site.example");
  owner_.hops = {own};
  owner_.decision = Decision(Admitted{group_.approval(agent_), {group_.delegation()}});
  auto channel = attach(agent_);
  const auto welcomes = channel->of_type(wire::Type::welcome);
  ASSERT_EQ(welcomes.size(), 1u);
  const auto welcome = parsed<wire::pb::Welcome>(welcomes.front());
  EXPECT_TRUE(verify_welcome(welcome, gateway_.mark(), channel->peer().exporter, agent_.self));
  EXPECT_EQ(welcome.path_size(), 1);
  ASSERT_EQ(welcome.documents_size(), 2);
  EXPECT_EQ(welcome.documents(0).body(), group_.delegation().body());
  EXPECT_EQ(welcome.credit_size(), 3);
  EXPECT_TRUE(channel->limit_raised);
  EXPECT_EQ(channel->settled_on.size(), 1u);
  EXPECT_EQ(owner_.arrived.size(), 1u);
  ASSERT_NE(children_.find(agent_.self.id), nullptr);
  EXPECT_EQ(children_.find(agent_.self.id)->who().name, "agent1.site.example");
  EXPECT_EQ(children_.size(), 1u);
}

TEST_F(ChildrenTest, DocumentsThatWelcomeHasNoRoomForFollowIt) {
  owner_.decision =
      Decision(Admitted{group_.approval(agent_), {group_.delegation(), group_.deny(1, {})}});
  auto channel = attach(agent_);
  ASSERT_EQ(channel->sent.size(), 2u);
  EXPECT_EQ(channel->sent[0].type, wire::Type::welcome);
  ASSERT_EQ(channel->sent[1].type, wire::Type::document);
  EXPECT_EQ(parsed<wire::pb::Signed>(channel->sent[1]).body(), group_.deny(1, {}).body());
}

TEST_F(ChildrenTest, NothingIsSaidBeforeHello) {
  for (const auto type : {wire::Type::ping, wire::Type::batch, wire::Type::head}) {
    auto channel = connect(agent_);
    channel->deliver(empty(type));
    EXPECT_EQ(refusal(*channel), wire::Refusal::protocol);
    EXPECT_TRUE(channel->sent.empty());
  }
  EXPECT_TRUE(owner_.candidates.empty());
}

TEST_F(ChildrenTest, NothingIsSaidBetweenHelloAndWelcome) {
  owner_.decision = std::nullopt;
  auto channel = attach(agent_);
  channel->deliver(empty(wire::Type::ping));
  EXPECT_EQ(refusal(*channel), wire::Refusal::protocol);
  owner_.undecided.front()(Decision(Admitted{}));  // too late
  EXPECT_TRUE(channel->sent.empty());
  EXPECT_EQ(children_.size(), 0u);
}

TEST_F(ChildrenTest, ASecondHelloIsRefused) {
  auto channel = attach(agent_);
  say(*channel, hello(*channel, agent_));
  EXPECT_EQ(refusal(*channel), wire::Refusal::protocol);
  EXPECT_EQ(owner_.candidates.size(), 1u);
}

TEST_F(ChildrenTest, AHelloThatCannotBeReadIsRefused) {
  auto channel = connect(agent_);
  channel->deliver(wire::make_message(wire::Type::hello, to_bytes("\xff\xff\xff\xff")));
  EXPECT_EQ(refusal(*channel), wire::Refusal::protocol);
}

TEST_F(ChildrenTest, WhoClaimsToBeAParentIsNoParent) {
  auto channel = connect(lower_);
  auto claim = hello(*channel, lower_);
  claim.set_claim(2);
  say(*channel, claim);
  EXPECT_EQ(refusal(*channel), wire::Refusal::not_a_parent);
  EXPECT_TRUE(owner_.candidates.empty());
}

TEST_F(ChildrenTest, ANameThatIsNotInTheCertificateIsRefusedWithBothNames) {
  auto channel = connect(agent_);
  agent_.self.name = "agent9.site.example";
  say(*channel, hello(*channel, agent_));
  EXPECT_EQ(refusal(*channel), wire::Refusal::wrong_name);
  const std::string& words = channel->refused.front().words;
  EXPECT_NE(words.find("agent9.site.example"), std::string::npos);
  EXPECT_NE(words.find("agent1.site.example"), std::string::npos);
}

TEST_F(ChildrenTest, AProofForAnotherConnectionIsRefused) {
  auto first = connect(agent_), second = connect(agent_);
  say(*second, hello(*first, agent_));
  EXPECT_EQ(refusal(*second), wire::Refusal::bad_proof);
}

TEST_F(ChildrenTest, OurOwnIdentityOrOnesOfOurPathIsALoop) {
  TestNode twin = group_.node(Role::gateway, "gw3.site.example",
                              *PrivateKey::from_pem(gateway_.self.identity.to_pem()));
  auto own = attach(twin);
  EXPECT_EQ(refusal(*own), wire::Refusal::loop);
  wire::pb::Hop above;
  above.set_node_id(field_of(lower_.self.id.bytes));
  owner_.hops = {above};
  auto parent = attach(lower_);
  EXPECT_EQ(refusal(*parent), wire::Refusal::loop);
}

// ---- Admission

TEST_F(ChildrenTest, ARefusedCandidateHearsWhyAndWhen) {
  owner_.decision = std::unexpected(
      Refusal{wire::Refusal::pending_approval, "not approved yet", std::chrono::seconds(3)});
  auto channel = attach(agent_);
  ASSERT_EQ(channel->refused.size(), 1u);
  EXPECT_EQ(channel->refused[0].reason, wire::Refusal::pending_approval);
  EXPECT_EQ(channel->refused[0].words, "not approved yet");
  EXPECT_EQ(channel->refused[0].retry_after, std::chrono::seconds(3));
  EXPECT_TRUE(channel->sent.empty());
  EXPECT_TRUE(owner_.arrived.empty());
}

TEST_F(ChildrenTest, ADecisionMayComeLater) {
  owner_.decision = std::nullopt;
  auto channel = attach(agent_);
  EXPECT_EQ(children_.size(), 0u);
  owner_.undecided.front()(Decision(Admitted{}));
  EXPECT_EQ(channel->of_type(wire::Type::welcome).size(), 1u);
  EXPECT_EQ(children_.size(), 1u);
}

TEST_F(ChildrenTest, ADecisionForACandidateThatIsGoneIsDropped) {
  owner_.decision = std::nullopt;
  auto channel = attach(agent_);
  channel->end("hung up");
  run_posted();
  owner_.undecided.front()(Decision(Admitted{}));
  EXPECT_EQ(children_.size(), 0u);
  EXPECT_TRUE(owner_.arrived.empty());
  EXPECT_TRUE(owner_.gone.empty());
}

// ---- What a child sends

TEST_F(ChildrenTest, APingIsAnsweredWithItsBytes) {
  auto channel = attach(agent_);
  channel->deliver(wire::make_message(wire::Type::ping, to_bytes("12345678")));
  const auto pongs = channel->of_type(wire::Type::pong);
  ASSERT_EQ(pongs.size(), 1u);
  EXPECT_EQ(as_text(pongs[0].bytes()), "12345678");
}

TEST_F(ChildrenTest, OffersAndBatchesReachTheOwnerAndTheirAnswersTheChild) {
  auto channel = attach(agent_);
  Outbox outbox(agent_.self.identity, {1, 7});
  const wire::StreamKey stream = outbox.stream(wire::Lane::metric);
  const std::vector<wire::Coverage> offer{{stream, {{1, 4, Digest{}}}}};
  channel->deliver(wire::make_message(wire::Type::offer, wire::encode_coverages(offer)));
  EXPECT_EQ(owner_.offers, offer);
  EXPECT_EQ(children_.find(agent_.self.id)->highest(stream), 4u);
  channel->deliver(batch(outbox, wire::Lane::metric));
  EXPECT_EQ(owner_.batches, std::vector<std::uint64_t>{1});
  EXPECT_EQ(children_.find(agent_.self.id)->highest(stream), 4u);

  int visited = 0;
  children_.for_each_of(stream, [&](Child& child) {
    ++visited;
    child.answer(stream, 1, Digest{}, kNotYet, "later", std::chrono::seconds(5));
  });
  EXPECT_EQ(visited, 1);
  const auto answers = channel->of_type(wire::Type::answer);
  ASSERT_EQ(answers.size(), 1u);
  const auto answer = parsed<wire::pb::Answer>(answers[0]);
  EXPECT_EQ(answer.sequence(), 1u);
  EXPECT_EQ(answer.verdict(), kNotYet);
  EXPECT_EQ(answer.retry_after_ms(), 5000u);
  Reader in(as_bytes(answer.stream()));
  EXPECT_EQ(*wire::StreamKey::read(in), stream);

  channel->end("hung up");
  run_posted();
  children_.for_each_of(stream, [&](Child&) { ++visited; });
  EXPECT_EQ(visited, 1);
}

TEST_F(ChildrenTest, HeadsRequestsAndPresenceReachTheOwner) {
  auto channel = attach(lower_);
  for (const auto type :
       {wire::Type::head, wire::Type::request, wire::Type::reply, wire::Type::notice,
        wire::Type::presence, wire::Type::settled, wire::Type::document}) {
    channel->deliver(empty(type));
    ASSERT_FALSE(owner_.messages.empty());
    EXPECT_EQ(owner_.messages.back(), type);
  }
  EXPECT_EQ(owner_.messages.size(), 7u);
  EXPECT_TRUE(channel->open());
}

TEST_F(ChildrenTest, WhatOnlyParentsSayIsRefused) {
  for (const auto type : {wire::Type::welcome, wire::Type::stored, wire::Type::answer,
                          wire::Type::credit, wire::Type::path, wire::Type::move}) {
    auto channel = attach(lower_);
    channel->deliver(empty(type));
    EXPECT_EQ(refusal(*channel), wire::Refusal::protocol) << wire::to_string(type);
    channel->end("refused");
    run_posted();
  }
  EXPECT_TRUE(owner_.messages.empty());
}

TEST_F(ChildrenTest, ABatchOnAnotherLaneIsRefused) {
  auto channel = attach(agent_);
  Outbox outbox(agent_.self.identity, {1, 7});
  auto message = batch(outbox, wire::Lane::metric);
  message.lane = static_cast<std::uint8_t>(wire::Lane::state);
  channel->deliver(std::move(message));
  EXPECT_EQ(refusal(*channel), wire::Refusal::protocol);
  EXPECT_TRUE(owner_.batches.empty());
}

TEST_F(ChildrenTest, BatchesAndOffersThatCannotBeReadAreRefused) {
  auto one = attach(agent_);
  one->deliver(wire::make_message(wire::Type::batch, to_bytes("no batch"), 3));
  EXPECT_EQ(refusal(*one), wire::Refusal::protocol);
  auto other = attach(lower_);
  other->deliver(wire::make_message(wire::Type::offer, to_bytes("\x09")));
  EXPECT_EQ(refusal(*other), wire::Refusal::protocol);
}

TEST_F(ChildrenTest, AnAgentSpeaksForItselfAlone) {  // rule T5
  Outbox others(lower_.self.identity, {1, 7});
  auto sender = attach(agent_);
  sender->deliver(batch(others, wire::Lane::metric));
  EXPECT_EQ(refusal(*sender), wire::Refusal::protocol);
  sender->end("refused");
  auto offerer = attach(agent_);
  const std::vector<wire::Coverage> offer{{others.stream(wire::Lane::metric), {}}};
  offerer->deliver(wire::make_message(wire::Type::offer, wire::encode_coverages(offer)));
  EXPECT_EQ(refusal(*offerer), wire::Refusal::protocol);
  EXPECT_TRUE(owner_.batches.empty());
  EXPECT_TRUE(owner_.offers.empty());
}

TEST_F(ChildrenTest, AGatewayHandsOnWhatItsDescendantsSigned) {
  Outbox below(agent_.self.identity, {1, 7});
  auto channel = attach(lower_);
  channel->deliver(batch(below, wire::Lane::metric));
  EXPECT_EQ(owner_.batches.size(), 1u);
  EXPECT_TRUE(channel->open());
}

// ---- Credit

TEST_F(ChildrenTest, MoreThanItsCreditIsRefused) {
  owner_.take_at_once = false;
  auto channel = attach(agent_);
  const auto welcome = parsed<wire::pb::Welcome>(channel->of_type(wire::Type::welcome).front());
  const std::uint64_t window = welcome.credit(0);
  Outbox outbox(agent_.self.identity, {1, 7});
  std::uint64_t sent = 0;
  while (true) {
    auto message = batch(outbox, wire::Lane::state, 500'000);
    sent += message.bytes().size();
    channel->deliver(std::move(message));
    if (sent > window) break;
    ASSERT_EQ(refusal(*channel), wire::Refusal{}) << sent << " of " << window;
  }
  EXPECT_EQ(refusal(*channel), wire::Refusal::protocol);
}

TEST_F(ChildrenTest, CreditGrowsWithWhatIsTakenSoAChildNeverStalls) {
  auto channel = attach(agent_);
  std::array<std::uint64_t, 3> credit{};
  const auto welcome = parsed<wire::pb::Welcome>(channel->of_type(wire::Type::welcome).front());
  for (int i = 0; i < 3; ++i) credit[static_cast<std::size_t>(i)] = welcome.credit(i);
  Outbox outbox(agent_.self.identity, {1, 7});
  std::uint64_t sent = 0;
  for (int i = 0; i < 100; ++i) {
    auto message = batch(outbox, wire::Lane::state, 400'000);
    sent += message.bytes().size();
    ASSERT_LE(sent, credit[0]) << "a child that keeps to its credit stalls at batch " << i;
    channel->deliver(std::move(message));
    ASSERT_TRUE(channel->open());
    const auto grants = channel->of_type(wire::Type::credit);
    if (grants.empty()) continue;
    Reader in(grants.back().bytes());
    for (auto& total : credit) total = in.u64();
    ASSERT_TRUE(in.exhausted());
  }
  EXPECT_LT(channel->of_type(wire::Type::credit).size(), 50u);  // not one a batch
}

// ---- Supersession

TEST_F(ChildrenTest, TheOlderConnectionClosesOnlyAfterTheNewerAnsweredAPing) {
  auto older = attach(agent_);
  auto newer = attach(agent_);
  EXPECT_EQ(children_.find(agent_.self.id)->channel_id(), newer->id());
  EXPECT_TRUE(older->open());
  ASSERT_EQ(newer->of_type(wire::Type::ping).size(), 1u);
  newer->deliver(wire::make_message(wire::Type::pong, Bytes(8)));
  EXPECT_EQ(refusal(*older), wire::Refusal::superseded);
  older->end("superseded");
  run_posted();
  EXPECT_TRUE(owner_.gone.empty());  // the node is still here
  EXPECT_EQ(children_.find(agent_.self.id)->channel_id(), newer->id());
  newer->end("hung up");
  EXPECT_EQ(owner_.gone, std::vector<std::uint64_t>{newer->id()});
  EXPECT_EQ(children_.find(agent_.self.id), nullptr);
}

TEST_F(ChildrenTest, AnAttemptThatDiesUnansweredLeavesTheOlderConnectionInItsPlace) {
  auto older = attach(agent_);
  auto newer = attach(agent_);
  newer->end("hung up");
  run_posted();
  EXPECT_TRUE(older->open());
  ASSERT_NE(children_.find(agent_.self.id), nullptr);
  EXPECT_EQ(children_.find(agent_.self.id)->channel_id(), older->id());
  EXPECT_TRUE(owner_.gone.empty());
  older->end("hung up");
  EXPECT_EQ(owner_.gone, std::vector<std::uint64_t>{older->id()});
}

TEST_F(ChildrenTest, TheNewestOfThreeSupersedesBothOthers) {
  auto first = attach(agent_), second = attach(agent_), third = attach(agent_);
  third->deliver(wire::make_message(wire::Type::pong, Bytes(8)));
  EXPECT_EQ(refusal(*second), wire::Refusal::superseded);
  EXPECT_EQ(refusal(*first), wire::Refusal::superseded);
  EXPECT_TRUE(third->open());
}

TEST_F(ChildrenTest, AMiddleOneThatEndsDoesNotLeaveTheFirstBehind) {
  auto first = attach(agent_), second = attach(agent_), third = attach(agent_);
  second->end("hung up");
  run_posted();
  EXPECT_EQ(children_.find(agent_.self.id)->channel_id(), third->id());
  third->deliver(wire::make_message(wire::Type::pong, Bytes(8)));
  EXPECT_EQ(refusal(*first), wire::Refusal::superseded);
}

// ---- Two processes of one identity (rule T3, W28)

class TwinTest : public ChildrenTest {
 protected:
  /// The same identity, another process.
  std::shared_ptr<FakeChannel> another(std::uint64_t incarnation = 12) {
    auto channel = connect(agent_);
    auto greeting = hello(*channel, agent_);
    greeting.set_predecessor(greeting.incarnation());
    greeting.set_incarnation(incarnation);
    say(*channel, greeting);
    return channel;
  }
  static void answer_last_ping(FakeChannel& channel) {
    const auto pings = channel.of_type(wire::Type::ping);
    ASSERT_FALSE(pings.empty());
    channel.deliver(wire::make_message(
        wire::Type::pong, Bytes(pings.back().bytes().begin(), pings.back().bytes().end())));
  }
  static bool welcomed(const FakeChannel& channel) {
    return !channel.of_type(wire::Type::welcome).empty();
  }
};

TEST_F(TwinTest, WhoeverIsThereAndAnswersIsUndisturbedAndTheSecondHearsWhy) {
  auto first = attach(agent_);
  auto second = another();
  EXPECT_FALSE(welcomed(*second)) << "not before the first was asked";
  answer_last_ping(*first);
  EXPECT_EQ(refusal(*second), wire::Refusal::clash);
  EXPECT_NE(second->refused.front().words.find("192.0.2.1:40000"), std::string::npos);
  EXPECT_TRUE(first->open());
  EXPECT_EQ(children_.find(agent_.self.id)->channel_id(), first->id());
  EXPECT_EQ(owner_.twins, (decltype(owner_.twins){{first->id(), 12}}));
  second->end("refused");
  run_posted();
  auto third = another(13);
  answer_last_ping(*first);
  EXPECT_EQ(refusal(*third), wire::Refusal::clash);
  EXPECT_EQ(owner_.twins.size(), 1u) << "told once in ten minutes";
}

TEST_F(TwinTest, ARestartWhoseEndWasNotHeardOfComesInWhenTheOldOneEndsOrIsSilent) {
  auto first = attach(agent_);
  auto second = another();
  EXPECT_FALSE(welcomed(*second));
  first->end("hung up");
  run_posted();
  EXPECT_TRUE(welcomed(*second));
  auto third = another(13);
  EXPECT_FALSE(welcomed(*third));
  clock_.advance(kTwinAnswerMax + std::chrono::milliseconds(1));
  core_.run_ready();
  EXPECT_TRUE(welcomed(*third));
  EXPECT_TRUE(owner_.twins.empty());
}

TEST_F(TwinTest, OnlyTheAnswerToThatVeryQuestionCounts) {
  auto first = attach(agent_);
  auto second = another();
  first->deliver(wire::make_message(wire::Type::pong, Bytes(8)));
  first->deliver(wire::make_message(wire::Type::pong, Bytes(3)));
  EXPECT_FALSE(welcomed(*second));
  EXPECT_EQ(refusal(*second), wire::Refusal{});
  second->end("hung up");
  run_posted();
  answer_last_ping(*first);
  EXPECT_TRUE(owner_.twins.empty()) << "it is gone";
  EXPECT_TRUE(first->open());
}

TEST_F(TwinTest, TheSameProcessTakesOverFromItself) {
  auto first = attach(agent_);
  auto second = attach(agent_);
  EXPECT_TRUE(welcomed(*second));
}

TEST_F(ChildrenTest, AnObjectionToANodeEndsEveryConnectionOfIt) {
  auto older = attach(agent_), newer = attach(agent_);
  owner_.decision = std::nullopt;
  auto candidate = attach(agent_);
  auto other = attach(lower_);
  owner_.objects = [&](const Neighbour& who) { return who.id == agent_.self.id; };
  children_.refuse_denied();
  EXPECT_EQ(refusal(*older), wire::Refusal::removed);
  EXPECT_EQ(refusal(*newer), wire::Refusal::removed);
  EXPECT_EQ(refusal(*candidate), wire::Refusal::removed);
  EXPECT_TRUE(other->open());
  owner_.undecided.front()(Decision(Admitted{}));
  EXPECT_TRUE(candidate->sent.empty());
}

TEST_F(ChildrenTest, WhatGoesToAllChildrenGoesToSupersededOnesToo) {
  attach(agent_);
  attach(agent_);
  attach(lower_);
  int visited = 0;
  children_.for_each([&](Child&) { ++visited; });
  EXPECT_EQ(visited, 3);
}

// ---- Life, logs, end

TEST_F(ChildrenTest, ASilentChildIsGivenUp) {
  auto silent = attach(agent_), lively = attach(lower_);
  for (int i = 0; i < 11; ++i) {
    clock_.advance(std::chrono::seconds(15));
    lively->set_last_received(clock_.now());
    run_posted();
    run_posted();
  }
  EXPECT_NE(silent->closed_because, "");
  EXPECT_TRUE(lively->open());
}

TEST_F(ChildrenTest, TheSameRefusalIsLoggedOncePerFiveMinutes) {
  owner_.decision = std::unexpected(
      Refusal{wire::Refusal::pending_approval, "not approved yet", std::chrono::seconds(3)});
  for (int i = 0; i < 5; ++i) attach(agent_);
  EXPECT_EQ(lines_.count("not approved yet"), 1u);
  EXPECT_EQ(children_.refused(), 5u);
  attach(lower_);  // somebody else
  EXPECT_EQ(lines_.count("not approved yet"), 2u);
  clock_.advance(kRefusalLoggedEvery);
  attach(agent_);
  EXPECT_EQ(lines_.count("not approved yet"), 3u);
}

TEST_F(ChildrenTest, StoppingTellsEveryChild) {
  auto one = attach(agent_), other = attach(lower_);
  children_.stop("the gateway stops");
  EXPECT_EQ(refusal(*one), wire::Refusal::stopping);
  EXPECT_EQ(refusal(*other), wire::Refusal::stopping);
}

}  // namespace
}  // namespace postern::node
