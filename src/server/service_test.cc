#include "server/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fake_disk.h"
#include "node/test_group.h"
#include "server/numbers.h"

namespace postern {
namespace {

using node::Role;
using testing::HasSubstr;
using testing::SizeIs;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;

const api::Caller kAdmin{0, 0, "root", api::Scope::administrate};

class ServiceTest : public testing::Test {
 protected:
  ServiceTest() {
    approve(agent_, store::Role::agent);
    approve(gateway_, store::Role::gateway);
  }
  void approve(const TestNode& who, store::Role role) {
    store::Node node;
    node.name = who.self.name;
    node.id = who.self.id;
    node.identity_key = to_bytes(who.self.identity.public_key().spki());
    node.role = role;
    node.standing = store::Standing::approved;
    node.path = {"gw1.site.example", "ms.home.example"};
    ASSERT_TRUE(store_->save_node(node, std::nullopt));
  }
  /// What a head of the agent says: so many are sealed.
  void seal(std::uint64_t sequence) {
    store::Store::Seen seen;
    seen.id = agent_.self.id;
    seen.head_number = ++head_;
    store::Store::Seen::Sealed sealed;
    sealed.stream = stream();
    sealed.sequence = sequence;
    sealed.hash.fill(std::byte{9});
    seen.sealed = {sealed};
    ASSERT_TRUE(store_->seen(std::span(&seen, 1)));
  }
  wire::StreamKey stream() const { return agent_.stream(wire::Lane::metric); }
  api::LossQuery query() const {
    api::LossQuery query;
    query.limit = 100;
    return query;
  }

