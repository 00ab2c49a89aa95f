#include <gmock/gmock.h>

#include "node/renewal.h"
#include "server/test_server.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using testing_support::FakeChannel;
using testing_support::parsed;
using testing_support::TestNode;

/// Renewals that come through a gateway (channel.md#W56).
class ServerCertificates : public testing_support::ServerTest {
 protected:
  /// What `who` would ask with `leaf` in use, by the identity key of `signer`.
  static std::string request(const TestNode& who, const Certificate& leaf, const TestNode& signer) {
    wire::pb::CertificateRequest body;
    body.set_node_id(node::field_of(who.self.id.bytes));
    body.set_csr(*make_request(TlsKey::generate(TlsKey::Kind::ec), who.self.name));
    body.set_current(node::field_of(leaf.der()));
    body.set_issued_ms(to_ms(testing_support::kWall));
    return node::sign(signer.self.identity, node::kCertificateContext, body.SerializeAsString())
        .SerializeAsString();
  }
  wire::pb::Reply ask(FakeChannel& channel, const std::string& body) {
    wire::pb::Request request;
    request.set_id(++asked_);
    request.set_kind(node::kCertificateRequest);
    request.set_body(body);
    channel.deliver(node::message_of(wire::Type::request, request));
    first().settle_down();
    const auto replies = channel.of_type(wire::Type::reply);
    if (replies.empty()) return {};
    auto reply = parsed<wire::pb::Reply>(replies.back());
    EXPECT_EQ(reply.id(), asked_);
    return reply;
  }
  static std::vector<Certificate> chain_of(const wire::pb::Reply& reply) {
    wire::pb::CertificateReply answer;
    EXPECT_TRUE(answer.ParseFromString(reply.body()));
    std::vector<Certificate> chain;
    for (const std::string& der : answer.chain())
      chain.push_back(*Certificate::from_der(as_bytes(der)));
    return chain;
  }
  static wire::Refusal reason(const wire::pb::Reply& reply) {
    EXPECT_TRUE(reply.has_refused());
    return static_cast<wire::Refusal>(reply.refused().reason());
  }

  std::uint64_t asked_ = 0;
};

TEST_F(ServerCertificates, AnApprovedNodeFarBelowGetsItsNextOne) {
  auto gateway = first().attach(gateway_);
  const auto chain = chain_of(ask(*gateway, request(agent_, agent_.certificate(), agent_)));
  ASSERT_THAT(chain, SizeIs(2));
  EXPECT_FALSE(
      why_refused(chain, group_.anchors(), {.now = clock_.wall(), .name = agent_.self.name}));
  const auto audit = first().ask("GET", "/api/v1/audit?limit=1").body;
  EXPECT_THAT(audit, HasSubstr("certificate renewed"));
  EXPECT_THAT(audit, HasSubstr(chain.front().serial()));
}

TEST_F(ServerCertificates, OneASecondForANode) {
  auto gateway = first().attach(gateway_);
  ask(*gateway, request(agent_, agent_.certificate(), agent_));
  EXPECT_EQ(reason(ask(*gateway, request(agent_, agent_.certificate(), agent_))),
            wire::Refusal::busy);
  pass(std::chrono::seconds(1));
  EXPECT_THAT(chain_of(ask(*gateway, request(agent_, agent_.certificate(), agent_))), SizeIs(2));
}

TEST_F(ServerCertificates, WhoIsNotItselfOrNotApprovedGetsNone) {
  auto gateway = first().attach(gateway_);
  EXPECT_EQ(reason(ask(*gateway, request(agent_, agent_.certificate(), gateway_))),
            wire::Refusal::bad_proof)
      << "a gateway cannot ask in its agent's name";
  EXPECT_EQ(reason(ask(*gateway, request(stranger_, stranger_.certificate(), stranger_))),
            wire::Refusal::pending_approval);
  const auto answered = gateway->of_type(wire::Type::reply).size();
  wire::pb::Request garbage;
  garbage.set_kind(node::kCertificateRequest);
  garbage.set_body("garbage");
  gateway->deliver(node::message_of(wire::Type::request, garbage));
  first().settle_down();
  EXPECT_THAT(gateway->of_type(wire::Type::reply), SizeIs(answered));
}

