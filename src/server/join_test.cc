#include <gmock/gmock.h>

#include <boost/json.hpp>

#include "node/join.h"
#include "server/test_server.h"

namespace postern {
namespace {

using node::Joining;
using node::JoinReason;
using testing::HasSubstr;
using testing_support::FakeChannel;
using testing_support::parsed;

/// Machines that come with a token, over a gateway.
class ServerJoin : public testing_support::ServerTest {
 protected:
  struct Machine {
    std::string name = "new.dmz.example";
    node::Role role = node::Role::agent;
    PrivateKey identity = PrivateKey::generate();
    TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  };
  using Result = std::variant<Joining::Member, Joining::Refused>;

  node::JoinToken token(const std::string& members) {
    const auto made = first().ask("POST", "/api/v1/join-tokens", "{" + members + "}");
    EXPECT_EQ(made.status, 201u) << made.body;
    const auto json = boost::json::parse(made.body);
    id_ = std::string(json.at("id").as_string());
    return *node::parse_join_token(std::string(json.at("token").as_string()));
  }
  Joining joining(const node::JoinToken& token, const Machine& machine) {
    auto made = Joining::create(token, {machine.name, machine.role, machine.identity, machine.key});
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }
  wire::pb::Reply pass(const std::string& request) {
    if (!gateway_channel_) gateway_channel_ = first().attach(gateway_);
    wire::pb::JoinRelay relay;
    relay.set_request(request);
    relay.set_address("198.51.100.7:40000");
    wire::pb::Request message;
    message.set_id(++asked_);
    message.set_kind(node::kJoinRequest);
    message.set_body(relay.SerializeAsString());
    gateway_channel_->deliver(node::message_of(wire::Type::request, message));
    first().settle_down();
    const auto replies = gateway_channel_->of_type(wire::Type::reply);
    EXPECT_FALSE(replies.empty());
    return replies.empty() ? wire::pb::Reply() : parsed<wire::pb::Reply>(replies.back());
  }
  Result ask(Joining& joining) {
    const auto reply = pass(joining.ask(clock_.wall(), random_));
    EXPECT_FALSE(reply.has_refused()) << reply.refused().words();
    auto result = joining.on_answer(reply.body(), clock_.wall());
    EXPECT_TRUE(result) << result.error().message;
    return result ? std::move(*result) : Result(Joining::Refused{});
  }
  Result ask(const node::JoinToken& token, const Machine& machine) {
    Joining joining = this->joining(token, machine);
    return ask(joining);
  }
  static JoinReason reason(const Result& result) {
    EXPECT_TRUE(std::holds_alternative<Joining::Refused>(result)) << "it joined";
    const auto* refused = std::get_if<Joining::Refused>(&result);
    return refused == nullptr ? JoinReason::busy : refused->reason;
  }
  static bool approved(const Result& result) {
    const auto* refused = std::get_if<Joining::Refused>(&result);
    EXPECT_EQ(refused, nullptr) << refused->words;
    return refused == nullptr && std::get<Joining::Member>(result).approved;
  }
  std::string audit() { return first().ask("GET", "/api/v1/audit?limit=5").body; }

