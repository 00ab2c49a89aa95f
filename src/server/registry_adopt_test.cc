#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/test_group.h"
#include "server/registry.h"

namespace postern {
namespace {

using node::DocumentType;
using node::Role;
using store::Standing;
using testing::HasSubstr;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;

/// A registry whose store was set back: approvals up to number 3 are all that it has given out.
class AdoptTest : public testing::Test {
 protected:
  AdoptTest() {
    for (const char* name : {"a.site.example", "b.site.example", "c.site.example"}) {
      const TestNode other = group_.node(Role::agent, name);
      store::Node node;
      node.name = name;
      node.id = other.self.id;
      node.identity_key = to_bytes(other.self.identity.public_key().spki());
      EXPECT_TRUE(registry_.approve_pending(node, {}, "admin"));
    }
    registry_.take_documents();
  }
  wire::pb::Signed sign(wire::pb::DocumentBody body) {
    return node::sign_document(body, delegate_.key, delegate_.number);
  }
  wire::pb::Signed approval(const TestNode& who, std::uint64_t number,
                            std::vector<std::string> parents = {}) {
    return sign(group_.approval_body(who, number, std::move(parents)));
  }
  wire::pb::Signed deny(std::uint64_t number, const std::vector<NodeId>& ids,
                        std::uint32_t reason = 1) {
    wire::pb::DenyList list;
    for (const NodeId& id : ids) {
      auto* entry = list.add_entries();
      entry->set_node_id(node::field_of(id.bytes));
      entry->set_reason(reason);
    }
    return sign(group_.body(DocumentType::deny, number, list.SerializeAsString()));
  }
  Registry::Adopted adopt(const wire::pb::Signed& document) {
    auto adopted = registry_.adopt(document);
    EXPECT_TRUE(adopted) << adopted.error().message;
    return adopted.value_or(Registry::Adopted{});
  }
  std::optional<store::Node> row(const TestNode& who) { return *store_->node(who.self.id); }
  std::uint32_t generation() { return *store_->generation(); }
  std::size_t alerts() { return store_->alerts(true, 10)->size(); }
  std::string last_audit() { return (*store_->audit_log(1))[0].what; }

