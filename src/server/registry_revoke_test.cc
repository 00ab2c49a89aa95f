#include <gmock/gmock.h>

#include "node/test_group.h"
#include "server/registry.h"

namespace postern {
namespace {

using node::Role;
using store::Revocation;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;
using Reason = Revocation::Reason;

class RevokeTest : public testing::Test {
 protected:
  void SetUp() override {
    clock_.set_wall(testing_support::kWall);
    ASSERT_TRUE(registry_.load());
    for (const TestNode* who : {&gateway_, &agent_}) {
      store::Node node;
      node.name = who->self.name;
      node.id = who->self.id;
      node.identity_key = to_bytes(who->self.identity.public_key().spki());
      node.role = static_cast<store::Role>(who->self.role);
      node.certificate = who->mark();
      node.certificate_not_after = who->certificate().not_after();
      ASSERT_TRUE(registry_.approve_pending(node, {}, "admin"));
    }
    registry_.take_documents();
  }
  store::Node row(const TestNode& who) { return **store_->node(who.self.id); }
  Registry::Revoked revoke(const TestNode& who, Reason reason = Reason::retired) {
    auto revoked = registry_.revoke(row(who), reason, "admin");
    EXPECT_TRUE(revoked) << revoked.error().message;
    return revoked.value_or(Registry::Revoked{});
  }
  /// The newest of the lists that were made since the last call; nothing: none was.
  std::optional<wire::pb::DenyList> list(Registry& registry) {
    std::optional<wire::pb::DenyList> newest;
    for (const auto& document : registry.take_documents()) {
      wire::pb::DocumentBody body;
      EXPECT_TRUE(body.ParseFromString(document.body()));
      if (body.type() != static_cast<std::uint32_t>(node::DocumentType::deny)) continue;
      EXPECT_TRUE(newest.emplace().ParseFromString(body.payload()));
    }
    return newest;
  }
  std::optional<wire::pb::DenyList> list() { return list(registry_); }
  Registry another() {
    return {*store_,      lines_.log, clock_,
            server_.self, delegate_,  ServerSettings::AgentPolicy::pending};
  }

  TestGroup group_;
  TestNode server_ = group_.node(Role::server, "ms.home.example");
  TestNode gateway_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  LogLines lines_;
  FakeClock clock_;
  std::unique_ptr<store::Store> store_ = std::move(*store::open_sqlite(":memory:"));
  GroupFolder::Delegate delegate_{std::move(group_.delegate), 1};
  Registry registry_ = another();
};

TEST_F(RevokeTest, ANodesCertificateIsDeniedByKeyAndNumberAndTheNodeStays) {
  const auto revoked = revoke(agent_);
  EXPECT_FALSE(revoked.already);
  EXPECT_FALSE(revoked.identity);
  const auto entries = list();
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->entries_size(), 1);
  const auto& entry = entries->entries(0);
  EXPECT_TRUE(entry.node_id().empty());
  EXPECT_EQ(node::digest_of_field(entry.tls_key_sha256()), agent_.mark().tls_key);
  EXPECT_EQ(node::digest_of_field(entry.issuer_sha256()), agent_.mark().issuer);
  EXPECT_EQ(serial_text(as_bytes(entry.serial())), agent_.certificate().serial());
  EXPECT_EQ(entry.not_after_ms(), to_ms(agent_.certificate().not_after()));
  EXPECT_EQ(entry.reason(), 4u);
  EXPECT_EQ(row(agent_).standing, store::Standing::approved);
  EXPECT_FALSE(row(agent_).compromised) << "its identity goes on";
  const auto audited = (*store_->audit_log(1))[0];
  EXPECT_EQ(audited.who, "admin");
  EXPECT_EQ(audited.what, "certificate revoked");
  EXPECT_THAT(audited.detail, HasSubstr(agent_.certificate().serial()));

