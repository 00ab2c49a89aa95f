// What becomes of batches that nobody wants (rule D11).

#include <gtest/gtest.h>

#include "model/payload.h"
#include "node/test_group.h"
#include "server/ingest.h"

namespace postern {
namespace {

using node::Outbox;
using node::Role;
using testing_support::kWall;
using testing_support::LogLines;
using testing_support::payload_of;
using testing_support::TestGroup;
using testing_support::TestNode;
using wire::Lane;
using Kind = Verdict::Kind;

class RefusedBatches : public testing::Test {
 protected:
  RefusedBatches() {
    store::Node node;
    node.name = agent_.self.name;
    node.id = agent_.self.id;
    node.identity_key = to_bytes(agent_.self.identity.public_key().spki());
    node.standing = store::Standing::approved;
    EXPECT_TRUE(store_->save_node(node, std::nullopt));
    EXPECT_TRUE(registry_.load());
  }
  Ingested take(const SharedBytes& message, WallTime at = kWall, std::uint64_t channel = 1) {
    const Bytes stamped = *wire::add_stamp(*message, {agent_.self.id, at});
    return ingest_.take({{channel, std::make_shared<const Bytes>(stamped), at}});
  }
  SharedBytes broken() {
    return outbox_.seal(Lane::metric, wire::PayloadKind::metrics, payload_of("no OTLP"), kWall)
        .message;
  }
  SharedBytes metric() {
    Measurement measurement;
    measurement.name = "m";
    measurement.value = 1.0;
    measurement.time = kWall;
    return outbox_
        .seal(Lane::metric, wire::PayloadKind::metrics,
              *encode_metrics({}, std::vector{measurement}), kWall)
        .message;
  }
  std::ptrdiff_t audited() {
    const auto audit = *store_->audit_log(1000);
    return std::ranges::count(audit, "batch refused for good", &store::AuditEntry::what);
  }