  TestGroup group_;
  TestNode server_ = group_.node(Role::server, "ms.home.example");
  TestNode gateway_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  LogLines lines_;
  FakeClock clock_;
  std::unique_ptr<store::Store> store_ = std::move(*store::open_sqlite(":memory:"));
  GroupFolder::Delegate delegate_{std::move(group_.delegate), 1};
  Registry registry_{*store_,      lines_.log, clock_,
                     server_.self, delegate_,  ServerSettings::AgentPolicy::pending};
};

TEST_F(AdoptTest, ALostApprovalIsTakenOverAsItSays) {
  const auto adopted = adopt(approval(gateway_, 9, {"ms.home.example"}));
  EXPECT_TRUE(adopted.adopted);
  EXPECT_EQ(adopted.opened, 2u);
  const auto node = row(gateway_);
  ASSERT_TRUE(node);
  EXPECT_EQ(node->standing, Standing::approved);
  EXPECT_EQ(node->name, "gw1.site.example");
  EXPECT_EQ(node->role, store::Role::gateway);
  EXPECT_EQ(node->parents, std::vector<std::string>{"ms.home.example"});
  EXPECT_EQ(node->identity_key, to_bytes(gateway_.self.identity.public_key().spki()));
  ASSERT_NE(registry_.member(gateway_.self.id), nullptr);
  EXPECT_FALSE(registry_.member(gateway_.self.id)->removed);
  EXPECT_THAT(last_audit(), HasSubstr("adopted after the store was set back"));
  EXPECT_EQ(registry_.take_documents().size(), 1u);
  EXPECT_EQ(alerts(), 1u);
  EXPECT_EQ(generation(), 2u);
  // Its number is never given out again.
  EXPECT_GT(*store_->next_document_number(3), 9u);
}

TEST_F(AdoptTest, WhatTheStoreHasChangesNothing) {
  const auto adopted = adopt(approval(gateway_, 3));
  EXPECT_FALSE(adopted.adopted);
  EXPECT_EQ(adopted.opened, std::nullopt);
  EXPECT_FALSE(row(gateway_));
  EXPECT_EQ(alerts(), 0u);
  EXPECT_EQ(generation(), 1u);
}

TEST_F(AdoptTest, AllThatWasLostComesBackInAnyOrderUnderOneGeneration) {
  EXPECT_TRUE(adopt(approval(gateway_, 9)).adopted);
  EXPECT_TRUE(adopt(approval(agent_, 5)).adopted);
  EXPECT_FALSE(adopt(approval(agent_, 5)).adopted) << "once";
  EXPECT_EQ(generation(), 2u);
  EXPECT_EQ(alerts(), 1u) << "one cause";
}

TEST_F(AdoptTest, AlsoWhenTheGenerationWasOpenedForAnotherReasonAndWorkWentOn) {
  wire::Settled settled;
  settled.group = group_.root.node_id();
  settled.generation = 1;
  settled.coverage = {agent_.stream(wire::Lane::metric), {{1, 7, {}}}};
  const auto opened = registry_.meet_settled(settled);
  ASSERT_TRUE(opened);
  EXPECT_EQ(*opened, 2u);
  EXPECT_EQ(*registry_.meet_settled(settled), std::nullopt) << "of an older generation now";
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(registry_.approve("a.site.example", store::Role::agent,
                                  {fmt::format("gw{}.site.example", i)}, "admin"));
  EXPECT_TRUE(adopt(approval(gateway_, 9)).adopted);
  EXPECT_EQ(generation(), 2u);
}

TEST_F(AdoptTest, ALostDenyListRemovesWhomItNames) {
  ASSERT_TRUE(adopt(approval(gateway_, 9)).adopted);
  ASSERT_TRUE(adopt(approval(agent_, 10)).adopted);
  registry_.take_documents();
  EXPECT_TRUE(adopt(deny(4, {gateway_.self.id})).adopted);
  EXPECT_EQ(row(gateway_)->standing, Standing::removed);
  EXPECT_TRUE(registry_.member(gateway_.self.id)->removed);
  EXPECT_EQ(row(agent_)->standing, Standing::approved);
  EXPECT_THAT(last_audit(), HasSubstr("removed: adopted"));
  EXPECT_EQ(registry_.take_documents().size(), 1u);
  EXPECT_TRUE(adopt(deny(5, {gateway_.self.id, agent_.self.id}, 2)).adopted);
  EXPECT_EQ(row(agent_)->standing, Standing::rejected);
}

TEST_F(AdoptTest, WhatALostListRevokedStaysRevokedAndSoDoesWhatOnlyWeKnow) {
  ASSERT_TRUE(adopt(approval(gateway_, 9)).adopted);
  ASSERT_TRUE(registry_.revoke("c3", {}, clock_.wall() + std::chrono::days(1),
                               store::Revocation::Reason::retired, "admin"));
  registry_.take_documents();
  EXPECT_TRUE(adopt(sign(group_.body(DocumentType::deny, 40,
                                     [&] {
                                       wire::pb::DenyList list;
                                       auto* entry = list.add_entries();
                                       entry->set_tls_key_sha256(
                                           node::field_of(agent_.mark().tls_key));
                                       entry->set_reason(3);
                                       return list.SerializeAsString();
                                     }())))
                  .adopted);
  EXPECT_THAT(last_audit(), HasSubstr("certificate revoked: adopted"));
  ASSERT_NE(registry_.revocations().find(agent_.mark()), nullptr);
  EXPECT_EQ(registry_.revocations().find(agent_.mark())->reason,
            store::Revocation::Reason::compromised);
  wire::pb::DocumentBody body;
  wire::pb::DenyList list;
  ASSERT_TRUE(body.ParseFromString(registry_.take_documents().back().body()));
  ASSERT_TRUE(list.ParseFromString(body.payload()));
  EXPECT_EQ(list.entries_size(), 2);
}

TEST_F(AdoptTest, AnIdentityThatALostListRevokedStaysRevoked) {
  ASSERT_TRUE(adopt(approval(gateway_, 9)).adopted);
  EXPECT_TRUE(adopt(deny(5, {gateway_.self.id, agent_.self.id}, 3)).adopted);
  EXPECT_TRUE(row(gateway_)->compromised);
  EXPECT_EQ(row(gateway_)->standing, Standing::approved) << "another one under its name is a clash";
  EXPECT_TRUE(registry_.member(gateway_.self.id)->compromised);
  EXPECT_TRUE(row(agent_)->compromised) << "also of one that is not known here";
  EXPECT_THAT(last_audit(), HasSubstr("identity revoked: adopted"));
}

TEST_F(AdoptTest, WhoIsDeniedIsNotLetInByItsApproval) {
  EXPECT_TRUE(adopt(deny(4, {gateway_.self.id})).adopted);
  const auto adopted = adopt(approval(gateway_, 9));
  EXPECT_FALSE(adopted.adopted);
  EXPECT_THAT(adopted.refused, HasSubstr("removed or rejected"));
  EXPECT_EQ(row(gateway_)->standing, Standing::removed);
  EXPECT_EQ(registry_.take_documents().size(), 1u);
  ASSERT_TRUE(store_->close_alert("store rolled back", clock_.wall(), "root"));
  EXPECT_FALSE(adopt(approval(gateway_, 9)).adopted);
  EXPECT_EQ(alerts(), 0u) << "it proves nothing new";
}

TEST_F(AdoptTest, OneThatIsNotOnTheNewestListAnyMoreWasApprovedAgain) {
  EXPECT_TRUE(adopt(deny(4, {gateway_.self.id})).adopted);
  EXPECT_TRUE(adopt(deny(6, {})).adopted);
  EXPECT_TRUE(adopt(approval(gateway_, 9)).adopted);
  EXPECT_EQ(row(gateway_)->standing, Standing::approved);
}

// A list that we issued without the lost one must not bring back whom that had removed.
TEST_F(AdoptTest, ALostDenyListIsJoinedWithANewerOne) {
  ASSERT_TRUE(adopt(approval(gateway_, 9)).adopted);
  ASSERT_TRUE(adopt(approval(agent_, 10)).adopted);
  ASSERT_TRUE(registry_.remove(**store_->node_by_name("a.site.example"), "admin"));
  registry_.take_documents();
  auto body = group_.body(DocumentType::deny, 40, "");
  wire::pb::DenyList list;
  list.add_entries()->set_node_id(node::field_of(gateway_.self.id.bytes));
  list.mutable_entries(0)->set_reason(1);
  body.set_payload(list.SerializeAsString());
  EXPECT_TRUE(adopt(sign(body)).adopted);
  EXPECT_EQ(row(gateway_)->standing, Standing::removed);
  const auto documents = registry_.take_documents();
  ASSERT_EQ(documents.size(), 1u);
  wire::pb::DocumentBody issued;
  ASSERT_TRUE(issued.ParseFromString(documents[0].body()));
  EXPECT_EQ(issued.generation(), 2u);
  ASSERT_TRUE(list.ParseFromString(issued.payload()));
  EXPECT_EQ(list.entries_size(), 2);
  EXPECT_FALSE(adopt(sign(body)).adopted) << "nothing is new in it";
}

TEST_F(AdoptTest, TheNamesOfThoseWhoAreHereAreNotTakenFromThem) {
  TestNode impostor = group_.node(Role::agent, "a.site.example");
  const auto adopted = adopt(approval(impostor, 9));
  EXPECT_FALSE(adopted.adopted);
  EXPECT_THAT(adopted.refused, HasSubstr("is approved with identity"));
  EXPECT_FALSE(row(impostor));
}

TEST_F(AdoptTest, ABindingThatWasLostIsFoundAgain) {
  auto approved = registry_.approve("gw1.site.example", store::Role::gateway, {}, "admin");
  ASSERT_TRUE(approved);
  store::Node waiting;
  waiting.name = "gw1.site.example";
  waiting.id = gateway_.self.id;
  waiting.role = store::Role::gateway;
  waiting.standing = Standing::pending;
  ASSERT_TRUE(store_->save_node(waiting, std::nullopt));
  EXPECT_TRUE(adopt(approval(gateway_, 9)).adopted);
  EXPECT_EQ(row(gateway_)->row, approved->node.row);
  EXPECT_EQ(store_->nodes_named("gw1.site.example")->size(), 1u);
}

TEST_F(AdoptTest, AnApprovalOfAKeyThatIsNotItsNodesIsInvalid) {
  auto body = group_.approval_body(gateway_, 9);
  body.set_audience(node::field_of(agent_.self.id.bytes));
  auto adopted = registry_.adopt(sign(body));
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code, Errc::invalid);
  EXPECT_FALSE(row(gateway_));
}

}  // namespace
}  // namespace postern