  EXPECT_TRUE(revoke(agent_, Reason::superseded).already) << "twice does no harm";
  EXPECT_FALSE(list());
  EXPECT_EQ(registry_.revocations().find(agent_.mark())->reason, Reason::retired);
  EXPECT_EQ(registry_.revocations().find(gateway_.mark()), nullptr);
}

TEST_F(RevokeTest, WhatIsCompromisedTakesTheIdentityWithItForGood) {
  const auto revoked = revoke(agent_, Reason::compromised);
  EXPECT_TRUE(revoked.identity);
  EXPECT_FALSE(revoked.already);
  const auto entries = list();
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->entries_size(), 2);
  EXPECT_EQ(node::node_id_of_field(entries->entries(1).node_id()), agent_.self.id);
  EXPECT_EQ(entries->entries(1).reason(), 3u);
  EXPECT_EQ(row(agent_).compromised, clock_.wall());
  EXPECT_TRUE(registry_.member(agent_.self.id)->compromised);
  EXPECT_FALSE(registry_.member(gateway_.self.id)->compromised);
  EXPECT_EQ((*store_->audit_log(1))[0].what, "identity revoked");
  EXPECT_TRUE(revoke(agent_, Reason::compromised).already) << "twice does no harm";
  EXPECT_FALSE(list());

  Registry after_a_restart = another();
  ASSERT_TRUE(after_a_restart.load());
  EXPECT_TRUE(after_a_restart.member(agent_.self.id)->compromised);
  EXPECT_FALSE(list(after_a_restart)) << "the list in the store is the right one";

  EXPECT_FALSE(registry_.approve("agent1.site.example", store::Role::agent, {"a.parent"}, "admin"));
  ASSERT_TRUE(registry_.remove(row(agent_), "admin"));
  EXPECT_EQ(list()->entries(1).reason(), 3u);
  const auto anew = registry_.approve("agent1.site.example", store::Role::agent, {}, "admin");
  ASSERT_TRUE(anew) << anew.error().message;
  EXPECT_FALSE(anew->node.id) << "the name is approved, for another identity";
}

TEST_F(RevokeTest, AnIdentityIsCompromisedAlsoWhenItsCertificateWasRevokedBefore) {
  revoke(agent_, Reason::superseded);
  list();
  const auto revoked = revoke(agent_, Reason::compromised);
  EXPECT_TRUE(revoked.identity);
  EXPECT_FALSE(revoked.already);
  EXPECT_EQ(list()->entries_size(), 2);
}

TEST_F(RevokeTest, ANumberAloneTakesNoIdentityWithIt) {
  const auto revoked = registry_.revoke(agent_.certificate().serial(), {}, clock_.wall(),
                                        Reason::compromised, "admin");
  ASSERT_TRUE(revoked);
  EXPECT_FALSE(revoked->identity);
  EXPECT_FALSE(row(agent_).compromised);
  EXPECT_EQ(list()->entries_size(), 1);
}

TEST_F(RevokeTest, AnotherServerLearnsOfACompromisedIdentity) {
  Registry other = another();
  ASSERT_TRUE(other.load());
  revoke(agent_, Reason::compromised);
  ASSERT_TRUE(other.refresh());
  EXPECT_TRUE(other.member(agent_.self.id)->compromised);
}

TEST_F(RevokeTest, RemovalsAndApprovalsDoNotTakeItBack) {
  revoke(agent_);
  ASSERT_TRUE(registry_.remove(row(gateway_), "admin"));
  EXPECT_EQ(list()->entries_size(), 2);
  ASSERT_TRUE(registry_.approve("gw1.site.example", store::Role::gateway, {}, "admin"));
  EXPECT_EQ(list()->entries_size(), 1);
  Registry after_a_restart = another();
  ASSERT_TRUE(after_a_restart.load());
  EXPECT_FALSE(list(after_a_restart)) << "the list in the store is the right one";
  EXPECT_NE(after_a_restart.revocations().find(agent_.mark()), nullptr);
}

TEST_F(RevokeTest, AnotherServersRevocationsStayOnTheList) {
  Registry other = another();
  ASSERT_TRUE(other.load());
  revoke(agent_);
  ASSERT_TRUE(other.revoke(row(gateway_), Reason::superseded, "admin"));
  EXPECT_EQ(list(other)->entries_size(), 2);
  ASSERT_TRUE(registry_.refresh());
  EXPECT_EQ(list()->entries_size(), 2);
  EXPECT_NE(registry_.revocations().find(gateway_.mark()), nullptr);
}