  TestGroup group_;
  TestNode server_ = group_.node(Role::server, "ms.home.example");
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  LogLines lines_;
  FakeClock clock_;
  std::unique_ptr<store::Store> store_ = std::move(*store::open_sqlite(":memory:"));
  GroupFolder::Delegate delegate_{PrivateKey::generate(), 1};
  Registry registry_{*store_,      lines_.log, clock_,
                     server_.self, delegate_,  ServerSettings::AgentPolicy::pending};
  Ingest ingest_{*store_, registry_, lines_.log};
  Outbox outbox_{agent_.self.identity, {1, 7}};
};

TEST_F(RefusedBatches, OfARemovedNodeAreKeptRawSettledWithoutEffectAndAuditedOnce) {
  ASSERT_TRUE(registry_.remove(**store_->node(agent_.self.id), "admin"));
  const SharedBytes first = metric(), second = metric();
  for (const SharedBytes& message : {first, second, first}) {
    const Ingested result = take(message, kWall + std::chrono::hours(1));
    EXPECT_EQ(result.verdicts[0].kind, Kind::refused_for_good);
    EXPECT_NE(result.verdicts[0].words.find("was removed"), std::string::npos);
    ASSERT_EQ(result.coverages.size(), 1u);
    EXPECT_FALSE(result.coverages[0].intervals.empty()) << "settled: nobody sends it again";
  }
  EXPECT_EQ(store_->archive(agent_.self.id, 10)->size(), 2u);
  EXPECT_TRUE(store_->latest(agent_.self.id)->empty());
  EXPECT_EQ(audited(), 1);
  const auto ledger = *store_->losses({});
  ASSERT_EQ(ledger.size(), 2u);
  EXPECT_EQ(ledger[0].kind, store::Loss::Kind::refused);
  EXPECT_EQ(ledger[0].records, 1u);
  EXPECT_NE(ledger[0].reason.find("was removed"), std::string::npos);
}

class RevokedBatches : public RefusedBatches {
 protected:
  void revoke(store::Revocation::Reason reason) {
    store::Node node = **store_->node(agent_.self.id);
    node.certificate = agent_.mark();
    ASSERT_TRUE(registry_.revoke(node, reason, "admin"));
  }
};

// Rule T3. What the store has stays; what still lies in a spool somewhere may be anybody's.
TEST_F(RevokedBatches, OfACompromisedNodeAreKeptAsideUnlessTheyAreAppliedAlready) {
  const SharedBytes before = metric(), late = metric();
  EXPECT_EQ(take(before).verdicts[0].kind, Kind::applied);
  revoke(store::Revocation::Reason::compromised);
  const Ingested result = take(late, kWall + std::chrono::hours(1));
  EXPECT_EQ(result.verdicts[0].kind, Kind::refused_for_good);
  EXPECT_NE(result.verdicts[0].words.find("compromised"), std::string::npos);
  ASSERT_EQ(result.coverages.size(), 1u);
  EXPECT_EQ(result.coverages[0].intervals.back().last, 2u) << "settled: nobody sends it again";
  take(before);
  const auto ledger = *store_->losses({});
  ASSERT_EQ(ledger.size(), 1u) << "the applied one is none";
  EXPECT_EQ(ledger[0].kind, store::Loss::Kind::refused);
  EXPECT_EQ(ledger[0].first, 2u);
  EXPECT_NE(ledger[0].reason.find("compromised"), std::string::npos);
  EXPECT_EQ(store_->archive(agent_.self.id, 10)->size(), 2u) << "kept raw";
  EXPECT_EQ(audited(), 1);
}

TEST_F(RevokedBatches, OfARetiredNodeAreApplied) {
  revoke(store::Revocation::Reason::retired);
  EXPECT_EQ(take(metric()).verdicts[0].kind, Kind::applied);
  EXPECT_TRUE(store_->losses({})->empty());
}

TEST_F(RefusedBatches, OfARemovedNodeMustBeSignedByIt) {
  ASSERT_TRUE(registry_.remove(**store_->node(agent_.self.id), "admin"));
  Bytes altered = *metric();
  altered.back() ^= std::byte{1};
  EXPECT_EQ(take(std::make_shared<const Bytes>(altered)).verdicts[0].kind, Kind::copy_refused);
  EXPECT_TRUE(store_->archive(agent_.self.id, 10)->empty());
}

TEST_F(RefusedBatches, OfAStrangerAreNotKeptByAnyHopAndNotSettled) {
  const TestNode stranger = group_.node(Role::agent, "agent9.site.example");
  Outbox outbox(stranger.self.identity, {1, 7});
  const auto sealed = outbox.seal(Lane::metric, wire::PayloadKind::metrics, payload_of("x"), kWall);
  const Ingested result = take(sealed.message);
  EXPECT_EQ(result.verdicts[0].kind, Kind::copy_refused);
  EXPECT_TRUE(result.coverages.empty());
  EXPECT_EQ(take(sealed.message, kWall, 0).verdicts[0].kind, Kind::not_yet)
      << "of our own there is no other copy";
}

TEST_F(RefusedBatches, UndecodableOnesAreAnsweredEachTimeAndAuditedAtMostOnceASecond) {
  const SharedBytes first = broken();
  for (int i = 0; i < 3; ++i) {
    const Ingested result = take(first);
    EXPECT_EQ(result.verdicts[0].kind, Kind::refused_for_good);
    EXPECT_EQ(result.coverages.size(), 1u);
  }
  EXPECT_EQ(audited(), 1) << "a duplicate is none";
  take(broken(), kWall + std::chrono::milliseconds(999));
  EXPECT_EQ(audited(), 1);
  take(broken(), kWall + std::chrono::seconds(1));
  EXPECT_EQ(audited(), 2);
  EXPECT_EQ(store_->archive(agent_.self.id, 10)->size(), 3u);
}

TEST_F(RefusedBatches, OfOneEpochTooManyAreNotYetWithWordsThatAreLoggedOnce) {
  for (std::uint32_t n = 1; n <= store::kEpochsPerNodeMax; ++n) {
    store::Apply apply;
    apply.header.stream = {agent_.self.id, {n, 1}, Lane::state};
    apply.header.sequence = 1;
    apply.message = std::make_shared<const Bytes>();
    ASSERT_TRUE(store_->apply(std::vector{apply}));
  }
  const SharedBytes one_more = metric();
  for (int i = 0; i < 2; ++i) {
    const Ingested result = take(one_more);
    EXPECT_EQ(result.verdicts[0].kind, Kind::not_yet);
    EXPECT_TRUE(result.coverages.empty());
  }
  EXPECT_EQ(lines_.count("1024 epochs"), 1u);
}

}  // namespace
}  // namespace postern
