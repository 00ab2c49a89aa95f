// The server in one thread: what simulations stand on.

#include "server/server.h"

#include <gmock/gmock.h>

#include "server/test_server.h"

namespace postern {
namespace {

using node::DocumentType;
using node::Outbox;
using store::Standing;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing_support::batch_message;
using testing_support::parsed;
using testing_support::ServerTest;

TEST_F(ServerTest, AnswersTheApiWithoutASocketOnAStoreThatIsHandedIn) {
  const HttpResponse pending = first().ask("GET", "/api/v1/pending");
  EXPECT_EQ(pending.status, 200u) << pending.body;
  EXPECT_EQ(first().ask("GET", "/api/v1/no-such-thing").status, 404u);
}

TEST_F(ServerTest, SealsAndAppliesWhatAnotherSamplerHandsOver) {
  const auto applied = [&] { return first().health("postern.server.batches.applied"); };
  Measurement measurement;
  measurement.name = "test";
  measurement.unit = "1";
  measurement.value = std::int64_t{1};
  measurement.time = clock_.wall();
  auto payload = encode_metrics(Resource{}, std::span(&measurement, 1));
  ASSERT_TRUE(payload);
  node::Sampler::Sample sample;
  sample.metrics.push_back(*payload);
  first().samplers.hand_over(sample);
  EXPECT_EQ(applied(), 0) << "not before the store has worked";
  first().settle_down();
  EXPECT_EQ(applied(), 2) << "behind the opening of the epoch";
  first().samplers.hand_over(sample);
  first().settle_down();
  EXPECT_EQ(applied(), 3);
}

// ---- Holes (rule D5)

TEST_F(ServerTest, AHoleIsAskedForOnceItIsAMinuteOldByASignedQuestionDownTheWayOfTheHeads) {
  auto gateway = first().attach(gateway_);
  auto other = first().attach(other_gateway_);
  Outbox outbox(agent_.self.identity, stream_.epoch);
  const auto one = metric(outbox, 1), two = metric(outbox, 2), three = metric(outbox, 3);
  gateway->deliver(head(1));
  gateway->deliver(by_gateway(one));
  gateway->deliver(by_gateway(three));
  first().settle_down();
  pass(std::chrono::seconds(59));
  EXPECT_THAT(gateway->of_type(wire::Type::request), IsEmpty()) << "it may be on its way";
  pass(std::chrono::seconds(7));
  EXPECT_THAT(other->of_type(wire::Type::request), IsEmpty()) << "it leads nowhere";
  const auto requests = gateway->of_type(wire::Type::request);
  ASSERT_THAT(requests, SizeIs(1)) << "and it is not asked again at once";
  const auto request = parsed<wire::pb::Request>(requests[0]);
  EXPECT_EQ(request.kind(), node::kHoleRequest);
  EXPECT_EQ(node::node_id_of_field(request.target()), agent_.self.id);

  wire::pb::Signed asked;
  ASSERT_TRUE(asked.ParseFromString(request.body()));
  node::Trust trust(quiet_.log, group_.root.public_key(), "/documents",
                    [](std::filesystem::path, Bytes) {});
  ASSERT_TRUE(trust.take(group_.delegation(), clock_.wall()));
  EXPECT_TRUE(trust.believe(asked, node::kHoleContext, node::Scope::settled, clock_.wall()));
  wire::pb::HoleQuestion question;
  ASSERT_TRUE(question.ParseFromString(asked.body()));
  EXPECT_EQ(question.first(), 2u);
  EXPECT_EQ(question.last(), 2u);
  EXPECT_EQ(first().health("postern.server.losses.open"), 1);

  gateway->deliver(by_gateway(two));
  pass(std::chrono::minutes(10));
  EXPECT_THAT(gateway->of_type(wire::Type::request), SizeIs(1)) << "it is closed";
  EXPECT_EQ(first().health("postern.server.losses.open"), 0);
}

TEST_F(ServerTest, AHoleThatNobodyExplainsIsAnAlertUntilItIsClosed) {
  auto agent = first().attach(agent_);
  Outbox outbox(agent_.self.identity, stream_.epoch);
  const auto one = metric(outbox, 1), two = metric(outbox, 2);
  agent->deliver(batch_message(two));
  std::uint64_t number = 0;
  const auto pass_with_heads = [&](int minutes) {
    for (; minutes > 0; --minutes) {
      agent->deliver(head_of(agent_, ++number));
      pass(std::chrono::minutes(1));
    }
  };
  pass_with_heads(14);
  EXPECT_THAT(open_alerts(), IsEmpty());
  pass_with_heads(2);
  EXPECT_THAT(open_alerts(), ElementsAre(HasSubstr("hole " + stream_.text())));
  EXPECT_EQ(first().health("postern.server.alerts.open"), 1);
  agent->deliver(batch_message(one));
  pass(std::chrono::seconds(6));
  EXPECT_THAT(open_alerts(), IsEmpty());
}

// ---- What is known of nodes

TEST_F(ServerTest, ASilentNodeIsLostAfterThreeHeartbeatsAndWellAgainWithItsNextHead) {
  auto agent = first().attach(agent_);
  agent->deliver(head_of(agent_, 1));
  pass(std::chrono::minutes(3));
  EXPECT_THAT(open_alerts(), IsEmpty());
  EXPECT_THAT(first().ask("GET", "/api/v1/nodes/agent1.site.example").body,
              HasSubstr("\"connected\":true,\"health\":\"healthy\",\"via\":null"));
  pass(std::chrono::seconds(20));
  EXPECT_THAT(open_alerts(), ElementsAre("heartbeat agent1.site.example"));
  EXPECT_THAT(first().ask("GET", "/api/v1/nodes/agent1.site.example").body,
              HasSubstr("\"connected\":false,\"health\":\"warning\",\"via\":null"));
  agent->deliver(head_of(agent_, 2));
  pass(std::chrono::seconds(6));
  EXPECT_THAT(open_alerts(), IsEmpty());
}

TEST_F(ServerTest, BehindALostGatewayIsOneAlertAndItsNodesAreUnknownViaIt) {
  auto gateway = first().attach(gateway_);
  gateway->deliver(head_of(gateway_, 1));
  gateway->deliver(head(1));
  pass(std::chrono::minutes(4));
  EXPECT_THAT(open_alerts(), ElementsAre("heartbeat gw1.site.example"));
  const std::string unknown =
      "\"connected\":false,\"health\":\"unknown\",\"via\":\"gw1.site.example\"";
  EXPECT_THAT(first().ask("GET", "/api/v1/nodes/agent1.site.example").body, HasSubstr(unknown));
  EXPECT_THAT(first().ask("GET", "/api/v1/topology").body, HasSubstr(unknown));
  first().settle_down();
  gateway->deliver(head_of(gateway_, 2));
  gateway->deliver(head(2));
  pass(std::chrono::seconds(6));
  EXPECT_THAT(open_alerts(), IsEmpty());
  EXPECT_THAT(first().ask("GET", "/api/v1/nodes/agent1.site.example").body,
              HasSubstr("\"connected\":true,\"health\":\"healthy\",\"via\":null"));
}

TEST_F(ServerTest, WhatAnOperatorClosedIsNotRaisedAgainBeforeItHasEndedAlsoAfterARestart) {
  first().attach(agent_)->deliver(head_of(agent_, 1));
  pass(std::chrono::minutes(4));
  ASSERT_THAT(open_alerts(), ElementsAre("heartbeat agent1.site.example"));
  const std::string id = std::to_string((*store_.alerts(true, 1))[0].id);
  EXPECT_EQ(first().ask("POST", "/api/v1/alerts/" + id + "/close").status, 200u);
  EXPECT_THAT(first().ask("GET", "/api/v1/alerts/" + id).body,
              HasSubstr("\"closed_by\":\"tester\""));
  pass(std::chrono::minutes(4));
  EXPECT_THAT(open_alerts(), IsEmpty());
  restart_first();
  pass(std::chrono::minutes(4));
  EXPECT_THAT(open_alerts(), IsEmpty());
  first().attach(agent_)->deliver(head_of(agent_, 2));
  pass(std::chrono::minutes(4));
  EXPECT_THAT(open_alerts(), ElementsAre("heartbeat agent1.site.example")) << "it was well between";
}

/// A client that listens to changes.
struct Listener final : HttpStream {
  bool push(std::string text) override {
    heard += text;
    return true;
  }
  std::string heard;
};

TEST_F(ServerTest, WhoListensHearsOfEachAlertThatIsRaisedAndClosed) {
  const HttpResponse changes = first().ask("GET", "/api/v1/changes?kinds=alert");
  ASSERT_TRUE(changes.go_on) << changes.body;
  auto listener = std::make_shared<Listener>();
  changes.go_on(listener);
  const auto hears = [&](const std::string& id) {
    pass(std::chrono::seconds(6));
    EXPECT_THAT(std::exchange(listener->heard, {}),
                HasSubstr("event: alert\ndata: {\"id\":\"" + id + "\"}"));
  };
  auto agent = first().attach(agent_);
  pass(std::chrono::minutes(3));
  EXPECT_THAT(listener->heard, testing::Not(HasSubstr("event")));
  pass(std::chrono::seconds(15));
  hears("1");
  agent->deliver(head_of(agent_, 1));
  hears("1");
  pass(std::chrono::minutes(3) + std::chrono::seconds(10));
  hears("2");
  EXPECT_EQ(first().ask("POST", "/api/v1/alerts/2/close").status, 200u);
  hears("2");
}

TEST_F(ServerTest, WhatTheStoreDoesNotTakeNowIsRaisedWhenItDoes) {
  first().attach(agent_)->deliver(head_of(agent_, 1));
  pass(std::chrono::minutes(3));
  first().fail_when([](std::string_view doing) -> std::optional<Error> {
    if (doing != "updating alerts") return std::nullopt;
    return Error{Errc::unavailable, "the disk is full"};
  });
  pass(std::chrono::minutes(1));
  first().fail_when({});
  EXPECT_THAT(open_alerts(), IsEmpty());
  pass(std::chrono::seconds(10));
  EXPECT_THAT(open_alerts(), ElementsAre("heartbeat agent1.site.example"));
}

TEST_F(ServerTest, AHeadThatItsNodeDidNotSignIsAFinding) {
  auto gateway = first().attach(gateway_);
  gateway->deliver(head_of(gateway_, 1));
  wire::Message forged = head(1);
  Bytes bytes = to_bytes(forged.bytes());
  bytes.back() ^= std::byte{1};
  forged.body = std::make_shared<const Bytes>(std::move(bytes));
  gateway->deliver(forged);
  pass(std::chrono::seconds(6));
  EXPECT_THAT(open_alerts(), ElementsAre("finding agent1.site.example"));
  EXPECT_THAT((*store_.alerts(true, 1))[0].words, HasSubstr("it came by gw1.site.example"));
  pass(std::chrono::seconds(20));
  EXPECT_EQ((*store_.alerts(true, 1))[0].count, 1u);
}

// ---- A store that lost commits (rule D10)

TEST_F(ServerTest,
       AShownSettledOfBatchesThatTheStoreLacksOpensAGenerationAndOffersAreAnsweredAnew) {
  auto gateway = first().attach(gateway_);
  auto other = first().attach(other_gateway_);
  Outbox outbox(agent_.self.identity, stream_.epoch);
  const auto one = metric(outbox, 1);
  for (const auto& channel : {gateway, other}) channel->deliver(offer({stream_, {{1, 5, {}}}}));
  gateway->deliver(by_gateway(one));
  pass(std::chrono::seconds(2));
  const wire::Coverage held{stream_, {{1, 1, one.hash}}};
  EXPECT_EQ(settled(*other, stream_).back().coverage, held);
  EXPECT_EQ(settled(*other, stream_).back().generation, 1u);
  const std::size_t answers = stored(*other, stream_).size();

  const wire::Coverage lost{stream_, {{1, 5, sha256(as_bytes("five"))}}};
  const auto evidence = [&] {
    return wire::make_message(wire::Type::settled, group_.settled(lost));
  };
  gateway->deliver(evidence());
  first().settle_down();
  EXPECT_EQ(*store_.generation(), 2u);
  EXPECT_EQ(first().health("postern.server.generation"), 2);
  EXPECT_THAT(open_alerts(), Contains("store rolled back"));
  ASSERT_THAT(stored(*other, stream_), SizeIs(answers + 1)) << "also who showed nothing";
  EXPECT_EQ(stored(*other, stream_).back(), held);
  EXPECT_EQ(settled(*other, stream_).back().generation, 2u);
  EXPECT_EQ(settled(*other, stream_).back().coverage, held);
  const auto ticks = documents(*other, DocumentType::tick);
  ASSERT_THAT(ticks, testing::Not(IsEmpty()));
  EXPECT_EQ(ticks.back().generation(), 2u) << "at once";

  gateway->deliver(evidence());
  pass(std::chrono::seconds(6));
  EXPECT_EQ(*store_.generation(), 2u) << "it is of an older generation now";
}

TEST_F(ServerTest, ASettledThatNobodyDelegatedHasSignedOpensNothing) {
  auto gateway = first().attach(gateway_);
  const wire::Coverage lost{stream_, {{1, 5, sha256(as_bytes("five"))}}};
  gateway->deliver(wire::make_message(
      wire::Type::settled,
      testing_support::TestGroup::sign(group_.settled_of(lost), gateway_.self.identity)));
  pass(std::chrono::seconds(6));
  EXPECT_EQ(*store_.generation(), 1u);
}

TEST_F(ServerTest, AShownDenyListThatTheStoreLostIsTakenOverAndPutsOutWhomItNames) {
  auto gateway = first().attach(gateway_);
  auto agent = first().attach(agent_);
  ASSERT_TRUE(agent->open());
  gateway->deliver(shown(group_.deny(9, {agent_.self.id})));
  first().settle_down();
  EXPECT_EQ(standing(agent_), Standing::removed);
  ASSERT_THAT(agent->refused, SizeIs(1));
  EXPECT_EQ(agent->refused[0].reason, wire::Refusal::removed);
  EXPECT_THAT(open_alerts(), Contains("store rolled back"));
  const auto lists = documents(*gateway, DocumentType::deny);
  ASSERT_THAT(lists, testing::Not(IsEmpty()));
  EXPECT_EQ(lists.back().number(), 9u);
  auto again = first().attach(agent_);
  EXPECT_FALSE(again->open());
}

// Whoever shows it first: the approval was taken back by the list.
TEST_F(ServerTest, AnApprovalShownBesideTheDenyListThatTakesItBackIsNotTakenOver) {
  auto gateway = first().attach(gateway_);
  auto other = first().attach(other_gateway_);
  gateway->deliver(shown(group_.approval(stranger_, 9)));
  other->deliver(shown(group_.deny(9, {stranger_.self.id})));
  first().settle_down();
  EXPECT_EQ(standing(stranger_), Standing::removed);
  EXPECT_THAT(documents(*gateway, DocumentType::approval), IsEmpty());
  EXPECT_THAT(documents(*gateway, DocumentType::deny), testing::Not(IsEmpty()));
}

// ---- Equivocation (rule D1)

TEST_F(ServerTest, AnEquivocationIsAnsweredWithTheOtherBatchsSignatureAndWithWhatIsSettled) {
  auto agent = first().attach(agent_);
  Outbox before(agent_.self.identity, stream_.epoch), again(agent_.self.identity, stream_.epoch);
  const auto known = metric(before, 1), claimed = metric(again, 2);
  agent->deliver(batch_message(known));
  pass(std::chrono::seconds(2));
  const std::size_t said = settled(*agent, stream_).size();
  EXPECT_THAT(agent->of_type(wire::Type::answer), IsEmpty());

  agent->deliver(batch_message(claimed));
  pass(std::chrono::seconds(2));
  const auto answers = agent->of_type(wire::Type::answer);
  ASSERT_THAT(answers, SizeIs(1));
  const auto answer = parsed<wire::pb::Answer>(answers[0]);
  EXPECT_EQ(answer.verdict(), node::kNotYet) << "both are kept";
  EXPECT_EQ(node::digest_of_field(answer.hash()), claimed.hash);
  const auto stamped = wire::read_stamped(*known.message);
  ASSERT_TRUE(stamped);
  EXPECT_EQ(answer.evidence(), node::field_of(stamped->body.first(wire::kBatchHeaderBytes)));
  ASSERT_THAT(settled(*agent, stream_), SizeIs(said + 1));
  EXPECT_EQ(settled(*agent, stream_).back().coverage,
            (wire::Coverage{stream_, {{1, 1, known.hash}}}));
  pass(std::chrono::seconds(6));
  EXPECT_THAT(open_alerts(), ElementsAre("finding agent1.site.example"));
  EXPECT_EQ(first().health("postern.server.equivocations"), 1);
}

TEST_F(ServerTest, OfABatchThatDoesNotContinueOursTheOneBeforeIsTheEvidence) {
  auto agent = first().attach(agent_);
  Outbox before(agent_.self.identity, stream_.epoch), again(agent_.self.identity, stream_.epoch);
  const auto known = metric(before, 1);
  metric(again, 2);
  const auto behind = metric(again, 3);
  agent->deliver(batch_message(known));
  agent->deliver(batch_message(behind));
  first().settle_down();
  const auto answers = agent->of_type(wire::Type::answer);
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(
      parsed<wire::pb::Answer>(answers[0]).evidence(),
      node::field_of(wire::read_stamped(*known.message)->body.first(wire::kBatchHeaderBytes)));
}

// ---- Removal, and servers that share a store

TEST_F(ServerTest, TheStreamsOfARemovedNodeEndWithAGapAndWhoeverKeepsBatchesHearsItAtOnce) {
  auto gateway = first().attach(gateway_);
  Outbox outbox(agent_.self.identity, stream_.epoch);
  metric(outbox, 1);
  metric(outbox, 2);
  const auto three = metric(outbox, 3);
  gateway->deliver(by_gateway(three));
  pass(std::chrono::seconds(2));
  EXPECT_EQ(settled(*gateway, stream_).back().coverage.intervals[0].first, 3u);
  const HttpResponse removed = first().ask("DELETE", "/api/v1/agents/agent1.site.example");
  EXPECT_LT(removed.status, 300u) << removed.body;
  pass(std::chrono::seconds(2));
  EXPECT_EQ(settled(*gateway, stream_).back().coverage,
            (wire::Coverage{stream_, {{1, 3, three.hash}}}));
}

TEST_F(ServerTest, AnApprovalByOneServerCountsAtTheOther) {
  auto refused = second().attach(stranger_);
  ASSERT_THAT(refused->refused, SizeIs(1));
  EXPECT_EQ(refused->refused[0].reason, wire::Refusal::pending_approval);
  const HttpResponse approved = first().ask("POST", "/api/v1/pending/agent9.site.example/approve");
  EXPECT_LT(approved.status, 300u) << approved.body;
  auto agent = second().attach(stranger_);
  EXPECT_TRUE(agent->open());
  EXPECT_THAT(agent->of_type(wire::Type::welcome), SizeIs(1));
  // Also what it signs, by whatever way.
  Outbox outbox(stranger_.self.identity, stream_.epoch);
  const auto one = metric(outbox, 1);
  agent->deliver(batch_message(one));
  second().settle_down();
  EXPECT_EQ(*store_.applied(one.stream), (wire::Coverage{one.stream, {{1, 1, one.hash}}}));
}

TEST_F(ServerTest, ARemovalByOneServerPutsTheNodeOutAtTheOtherAndTellsItsGateways) {
  auto agent = second().attach(agent_);
  auto gateway = second().attach(gateway_);
  Outbox outbox(agent_.self.identity, stream_.epoch);
  metric(outbox, 1);
  const auto two = metric(outbox, 2);
  gateway->deliver(by_gateway(two));
  pass(std::chrono::seconds(6));
  ASSERT_TRUE(agent->open());
  ASSERT_LT(first().ask("DELETE", "/api/v1/agents/agent1.site.example").status, 300u);
  pass(std::chrono::seconds(6));
  ASSERT_THAT(agent->refused, SizeIs(1));
  EXPECT_EQ(agent->refused[0].reason, wire::Refusal::removed);
  EXPECT_THAT(documents(*gateway, DocumentType::deny), testing::Not(IsEmpty()));
  pass(std::chrono::seconds(2));
  EXPECT_EQ(settled(*gateway, stream_).back().coverage,
            (wire::Coverage{stream_, {{1, 2, two.hash}}}));
}

TEST_F(ServerTest, AGenerationThatOneServerOpensIsTheOthersWithinOneLook) {
  auto gateway = first().attach(gateway_);
  auto below_second = second().attach(other_gateway_);
  const wire::Coverage lost{stream_, {{1, 5, sha256(as_bytes("five"))}}};
  gateway->deliver(wire::make_message(wire::Type::settled, group_.settled(lost)));
  pass(std::chrono::seconds(6));
  EXPECT_EQ(second().health("postern.server.generation"), 2);
  EXPECT_EQ(documents(*below_second, DocumentType::tick).back().generation(), 2u);
}

TEST_F(ServerTest, AHeadOfANodeThatAnotherServerApprovedShowsTheWayToIt) {
  auto gateway = second().attach(gateway_);
  auto other = second().attach(other_gateway_);
  first().attach(stranger_);
  ASSERT_LT(first().ask("POST", "/api/v1/pending/agent9.site.example/approve").status, 300u);
  wire::pb::Head head;
  head.set_node_id(node::field_of(stranger_.self.id.bytes));
  head.set_number(7);
  const std::string bytes =
      node::sign(stranger_.self.identity, node::kHeadContext, head.SerializeAsString())
          .SerializeAsString();
  const std::vector<wire::Stamp> stamps{{stranger_.self.id, clock_.wall()}};
  gateway->deliver(
      wire::make_message(wire::Type::head, wire::write_stamped(stamps, as_bytes(bytes))));
  second().settle_down();
  EXPECT_EQ((*store_.node(stranger_.self.id))->head_number, 7u);
  ASSERT_LT(second().ask("POST", "/api/v1/nodes/agent9.site.example/trace").status, 300u);
  EXPECT_THAT(gateway->of_type(wire::Type::request), SizeIs(1));
  EXPECT_THAT(other->of_type(wire::Type::request), IsEmpty());
}

}  // namespace
}  // namespace postern