TEST_F(RevokeTest, ItLeavesTheListWhenTheCertificateIsOverAnyway) {
  registry_.set_expiry_grace(std::chrono::hours(1));
  revoke(agent_);
  clock_.set_wall(agent_.certificate().not_after() + std::chrono::minutes(59));
  ASSERT_TRUE(registry_.remove(row(gateway_), "admin"));
  EXPECT_EQ(list()->entries_size(), 2);
  clock_.set_wall(agent_.certificate().not_after() + std::chrono::minutes(61));
  ASSERT_TRUE(registry_.approve("gw1.site.example", store::Role::gateway, {}, "admin"));
  EXPECT_EQ(list()->entries_size(), 0);
}

TEST_F(RevokeTest, ARenewalThatIsUnderWayIsRevokedWithIt) {
  const auto next =
      testing_support::make(testing_support::recipe_for(agent_.self.name), &group_.authority);
  registry_.on_issued(agent_.self.id, next.certificate);
  EXPECT_THAT(revoke(agent_).revocations, SizeIs(2));
  EXPECT_NE(registry_.revocations().find(next.certificate.mark()), nullptr);
}

TEST_F(RevokeTest, ByNumberAlsoWhenNobodyUsesIt) {
  const WallTime end = clock_.wall() + std::chrono::days(9);
  const auto used =
      registry_.revoke(agent_.certificate().serial(), {}, end, Reason::superseded, "admin");
  ASSERT_TRUE(used);
  ASSERT_THAT(used->revocations, SizeIs(1));
  EXPECT_EQ(used->revocations[0].name, "agent1.site.example");
  EXPECT_EQ(used->revocations[0].certificate, agent_.mark());
  const Digest issuer = group_.authority.certificate.subject_sha256();
  EXPECT_EQ(issuer, agent_.mark().issuer);
  const auto unused = registry_.revoke("c0ffee", issuer, end, Reason::superseded, "admin");
  ASSERT_TRUE(unused);
  EXPECT_EQ(unused->revocations[0].name, "");
  EXPECT_EQ(unused->revocations[0].not_after, end);
  EXPECT_EQ(list()->entries_size(), 2);
  CertificateMark shown;
  shown.serial = "c0ffee";
  shown.issuer = issuer;
  EXPECT_NE(registry_.revocations().find(shown), nullptr);
}

TEST_F(RevokeTest, WhatIsNotKnownAndWhatDoesNotFitIsSaid) {
  store::Node node = row(agent_);
  node.certificate = {};
  const auto unknown = registry_.revoke(node, Reason::retired, "admin");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("serial number"));
  std::vector<Revocation> many;
  for (std::size_t i = 0; i < node::kDeniedCertificatesMax; ++i)
    many.push_back({{{}, sha256(as_bytes("issuer")), fmt::format("{:x}", i + 1)},
                    "",
                    Reason::retired,
                    {},
                    "admin",
                    clock_.wall()});
  ASSERT_TRUE(store_->add_revocations(many, {}, {}, std::nullopt));
  const auto full = registry_.revoke(row(agent_), Reason::retired, "admin");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::exhausted);
  EXPECT_THAT(full.error().message, HasSubstr("1500"));
  EXPECT_FALSE(list());
  // And what is full can still be read by everybody.
  ASSERT_TRUE(registry_.remove(row(gateway_), "admin"));
  const auto entries = list();
  ASSERT_TRUE(entries);
  EXPECT_EQ(static_cast<std::size_t>(entries->entries_size()), node::kDeniedCertificatesMax + 1);
}

TEST_F(RevokeTest, TheLongestListFitsIntoADocument) {
  wire::pb::DenyList longest;
  for (std::size_t i = 0; i < node::kDenyEntriesMax; ++i) {
    auto* entry = longest.add_entries();
    entry->set_reason(3);
    if (i >= node::kDeniedCertificatesMax) {
      entry->set_node_id(std::string(16, 'n'));
      continue;
    }
    entry->set_tls_key_sha256(std::string(32, 'k'));
    entry->set_issuer_sha256(std::string(32, 'i'));
    entry->set_serial(std::string(kSerialBytesMax, 's'));
    entry->set_not_after_ms(253'402'300'799'000);
  }
  EXPECT_LT(longest.ByteSizeLong() + 1024, node::kDocumentBodyMax);
}

}  // namespace
}  // namespace postern