TEST_F(ServerCertificates, WhatAnotherAuthorityIssuedIsRenewedThere) {
  auto gateway = first().attach(gateway_);
  const auto other = testing_support::make(testing_support::authority_recipe("Elsewhere"));
  const auto leaf = testing_support::make(testing_support::recipe_for(agent_.self.name), &other);
  const auto reply = ask(*gateway, request(agent_, leaf.certificate, agent_));
  EXPECT_EQ(reason(reply), wire::Refusal::unknown_ca);
  EXPECT_THAT(reply.refused().words(), HasSubstr("CN=Elsewhere"));
  EXPECT_THAT(reply.refused().words(), HasSubstr("postern cert import"));
}

TEST_F(ServerCertificates, ItsOwnIsRenewedAtHalfOfItsLifeAndShownToEveryChild) {
  auto gateway = first().attach(gateway_);
  const Certificate before = first_node_.certificate();
  clock_.set_wall(before.not_before() + (before.not_after() - before.not_before()) * 2 / 3);
  pass(std::chrono::hours(1));
  const auto shown = gateway->of_type(wire::Type::credential);
  ASSERT_THAT(shown, SizeIs(1));
  node::Neighbour server{first_node_.self.name, node::Role::server,
                         first_node_.self.id,   first_node_.self.identity.public_key(),
                         first_node_.mark(),    0};
  const auto tls = *TlsContext::create(gateway_.credential(), group_.anchors(),
                                       {.now = [this] { return clock_.wall(); }});
  const auto verified =
      node::verify_credential(parsed<wire::pb::Credential>(shown[0]), server,
                              gateway->peer().exporter, true, *tls, gateway_.self);
  ASSERT_TRUE(verified) << verified.error().words;
  EXPECT_GT(verified->chain.front().not_after(), before.not_after());
}

// ---- Revoked

TEST_F(ServerCertificates, WhoseIsRevokedIsCutAtOnceAndComesBackWithAnother) {
  auto gateway = first().attach(gateway_), agent = first().attach(agent_);
  ASSERT_TRUE(agent->open());
  const auto said = first().ask("POST", "/api/v1/revocations",
                                R"({"certificate":"agent1.site.example","reason":"retired"})");
  EXPECT_EQ(said.status, 201u) << said.body;
  EXPECT_THAT(said.body, HasSubstr(agent_.certificate().serial()));
  ASSERT_THAT(agent->refused, SizeIs(1));
  EXPECT_EQ(agent->refused[0].reason, wire::Refusal::revoked);
  EXPECT_THAT(agent->refused[0].words, HasSubstr("retired"));
  EXPECT_TRUE(gateway->open()) << "and is told";
  auto again = first().attach(agent_);
  ASSERT_THAT(again->refused, SizeIs(1));
  EXPECT_EQ(again->refused[0].reason, wire::Refusal::revoked);
  EXPECT_THAT(first().ask("GET", "/api/v1/certificates").body, HasSubstr(R"("revoked":"retired")"));
  EXPECT_THAT(first().ask("GET", "/api/v1/audit?limit=1").body, HasSubstr("certificate revoked"));

  restart_first();
  auto after = first().attach(agent_);
  ASSERT_THAT(after->refused, SizeIs(1)) << "a restart does not forget it";
  const TestNode renewed = group_.node(agent_.self.role, agent_.self.name,
                                       *PrivateKey::from_pem(agent_.self.identity.to_pem()));
  EXPECT_TRUE(first().attach(renewed)->open());
  EXPECT_THAT(first().ask("GET", "/api/v1/certificates").body,
              testing::Not(HasSubstr(R"("revoked":"retired")")));
}

TEST_F(ServerCertificates, WhoIsCompromisedComesBackOnlyAsSomebodyElse) {
  auto agent = first().attach(agent_);
  ASSERT_TRUE(agent->open());
  const auto said = first().ask("POST", "/api/v1/revocations",
                                R"({"certificate":"agent1.site.example","reason":"compromised"})");
  EXPECT_EQ(said.status, 201u) << said.body;
  EXPECT_THAT(said.body, HasSubstr(R"("identity_revoked":true)"));
  ASSERT_THAT(agent->refused, SizeIs(1));
  const TestNode renewed = group_.node(agent_.self.role, agent_.self.name,
                                       *PrivateKey::from_pem(agent_.self.identity.to_pem()));
  for (const TestNode* who : std::initializer_list<const TestNode*>{&agent_, &renewed}) {
    auto again = first().attach(*who);
    ASSERT_THAT(again->refused, SizeIs(1));
    EXPECT_EQ(again->refused[0].reason, wire::Refusal::revoked);
    EXPECT_THAT(again->refused[0].words, HasSubstr("compromised"));
  }
  const TestNode anew = group_.node(agent_.self.role, agent_.self.name);
  auto clash = first().attach(anew);
  ASSERT_THAT(clash->refused, SizeIs(1));
  EXPECT_EQ(clash->refused[0].reason, wire::Refusal::clash) << "a human decides";
  EXPECT_EQ(first().ask("POST", "/api/v1/pending/" + anew.self.id.hex() + "/approve").status, 201u);
  EXPECT_TRUE(first().attach(anew)->open());
}

