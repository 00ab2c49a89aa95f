// The registry's decisions and the documents that say so are one (rule T2); what others say of a
// node does not keep it alive (rule D6).

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include "identity/test_folder.h"
#include "node/test_group.h"
#include "server/registry.h"

namespace postern {
namespace {

using node::Role;
using store::Standing;
using testing_support::LogLines;
using testing_support::TemporaryFolder;
using testing_support::TestGroup;
using testing_support::TestNode;

class RegistryCommits : public testing::Test {
 protected:
  RegistryCommits() { restart(); }
  void restart() {
    registry_.reset();
    store_.reset();
    store_ = std::move(*store::open_sqlite((folder_ / "store.db").string()));
    registry_.emplace(*store_, lines_.log, clock_, server_.self, delegate_,
                      ServerSettings::AgentPolicy::pending);
    EXPECT_TRUE(registry_->load());
  }
  /// As another program at the same file.
  void execute(const std::string& sql) {
    SQLite::Database((folder_ / "store.db").string(), SQLite::OPEN_READWRITE, 1000).exec(sql);
  }
  void knock(const std::vector<std::string>& path = {"ms.home.example"}) {
    node::Candidate candidate;
    candidate.hello = agent_.hello({});
    candidate.who = *node::verify_hello(candidate.hello, agent_.mark(), {}, server_.self);
    candidate.chain = {agent_.certificate()};
    candidate.address = "192.0.2.1:40000";
    (void)registry_->admit(candidate, path);
  }
  store::Node row() { return **store_->node(agent_.self.id); }
  void approve() {
    knock();
    ASSERT_TRUE(registry_->approve(agent_.self.name, store::Role::agent, {}, "admin"));
    registry_->take_documents();
  }
  std::size_t denied() {
    std::size_t entries = 0;
    const auto documents = store_->documents(static_cast<std::uint32_t>(node::DocumentType::deny));
    for (const auto& stored : *documents) {
      wire::pb::Signed document;
      wire::pb::DocumentBody body;
      wire::pb::DenyList list;
      EXPECT_TRUE(document.ParseFromString(to_string(stored.document)) &&
                  body.ParseFromString(document.body()) && list.ParseFromString(body.payload()));
      entries += static_cast<std::size_t>(list.entries_size());
    }
    return entries;
  }

  TemporaryFolder folder_;
  TestGroup group_;
  TestNode server_ = group_.node(Role::server, "ms.home.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  LogLines lines_;
  FakeClock clock_;
  GroupFolder::Delegate delegate_{PrivateKey::generate(), 1};
  std::unique_ptr<store::Store> store_;
  std::optional<Registry> registry_;
};

TEST_F(RegistryCommits, ARemovalWhoseDenyListCannotBeWrittenDidNotHappen) {
  approve();
  const store::Node before = row();
  const auto audited = store_->audit_log(100)->size();
  execute("CREATE TRIGGER full BEFORE INSERT ON document BEGIN SELECT RAISE(ABORT, 'full'); END");
  EXPECT_FALSE(registry_->remove(before, "admin"));
  EXPECT_EQ(row(), before);
  EXPECT_EQ(store_->audit_log(100)->size(), audited);
  EXPECT_TRUE(registry_->take_documents().empty()) << "nobody hears of what did not happen";
  EXPECT_FALSE(registry_->member(agent_.self.id)->removed);

  execute("DROP TRIGGER full");
  ASSERT_TRUE(registry_->remove(before, "admin"));
  EXPECT_EQ(registry_->take_documents().size(), 1u);
  EXPECT_EQ(denied(), 1u);
}

TEST_F(RegistryCommits, AnApprovalThatCannotBeWrittenDidNotHappenAndIsNotHandedOut) {
  knock();
  execute("CREATE TRIGGER full BEFORE UPDATE ON node BEGIN SELECT RAISE(ABORT, 'full'); END");
  EXPECT_FALSE(registry_->approve(agent_.self.name, store::Role::agent, {}, "admin"));
  EXPECT_TRUE(registry_->take_documents().empty());
  EXPECT_TRUE(store_->documents(static_cast<std::uint32_t>(node::DocumentType::approval))->empty());
  EXPECT_EQ(row().standing, Standing::pending);
}

TEST_F(RegistryCommits, BackInAfterARemovalTheDenyListIsEmptyInTheSameStep) {
  approve();
  ASSERT_TRUE(registry_->remove(row(), "admin"));
  EXPECT_EQ(denied(), 1u);
  registry_->take_documents();
  ASSERT_TRUE(registry_->approve(agent_.self.name, store::Role::agent, {}, "admin"));
  EXPECT_EQ(denied(), 0u);
  EXPECT_EQ(registry_->take_documents().size(), 2u);
}

TEST_F(RegistryCommits, ADenyListThatDiffersFromTheNodesIsIssuedAnewAtTheStart) {
  approve();
  restart();
  EXPECT_TRUE(registry_->take_documents().empty()) << "nothing differs";
  execute("UPDATE node SET standing = 3");
  restart();
  EXPECT_EQ(registry_->take_documents().size(), 1u);
  EXPECT_EQ(denied(), 1u);
  restart();
  EXPECT_TRUE(registry_->take_documents().empty());
}

TEST_F(RegistryCommits, OnlyAKnockAtOurOwnDoorSaysThatANodeIsAlive) {
  approve();
  const auto before = row().last_seen;
  clock_.advance(std::chrono::hours(1));
  knock({"gw1.site.example", "ms.home.example"});
  EXPECT_EQ(row().last_seen, before);
  EXPECT_EQ(row().path.front(), "gw1.site.example");
  knock();
  EXPECT_EQ(row().last_seen, clock_.wall());
}

TEST_F(RegistryCommits, APendingNodeIsWrittenDownOnceAMinuteUnlessItsPathChanges) {
  knock();
  const auto first = row().last_seen;
  clock_.advance(std::chrono::seconds(59));
  knock();
  EXPECT_EQ(row().last_seen, first);
  clock_.advance(std::chrono::seconds(1));
  knock();
  EXPECT_EQ(row().last_seen, clock_.wall());
  clock_.advance(std::chrono::seconds(1));
  knock({"gw1.site.example", "ms.home.example"});
  EXPECT_EQ(row().last_seen, clock_.wall());
  EXPECT_EQ(row().path.front(), "gw1.site.example");
}

}  // namespace
}  // namespace postern
