#include "server/registry.h"

#include <gtest/gtest.h>

#include "node/test_group.h"

namespace postern {
namespace {

using node::Role;
using store::Standing;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;
using Policy = ServerSettings::AgentPolicy;

class RegistryTest : public ::testing::Test {
 protected:
  node::Candidate candidate(const TestNode& who) const {
    node::Candidate candidate;
    candidate.hello = who.hello({});
    candidate.who = *node::verify_hello(candidate.hello, who.mark(), {}, server_.self);
    candidate.chain = {who.certificate()};
    candidate.address = "192.0.2.1:40000";
    return candidate;
  }
  node::Decision knock(const TestNode& who, const std::string& parent = "ms.home.example") {
    return registry_.admit(candidate(who), {parent});
  }
  /// The code it was refused with; zero: it came in.
  wire::Refusal refusal(const TestNode& who, const std::string& parent = "ms.home.example") {
    auto decision = knock(who, parent);
    return decision ? wire::Refusal{} : decision.error().reason;
  }
  Registry::Approved approve(const std::string& name, store::Role role = store::Role::gateway,
                             std::vector<std::string> parents = {}) {
    auto approved = registry_.approve(name, role, std::move(parents), "admin");
    EXPECT_TRUE(approved) << approved.error().message;
    return *approved;
  }
  store::Node row(const TestNode& who) { return **store_->node(who.self.id); }
  std::size_t pending() {
    const auto nodes = *store_->nodes();
    return static_cast<std::size_t>(std::count_if(
        nodes.begin(), nodes.end(), [](const auto& n) { return n.standing == Standing::pending; }));
  }
  /// Node ids of the newest deny list that was made since the last call.
  std::optional<std::vector<NodeId>> deny_list() {
    std::optional<std::vector<NodeId>> ids;
    for (const auto& document : registry_.take_documents()) {
      wire::pb::DocumentBody body;
      EXPECT_TRUE(body.ParseFromString(document.body()));
      if (body.type() != static_cast<std::uint32_t>(node::DocumentType::deny)) continue;
      wire::pb::DenyList list;
      EXPECT_TRUE(list.ParseFromString(body.payload()));
      ids.emplace();
      for (const auto& entry : list.entries())
        ids->push_back(node::node_id_of_field(entry.node_id()));
    }
    return ids;
  }