TEST_F(ServerCertificates, WhatIsRevokedIsNotRenewed) {
  auto gateway = first().attach(gateway_);
  first().attach(agent_);
  ASSERT_EQ(
      first().ask("POST", "/api/v1/revocations", R"({"certificate":"agent1.site.example"})").status,
      201u);
  EXPECT_EQ(reason(ask(*gateway, request(agent_, agent_.certificate(), agent_))),
            wire::Refusal::revoked);
  const auto older =
      testing_support::make(testing_support::recipe_for(agent_.self.name), &group_.authority);
  EXPECT_EQ(reason(ask(*gateway, request(agent_, older.certificate, agent_))),
            wire::Refusal::revoked)
      << "nor by showing an older one";
}

TEST_F(ServerCertificates, ARenewalThatIsOnItsWayIsRevokedWithTheOneInUse) {
  auto gateway = first().attach(gateway_);
  first().attach(agent_);
  const auto next = chain_of(ask(*gateway, request(agent_, agent_.certificate(), agent_)));
  const auto said =
      first().ask("POST", "/api/v1/revocations", R"({"certificate":"agent1.site.example"})");
  EXPECT_THAT(said.body, HasSubstr(next.front().serial()));
}

TEST_F(ServerCertificates, ItsOwnIsNotRevokedAndUnknownNamesAreSaid) {
  EXPECT_EQ(
      first().ask("POST", "/api/v1/revocations", R"({"certificate":"ms1.home.example"})").status,
      409u);
  EXPECT_EQ(
      first().ask("POST", "/api/v1/revocations", R"({"certificate":"x.site.example"})").status,
      404u);
  EXPECT_EQ(first().ask("POST", "/api/v1/revocations", R"({"certificate":"no serial"})").status,
            422u);
  EXPECT_EQ(first().ask("POST", "/api/v1/revocations", R"({"certificate":"0A:0b"})").status, 201u);
}

TEST_F(ServerCertificates, AfterItsEndByThePolicyAndLaterByAnAdministratorsWord) {
  auto gateway = first().attach(gateway_);
  clock_.set_wall(agent_.certificate().not_after() + std::chrono::hours(24 * 29));
  EXPECT_THAT(chain_of(ask(*gateway, request(agent_, agent_.certificate(), agent_))), SizeIs(2));
  clock_.set_wall(agent_.certificate().not_after() + std::chrono::hours(24 * 31));
  clock_.advance(std::chrono::seconds(2));
  const auto refused = ask(*gateway, request(agent_, agent_.certificate(), agent_));
  EXPECT_EQ(reason(refused), wire::Refusal::expired);
  EXPECT_THAT(refused.refused().words(), HasSubstr("postern cert renew " + agent_.self.name));

  const std::string way = "/api/v1/nodes/" + agent_.self.name + "/renewal";
  EXPECT_EQ(first().ask("POST", way).status, 200u);
  EXPECT_THAT(chain_of(ask(*gateway, request(agent_, agent_.certificate(), agent_))), SizeIs(2));
  EXPECT_THAT(first().ask("GET", "/api/v1/audit?limit=5").body,
              HasSubstr("renewal after expiry allowed"));
  clock_.set_wall(clock_.wall() + std::chrono::hours(25));
  clock_.advance(std::chrono::seconds(2));
  EXPECT_EQ(reason(ask(*gateway, request(agent_, agent_.certificate(), agent_))),
            wire::Refusal::expired)
      << "for a day";
  EXPECT_EQ(first().ask("POST", "/api/v1/nodes/nobody.example/renewal").status, 404u);
}

}  // namespace
}  // namespace postern
