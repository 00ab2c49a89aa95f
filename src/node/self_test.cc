#include "node/self.h"

#include <gtest/gtest.h>

#include "base/fake_disk.h"
#include "node/head_numbers.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::kWall;
using testing_support::TestGroup;
using testing_support::TestNode;

class SelfTest : public ::testing::Test {
 protected:
  SelfTest() {
    exporter_.fill(std::byte{5});
    elsewhere_.fill(std::byte{6});
  }
  wire::Refusal judge(const wire::pb::Hello& hello) {
    auto who = verify_hello(hello, child_.mark(), exporter_, parent_.self);
    return who ? wire::Refusal{} : who.error().reason;
  }
  wire::Refusal judge(const wire::pb::Welcome& welcome) {
    auto who = verify_welcome(welcome, parent_.mark(), exporter_, child_.self);
    return who ? wire::Refusal{} : who.error().reason;
  }
  wire::pb::Hello hello() const { return child_.hello(exporter_); }
  wire::pb::Welcome welcome() const { return parent_.welcome(exporter_); }

  TestGroup group_;
  TestNode child_ = group_.node(Role::agent, "agent1.site.example");
  TestNode parent_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode stranger_ = group_.node(Role::agent, "agent2.site.example");
  Exporter exporter_{}, elsewhere_{};
};

TEST_F(SelfTest, AGoodHelloShowsWhoItIs) {
  auto who = verify_hello(hello(), child_.mark(), exporter_, parent_.self);
  ASSERT_TRUE(who) << who.error().words;
  EXPECT_EQ(who->name, "agent1.site.example");
  EXPECT_EQ(who->id, child_.self.id);
  EXPECT_EQ(who->role, Role::agent);
  EXPECT_EQ(who->incarnation, 11u);
  EXPECT_EQ(who->certificate, child_.mark());
}

TEST_F(SelfTest, AHelloSaysWhatThisNodeIsAndSpeaks) {
  const auto h = hello();
  EXPECT_EQ(h.version_min(), kVersionMin);
  EXPECT_EQ(h.version_max(), kVersionMax);
  EXPECT_EQ(h.claim(), 1u);
  EXPECT_EQ(h.incarnation(), 11u);
  EXPECT_EQ(h.pinned_root_sha256(), field_of(child_.self.root_sha256));
  EXPECT_EQ(h.software(), kSoftware);
}

TEST_F(SelfTest, AGoodWelcomeShowsWhoItIs) {
  auto who = verify_welcome(welcome(), parent_.mark(), exporter_, child_.self);
  ASSERT_TRUE(who) << who.error().words;
  EXPECT_EQ(who->name, "gw1.site.example");
  EXPECT_EQ(who->id, parent_.self.id);
}

TEST_F(SelfTest, AnotherGroupIsRefused) {
  auto h = hello();
  h.set_group("other");
  EXPECT_EQ(judge(h), wire::Refusal::wrong_group);
  auto w = welcome();
  w.set_group("other");
  EXPECT_EQ(judge(w), wire::Refusal::wrong_group);
}

TEST_F(SelfTest, AnotherGroupRootIsRefusedThoughTheNameIsTheSame) {
  TestGroup namesake;
  const TestNode node = namesake.node(Role::agent, "agent1.site.example");
  auto who = verify_hello(node.hello(exporter_), node.mark(), exporter_, parent_.self);
  ASSERT_FALSE(who);
  EXPECT_EQ(who.error().reason, wire::Refusal::wrong_group);
}

TEST_F(SelfTest, AnUnpinnedNodeIsNoOtherGroup) {
  child_.self.group_id = {};
  EXPECT_EQ(judge(hello()), wire::Refusal{});
}

TEST_F(SelfTest, AStatementOfAnotherKeyIsRefused) {
  auto h = hello();
  h.set_identity_key(field_of(stranger_.self.identity.public_key().spki()));
  EXPECT_EQ(judge(h), wire::Refusal::bad_proof);
  auto w = welcome();
  *w.mutable_statement() = stranger_.self.statement(parent_.tls_key(), kWall);
  EXPECT_EQ(judge(w), wire::Refusal::bad_proof);
}

TEST_F(SelfTest, AStatementForAnotherNameIsRefused) {
  auto h = hello();
  h.set_name("agent9.site.example");
  EXPECT_EQ(judge(h), wire::Refusal::bad_proof);
  auto w = welcome();
  w.set_name("gw9.site.example");
  EXPECT_EQ(judge(w), wire::Refusal::bad_proof);
}