  TestGroup group_;
  TestNode server_ = group_.node(Role::server, "ms.home.example");
  TestNode gateway_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode impostor_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  LogLines lines_;
  FakeClock clock_;
  std::unique_ptr<store::Store> store_ = std::move(*store::open_sqlite(":memory:"));
  GroupFolder::Delegate delegate_{std::move(group_.delegate), 1};
  Registry registry_{*store_, lines_.log, clock_, server_.self, delegate_, Policy::pending};
};

TEST_F(RegistryTest, AStrangerGoesToPendingOnceAndComesInAfterItsApproval) {
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  EXPECT_EQ(pending(), 1u);
  EXPECT_EQ(row(gateway_).address, "192.0.2.1:40000");
  EXPECT_EQ(row(gateway_).certificate_sha256, to_hex(gateway_.certificate().fingerprint()));
  EXPECT_EQ(registry_.member(gateway_.self.id), nullptr);
  EXPECT_FALSE(approve("gw1.site.example").already);
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(pending(), 0u);
  ASSERT_NE(registry_.member(gateway_.self.id), nullptr);
  EXPECT_FALSE(registry_.member(gateway_.self.id)->removed);
}

TEST_F(RegistryTest, WhatItIssuesIsBelievedByTheGroup) {
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  approve("gw1.site.example", store::Role::gateway, {"ms.home.example"});
  node::Trust trust(lines_.log, group_.root.public_key(), "/none",
                    [](const std::filesystem::path&, const Bytes&) {});
  const auto delegation = node::sign_document(
      group_.delegation_body(1, delegate_.key.public_key(), {node::Scope::documents},
                             clock_.wall() + std::chrono::days(1)),
      group_.root, 0);
  ASSERT_TRUE(trust.take(delegation, clock_.wall()));
  auto decision = knock(gateway_);
  ASSERT_TRUE(decision);
  auto taken = trust.take(*decision->approval, clock_.wall());
  ASSERT_TRUE(taken) << taken.error().message;
  const auto approval = trust.approval(gateway_.self.id)->approval;
  EXPECT_FALSE(against_approval(approval, candidate(gateway_), "ms.home.example"));
  EXPECT_TRUE(against_approval(approval, candidate(gateway_), "gw9.site.example"));
  EXPECT_TRUE(against_approval(approval, candidate(impostor_), "ms.home.example"));
}

TEST_F(RegistryTest, ApprovedByNameBeforeItCameItIsBoundAtFirstContact) {
  const auto approved = approve("gw1.site.example");
  EXPECT_FALSE(approved.node.id);
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(row(gateway_).row, approved.node.row);
  // From now on the name is this identity's.
  EXPECT_EQ(refusal(impostor_), wire::Refusal::clash);
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
}

TEST_F(RegistryTest, ApprovedTwiceIsNoHarmAndSaysSo) {
  EXPECT_FALSE(approve("gw1.site.example").already);
  EXPECT_TRUE(approve("gw1.site.example").already);
  EXPECT_FALSE(approve("gw1.site.example", store::Role::gateway, {"ms.home.example"}).already);
}

TEST_F(RegistryTest, AClashWaitsAndTheLiveOneStays) {
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(refusal(impostor_), wire::Refusal::clash);
  EXPECT_EQ(row(impostor_).standing, Standing::pending);
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_TRUE(approve("gw1.site.example").already);  // approves no clash
  EXPECT_EQ(refusal(impostor_), wire::Refusal::clash);
}

TEST_F(RegistryTest, AnAdministratorMayPreferTheClash) {
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(refusal(impostor_), wire::Refusal::clash);
  ASSERT_TRUE(registry_.approve_pending(row(impostor_), {}, "admin"));
  EXPECT_EQ(refusal(impostor_), wire::Refusal{});
  EXPECT_EQ(refusal(gateway_), wire::Refusal::removed);
  EXPECT_EQ(deny_list(), std::vector<NodeId>{gateway_.self.id});
}

TEST_F(RegistryTest, WhoIsRemovedStaysOutUntilApprovedAgain) {
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_FALSE(deny_list());
  ASSERT_TRUE(registry_.remove(row(gateway_), "admin"));
  EXPECT_EQ(deny_list(), std::vector<NodeId>{gateway_.self.id});
  EXPECT_EQ(refusal(gateway_), wire::Refusal::removed);
  ASSERT_NE(registry_.member(gateway_.self.id), nullptr);
  EXPECT_TRUE(registry_.member(gateway_.self.id)->removed);
  approve("gw1.site.example");
  EXPECT_EQ(deny_list(), std::vector<NodeId>{});
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
}

TEST_F(RegistryTest, ARejectedOneIsToldSoAndDenied) {
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  ASSERT_TRUE(registry_.reject(row(gateway_), "admin"));
  EXPECT_EQ(refusal(gateway_), wire::Refusal::rejected);
  EXPECT_EQ(deny_list(), std::vector<NodeId>{gateway_.self.id});
  approve("gw1.site.example");
  EXPECT_EQ(deny_list(), std::vector<NodeId>{});
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
}

TEST_F(RegistryTest, AnApprovalByNameBringsBackTheRemovedOneNotTheRejectedImpostor) {
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(refusal(impostor_), wire::Refusal::clash);
  ASSERT_TRUE(registry_.reject(row(impostor_), "admin"));
  ASSERT_TRUE(registry_.remove(row(gateway_), "admin"));
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(refusal(impostor_), wire::Refusal::rejected);
}

TEST_F(RegistryTest, AnotherRoleThanApprovedIsRefused) {
  approve("gw1.site.example", store::Role::agent);
  EXPECT_EQ(refusal(gateway_), wire::Refusal::wrong_role);
}

TEST_F(RegistryTest, AnApprovalForARoleThatWaitsAsAnotherIsDenied) {
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  auto approved = registry_.approve("gw1.site.example", store::Role::agent, {}, "admin");
  ASSERT_FALSE(approved);
  EXPECT_EQ(approved.error().code, Errc::denied);
}

TEST_F(RegistryTest, AnotherParentThanApprovedIsRefused) {
  approve("agent1.site.example", store::Role::agent, {"gw1.site.example"});
  EXPECT_EQ(refusal(agent_, "gw2.site.example"), wire::Refusal::wrong_parent);
  EXPECT_EQ(refusal(agent_, "gw1.site.example"), wire::Refusal{});
}

TEST_F(RegistryTest, PoliciesDecideAboutAgentsAlone) {
  registry_.set_policy(Policy::reject);
  EXPECT_EQ(refusal(agent_), wire::Refusal::rejected);
  EXPECT_EQ(pending(), 0u);
  registry_.set_policy(Policy::auto_approve);
  EXPECT_EQ(refusal(agent_), wire::Refusal{});
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  ASSERT_TRUE(registry_.remove(row(agent_), "admin"));
  EXPECT_EQ(refusal(agent_), wire::Refusal::removed);  // whatever the policy
}

TEST_F(RegistryTest, UnderRejectAnAgentApprovedByNameComesIn) {
  registry_.set_policy(Policy::reject);
  approve("agent1.site.example", store::Role::agent);
  EXPECT_EQ(refusal(agent_), wire::Refusal{});
}

TEST_F(RegistryTest, PendingHasALimitAndThoseInItKeepTheirPlace) {
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  for (std::size_t i = 1; i < kPendingMax; ++i) {
    store::Node node;
    node.name = fmt::format("host{}.site.example", i);
    ASSERT_TRUE(store_->save_node(node, std::nullopt));
  }
  EXPECT_EQ(refusal(agent_), wire::Refusal::busy);
  EXPECT_EQ(pending(), kPendingMax);
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
}

TEST_F(RegistryTest, AWishForAnotherDirectionIsRecordedAndApprovesNothing) {
  ASSERT_TRUE(registry_.record_direction("gw1.site.example", store::Role::gateway,
                                         {"ms.home.example"}, "admin"));
  EXPECT_TRUE(registry_.take_documents().empty());
  auto nodes = *store_->nodes_named("gw1.site.example");
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].standing, Standing::pending);
  EXPECT_EQ(nodes[0].direction, store::Direction::parent_dials);
  EXPECT_EQ(refusal(gateway_), wire::Refusal::pending_approval);
  EXPECT_EQ(pending(), 1u);
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
}