  TestGroup group_;
  TestNode server_ = group_.node(Role::server, "ms.home.example");
  TestNode gateway_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  LogLines lines_;
  FakeClock clock_;
  SeededRandom random_{1};
  FakeDisk disk_;
  std::uint64_t head_ = 0;
  std::unique_ptr<store::Store> store_ = std::move(*store::open_sqlite(":memory:"));
  GroupFolder::Delegate delegate_{std::move(group_.delegate), 7};
  Registry registry_{*store_,      lines_.log, clock_,
                     server_.self, delegate_,  ServerSettings::AgentPolicy::pending};
  GroupFolder folder_{disk_, "/state"};
  HoleWatch holes_;
  ServerService service_{*store_,
                         registry_,
                         folder_,
                         clock_,
                         random_,
                         {"demo",
                          "ms.home.example",
                          "0.0.0.0:5723",
                          node::kSoftware,
                          server_.self.id,
                          {},
                          group_.root.public_key(),
                          group_.anchors(),
                          {},
                          {},
                          {}},
                         &holes_};
};

TEST_F(ServiceTest, AHoleIsInTheLedgerOnceItIsOldEnoughToBeOne) {
  seal(5);
  holes_.look(*store_->holes(holes_.limit()), clock_.now());
  EXPECT_THAT(*service_.losses(query()), SizeIs(0)) << "mostly on its way";
  clock_.advance(std::chrono::minutes(2));
  const auto losses = *service_.losses(query());
  ASSERT_THAT(losses, SizeIs(1));
  EXPECT_EQ(losses[0].kind, api::LossView::Kind::hole);
  EXPECT_EQ(losses[0].node, "agent1.site.example");
  EXPECT_EQ(losses[0].range, (api::SequenceRange{1, 5}));
  EXPECT_EQ(losses[0].noted, clock_.wall() - std::chrono::minutes(2));
  EXPECT_EQ(losses[0].where, "gw1.site.example, ms.home.example");
}

TEST_F(ServiceTest, WhatANoticeExplainsIsNoHoleWithoutAWord) {
  seal(9);
  holes_.look(*store_->holes(holes_.limit()), clock_.now());
  clock_.advance(std::chrono::minutes(2));
  store::Loss notice;
  notice.kind = store::Loss::Kind::notice;
  notice.stream = stream();
  notice.first = 3;
  notice.last = 4;
  notice.noted = clock_.wall();
  notice.reason = "shed for space";
  notice.where = gateway_.self.id.hex();
  ASSERT_TRUE(store_->note_loss(notice));
  const auto losses = *service_.losses(query());
  ASSERT_THAT(losses, SizeIs(3));
  EXPECT_EQ(losses[0].range, (api::SequenceRange{1, 2}));
  EXPECT_EQ(losses[1].range, (api::SequenceRange{5, 9}));
  EXPECT_EQ(losses[2].kind, api::LossView::Kind::notice);
  EXPECT_EQ(losses[2].where, "gw1.site.example") << "a node is named by its name";
}

TEST_F(ServiceTest, TheLedgerOfOneNodeIsItsOwn) {
  seal(5);
  holes_.look(*store_->holes(holes_.limit()), clock_.now());
  clock_.advance(std::chrono::minutes(2));
  api::LossQuery mine = query();
  mine.node = "agent1.site.example";
  EXPECT_THAT(*service_.losses(mine), SizeIs(1));
  mine.node = "gw1.site.example";
  EXPECT_THAT(*service_.losses(mine), SizeIs(0));
  mine.node = "nobody.site.example";
  EXPECT_EQ(service_.losses(mine).error().type, api::kProblemNotFound);
}

TEST_F(ServiceTest, AnAlertNamesItsNodeAndIsClosedByHand) {
  store::Alert alert = rolled_back_alert("words", clock_.wall());
  alert.node = agent_.self.id;
  const auto raised = store_->raise_alert(alert);
  ASSERT_TRUE(raised);
  const auto open = *service_.alerts(true);
  ASSERT_THAT(open, SizeIs(1));
  EXPECT_EQ(open[0].node, "agent1.site.example");
  EXPECT_EQ(open[0].id, raised->id);
  EXPECT_EQ(service_.alert(raised->id + 1).error().type, api::kProblemNotFound);
  clock_.advance(std::chrono::seconds(5));
  EXPECT_EQ(service_.close_alert(kAdmin, raised->id)->closed, clock_.wall());
  EXPECT_EQ((*store_->audit_log(1))[0].what, "alert closed");
  clock_.advance(std::chrono::seconds(5));
  EXPECT_EQ(service_.close_alert(kAdmin, raised->id)->closed,
            clock_.wall() - std::chrono::seconds(5))
      << "closed already";
  EXPECT_THAT(*service_.alerts(true), SizeIs(0));
  EXPECT_THAT(*service_.alerts(false), SizeIs(1));
}

TEST_F(ServiceTest, ATraceIsAQuestionSignedForTheNode) {
  const auto started = service_.trace(kAdmin, "agent1.site.example");
  ASSERT_TRUE(started) << started.error().detail;
  const auto questions = service_.take_questions();
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_TRUE(service_.take_questions().empty());
  EXPECT_EQ(questions[0].target, agent_.self.id);
  EXPECT_EQ(questions[0].kind, 3u);
  wire::pb::TraceQuestion question;
  ASSERT_TRUE(question.ParseFromString(questions[0].body.body()));
  EXPECT_EQ(to_hex(as_bytes(question.id())), started->id);
  EXPECT_EQ(question.issued_ms(), to_ms(clock_.wall()));
  Signature signature;
  const ByteView bytes = as_bytes(questions[0].body.signature());
  ASSERT_EQ(bytes.size(), signature.size());
  std::copy(bytes.begin(), bytes.end(), signature.begin());
  EXPECT_TRUE(delegate_.key.public_key().verifies("postern trace v1",
                                                  as_bytes(questions[0].body.body()), signature));
  EXPECT_EQ(questions[0].body.signer(), 7u);

  EXPECT_EQ(service_.trace(kAdmin, "agent1.site.example").error().type, api::kProblemExhausted);
  EXPECT_TRUE(service_.trace(kAdmin, "gw1.site.example"));
  clock_.advance(std::chrono::seconds(1));
  EXPECT_TRUE(service_.trace(kAdmin, "agent1.site.example"));
  EXPECT_FALSE(service_.trace_result(started->id)->arrived);
  EXPECT_EQ(service_.trace_result(std::string(32, '0')).error().type, api::kProblemNotFound);
}

TEST_F(ServiceTest, OnlyANodeThatCanAnswerIsTraced) {
  EXPECT_EQ(service_.trace(kAdmin, "nobody.site.example").error().type, api::kProblemNotFound);
  store::Node unseen;
  unseen.name = "unseen.site.example";
  unseen.standing = store::Standing::approved;
  ASSERT_TRUE(store_->save_node(unseen, std::nullopt));
  EXPECT_THAT(service_.trace(kAdmin, "unseen.site.example").error().detail,
              HasSubstr("never connected"));
  EXPECT_TRUE(service_.take_questions().empty());
}

TEST_F(ServiceTest, AProbeThatArrivedShowsEachHopAndItsWait) {
  const auto started = service_.trace(kAdmin, "agent1.site.example");
  ASSERT_TRUE(started);
  const WallTime sealed = clock_.wall();
  store::Apply apply;
  apply.header.stream = agent_.stream(wire::Lane::state);
  apply.header.sequence = 1;
  apply.header.kind = wire::PayloadKind::probe;
  apply.header.sealed = sealed;
  apply.hash.fill(std::byte{1});
  using std::chrono::milliseconds;
  const std::vector<wire::Stamp> stamps{{agent_.self.id, sealed + milliseconds(20)},
                                        {gateway_.self.id, sealed + milliseconds(5)}};
  apply.message = std::make_shared<const Bytes>(wire::write_stamped(stamps, {}));
  apply.effects.probe = *from_hex(started->id);
  apply.arrived = sealed + milliseconds(5);
  ASSERT_TRUE(store_->apply(std::span(&apply, 1)));
  const auto trace = *service_.trace_result(started->id);
  EXPECT_TRUE(trace.arrived);
  EXPECT_EQ(trace.node, "agent1.site.example");
  ASSERT_THAT(trace.hops, SizeIs(2));
  EXPECT_EQ(trace.hops[0].from, "agent1.site.example");
  EXPECT_EQ(trace.hops[0].name, "gw1.site.example");
  EXPECT_EQ(trace.hops[0].wait_ms, 20);
  EXPECT_EQ(trace.hops[1].name, "ms.home.example");
  EXPECT_EQ(trace.hops[1].wait_ms, -15) << "the clocks differ";
  EXPECT_EQ(trace.total_ms, 5);
}

}  // namespace
}  // namespace postern