  SeededRandom random_{7};
  std::shared_ptr<FakeChannel> gateway_channel_;
  std::uint64_t asked_ = 0;
  std::string id_;
};

TEST_F(ServerJoin, AMachineIsApprovedAndConnectsWithWhatItGot) {
  const Machine machine;
  EXPECT_TRUE(approved(ask(token(R"("role":"agent","name":"*.dmz.example")"), machine)));
  const auto shown = first().ask("GET", "/api/v1/agents/new.dmz.example").body;
  EXPECT_THAT(shown, HasSubstr("\"approved\""));
  EXPECT_THAT(shown, HasSubstr(machine.identity.node_id().hex()));
  EXPECT_THAT(shown, HasSubstr(gateway_.self.name)) << "the way it came";
  EXPECT_THAT(audit(), HasSubstr("joined by token"));
  EXPECT_THAT(first().ask("GET", "/api/v1/join-tokens").body, HasSubstr("\"uses\":1"));
}

TEST_F(ServerJoin, OfATokenForPendingItsNodesWait) {
  const Machine machine;
  EXPECT_FALSE(approved(ask(token(R"("role":"agent","pending":true)"), machine)));
  EXPECT_THAT(first().ask("GET", "/api/v1/pending").body, HasSubstr("came with token " + id_));
  EXPECT_EQ(first().ask("POST", "/api/v1/pending/new.dmz.example/approve").status, 201u);
}

TEST_F(ServerJoin, AskingAgainIsFreeAndAnotherMachineIsOneTooMany) {
  const auto one = token(R"("role":"agent")");
  const Machine machine;
  EXPECT_TRUE(approved(ask(one, machine)));
  clock_.advance(std::chrono::seconds(1));
  EXPECT_TRUE(approved(ask(one, machine))) << "its link broke before the answer came";
  EXPECT_EQ(reason(ask(one, Machine{.name = "other.dmz.example"})), JoinReason::used_up);
  EXPECT_THAT(audit(), HasSubstr("used_up"));
}

TEST_F(ServerJoin, ARequestThatComesAgainIsRefusedAndChangesNothing) {
  const auto one = token(R"("role":"agent")");
  const Machine machine;
  Joining joining = this->joining(one, machine);
  const std::string request = joining.ask(clock_.wall(), random_);
  EXPECT_FALSE(pass(request).has_refused());
  const auto replayed = joining.on_answer(pass(request).body(), clock_.wall());
  ASSERT_TRUE(replayed);
  EXPECT_EQ(reason(*replayed), JoinReason::replayed);
  EXPECT_THAT(audit(), HasSubstr("replayed"));
  EXPECT_TRUE(approved(ask(joining))) << "the machine itself goes on with a higher number";
}

TEST_F(ServerJoin, ATokenOpensNothingButWhatItIsFor) {
  const auto agents = token(R"("role":"agent","name":"web*.dmz.example")");
  EXPECT_EQ(reason(ask(agents, Machine{.name = "db.dmz.example"})), JoinReason::wrong_name);
  EXPECT_EQ(reason(ask(agents, Machine{.name = "web1.dmz.example", .role = node::Role::gateway})),
            JoinReason::wrong_role);
  EXPECT_THAT(audit(), HasSubstr("wrong_role"));
  EXPECT_TRUE(approved(ask(agents, Machine{.name = "web1.dmz.example"})))
      << "refusals have used nothing up";
}

TEST_F(ServerJoin, ATokenEnds) {
  const Machine machine;
  const auto revoked = token(R"("role":"agent")");
  EXPECT_EQ(first().ask("DELETE", "/api/v1/join-tokens/" + id_).status, 200u);
  EXPECT_EQ(first().ask("DELETE", "/api/v1/join-tokens/" + id_).status, 404u);
  EXPECT_EQ(reason(ask(revoked, machine)), JoinReason::revoked);
  const auto set_back = token(R"("role":"agent")");
  ASSERT_TRUE(store_.raise_generation(9));
  EXPECT_EQ(reason(ask(set_back, machine)), JoinReason::expired);
  const auto expired = token(R"("role":"agent","lifetime_seconds":60)");
  clock_.advance(std::chrono::seconds(61));
  first().heard_from_all();
  EXPECT_EQ(reason(ask(expired, machine)), JoinReason::expired);
}

TEST_F(ServerJoin, WhatHasNoTokensSignatureLeavesNoTraceInStoreAndAudit) {
  auto real = token(R"("role":"agent")");
  const auto before = audit();
  auto guessed = real;
  guessed.seed[0] ^= std::byte{1};
  EXPECT_EQ(reason(ask(guessed, Machine{})), JoinReason::unknown);

  // The real token's id under a signature of another key.
  const Machine machine;
  Joining joining = this->joining(real, machine);
  wire::pb::JoinRequest forged;
  ASSERT_TRUE(forged.ParseFromString(joining.ask(clock_.wall(), random_)));
  forged.set_token_signature(
      node::field_of(machine.identity.sign("postern join v1", as_bytes(forged.ask()))));
  const auto reply = pass(forged.SerializeAsString());
  const auto answer = joining.on_answer(reply.body(), clock_.wall());
  ASSERT_TRUE(answer);
  EXPECT_EQ(reason(*answer), JoinReason::unknown);

  forged.mutable_ask()->back() ^= 1;
  EXPECT_TRUE(pass(forged.SerializeAsString()).has_refused()) << "nobody to answer to";
  EXPECT_EQ(audit(), before);
  EXPECT_THAT(first().ask("GET", "/api/v1/join-tokens").body, HasSubstr("\"uses\":0"));
}

TEST_F(ServerJoin, ASecondMachineOfAKnownNameWaitsAndTheLiveOneIsUndisturbed) {
  const Machine second{.name = agent_.self.name};
  EXPECT_EQ(reason(ask(token(R"("role":"agent")"), second)), JoinReason::clash);
  const auto pending = first().ask("GET", "/api/v1/pending").body;
  EXPECT_THAT(pending, HasSubstr(second.identity.node_id().hex()));
  EXPECT_THAT(pending, HasSubstr("clash"));
  EXPECT_THAT(first().ask("GET", "/api/v1/agents/" + agent_.self.name).body,
              HasSubstr(agent_.self.id.hex()));
}

TEST_F(ServerJoin, WhoWasRemovedDoesNotComeBackByToken) {
  const Machine machine;
  const auto many = token(R"("role":"agent","uses_max":5)");
  EXPECT_TRUE(approved(ask(many, machine)));
  EXPECT_EQ(first().ask("DELETE", "/api/v1/agents/new.dmz.example").status, 200u);
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(reason(ask(many, machine)), JoinReason::denied);
}

TEST_F(ServerJoin, WhoseCertificateWasRevokedGetsNoOtherByToken) {
  const Machine machine;
  const auto many = token(R"("role":"agent","uses_max":5)");
  EXPECT_TRUE(approved(ask(many, machine)));
  store::Store::Seen seen;
  seen.id = machine.identity.node_id();
  seen.certificate = stranger_.mark();
  ASSERT_TRUE(store_.seen(std::span(&seen, 1)));
  EXPECT_EQ(
      first().ask("POST", "/api/v1/revocations", R"({"certificate":"new.dmz.example"})").status,
      201u);
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(reason(ask(many, machine)), JoinReason::denied);
}

TEST_F(ServerJoin, ARequestForFurtherNamesIsRefused) {
  const auto one = token(R"("role":"agent")");
  const Machine machine;
  Joining joining = this->joining(one, machine);
  wire::pb::JoinRequest request;
  ASSERT_TRUE(request.ParseFromString(joining.ask(clock_.wall(), random_)));
  wire::pb::JoinAsk ask;
  ASSERT_TRUE(ask.ParseFromString(request.ask()));
  ask.set_csr(
      *make_request(machine.key, machine.name, std::vector<std::string>{"ms.home.example"}));
  request.set_ask(ask.SerializeAsString());
  request.set_token_signature(
      node::field_of(one.key().sign("postern join v1", as_bytes(request.ask()))));
  request.set_identity_signature(
      node::field_of(machine.identity.sign("postern join v1", as_bytes(request.ask()))));
  wire::pb::JoinAnswer answer;
  wire::pb::JoinReply reply;
  ASSERT_TRUE(answer.ParseFromString(pass(request.SerializeAsString()).body()));
  ASSERT_TRUE(reply.ParseFromString(answer.reply().body()));
  EXPECT_EQ(reply.reason(), static_cast<std::uint32_t>(JoinReason::bad_request));
}

}  // namespace
}  // namespace postern