TEST_F(RegistryTest, AWishIsForTheApprovedNodeNotForAClash) {
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(refusal(impostor_), wire::Refusal::clash);
  ASSERT_TRUE(registry_.record_direction("gw1.site.example", store::Role::gateway, {}, "admin"));
  EXPECT_EQ(row(impostor_).direction, store::Direction::child_dials);
  EXPECT_NE(row(impostor_).reason.find("clash"), std::string::npos);
  EXPECT_EQ(row(gateway_).direction, store::Direction::parent_dials);
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});  // its approval is as it was
}

TEST_F(RegistryTest, KnowsItsMembersAfterARestart) {
  approve("gw1.site.example");
  EXPECT_EQ(refusal(gateway_), wire::Refusal{});
  EXPECT_EQ(refusal(agent_), wire::Refusal::pending_approval);
  Registry again(*store_, lines_.log, clock_, server_.self, delegate_, Policy::pending);
  EXPECT_EQ(again.member(gateway_.self.id), nullptr);
  ASSERT_TRUE(again.load());
  ASSERT_NE(again.member(gateway_.self.id), nullptr);
  EXPECT_EQ(again.member(gateway_.self.id)->key, gateway_.self.identity.public_key());
  EXPECT_EQ(again.member(agent_.self.id), nullptr);
}

}  // namespace
}  // namespace postern