TEST_F(SelfTest, AStatementForAnotherTlsKeyIsRefused) {
  auto h = hello();
  *h.mutable_statement() = child_.self.statement(stranger_.tls_key(), kWall);
  EXPECT_EQ(judge(h), wire::Refusal::bad_proof);
  auto w = welcome();
  *w.mutable_statement() = parent_.self.statement(stranger_.tls_key(), kWall);
  EXPECT_EQ(judge(w), wire::Refusal::bad_proof);
}

TEST_F(SelfTest, AProofForAnotherConnectionIsRefused) {
  EXPECT_EQ(judge(child_.hello(elsewhere_)), wire::Refusal::bad_proof);
  EXPECT_EQ(judge(parent_.welcome(elsewhere_)), wire::Refusal::bad_proof);
}

TEST_F(SelfTest, ADiallersProofIsNoneForAnAcceptor) {
  auto w = welcome();
  w.set_proof(parent_.self.proof(exporter_, true));
  EXPECT_EQ(judge(w), wire::Refusal::bad_proof);
  auto h = hello();
  h.set_proof(child_.self.proof(exporter_, false));
  EXPECT_EQ(judge(h), wire::Refusal::bad_proof);
}

TEST_F(SelfTest, WithoutProofOrStatementNobodyComesIn) {
  auto h = hello();
  h.clear_proof();
  EXPECT_EQ(judge(h), wire::Refusal::bad_proof);
  h = hello();
  h.clear_statement();
  EXPECT_EQ(judge(h), wire::Refusal::bad_proof);
  h = hello();
  h.set_identity_key("no key");
  EXPECT_EQ(judge(h), wire::Refusal::bad_proof);
}

TEST_F(SelfTest, AnUnknownRoleIsRefused) {
  auto h = hello();
  for (const std::uint32_t role : {0u, 4u}) {
    h.set_role(role);
    EXPECT_EQ(judge(h), wire::Refusal::protocol) << role;
  }
}

TEST_F(SelfTest, AVersionThatWeDoNotSpeakIsRefused) {
  auto h = hello();
  h.set_version_min(kVersionMax + 1);
  h.set_version_max(kVersionMax + 2);
  EXPECT_EQ(judge(h), wire::Refusal::version);
  h.set_version_min(kVersionMin);  // both speak ours
  EXPECT_EQ(judge(h), wire::Refusal{});
  auto w = welcome();
  w.set_version(kVersionMax + 1);
  EXPECT_EQ(judge(w), wire::Refusal::version);
}

TEST_F(SelfTest, AStrangersNameStandsInOurWordsOnlyWhenItIsOne) {
  wire::pb::Hello hello;
  hello.set_version_min(kVersionMax + 1);
  hello.set_version_max(kVersionMax + 1);
  hello.set_name("a\nforged line " + std::string(5000, 'x'));
  const auto refused = verify_hello(hello, {}, {}, parent_.self);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().words.starts_with("the peer speaks versions"))
      << refused.error().words;
}

TEST_F(SelfTest, ANameIsALowerCaseFqdn) {
  const TestNode loud = group_.node(Role::agent, "AGENT1.site.example");
  auto who = verify_hello(loud.hello(exporter_), loud.mark(), exporter_, parent_.self);
  ASSERT_FALSE(who);
  EXPECT_EQ(who.error().reason, wire::Refusal::wrong_name);
}

TEST(StateFiles, OneThatIsNotWhatWeWroteIsBegunAnew) {
  FakeDisk disk;
  SeededRandom random(1);
  ASSERT_TRUE(disk.make_directories("/state"));
  disk.set_contents("/state/incarnation", Bytes(5000, std::byte{1}));
  disk.set_contents("/state/head-number", Bytes(5000, std::byte{1}));
  const auto first = next_incarnation(disk, "/state", random);
  ASSERT_TRUE(first);
  EXPECT_EQ(next_incarnation(disk, "/state", random)->second, first->first);
  EXPECT_EQ(read_head_number(disk, "/state").value(), 0u);
}

TEST_F(SelfTest, AnIncarnationIsWrittenDownBeforeAnybodyHearsOfIt) {
  FakeDisk disk;
  SeededRandom random(3);
  ASSERT_TRUE(disk.make_directories("/state"));
  auto first = next_incarnation(disk, "/state", random);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->second, 0u);
  disk.crash();
  EXPECT_EQ(last_incarnation(disk, "/state"), Result<std::uint64_t>(first->first));
  auto second = next_incarnation(disk, "/state", random);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->second, first->first);
  EXPECT_NE(second->first, first->first);

  disk.fail_at(1, FakeDisk::Failing::from_then_on);
  EXPECT_FALSE(next_incarnation(disk, "/state", random));
  disk.heal();
  EXPECT_EQ(next_incarnation(disk, "/state", random)->second, second->first);
}

}  // namespace
}  // namespace postern::node
