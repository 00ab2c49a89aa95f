#include "server/ingest.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/payload.h"
#include "node/test_group.h"

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

Measurement gauge(std::string name, std::variant<std::int64_t, double> value) {
  Measurement measurement;
  measurement.name = std::move(name);
  measurement.unit = "1";
  measurement.value = value;
  measurement.time = kWall;
  return measurement;
}

class IngestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    member(agent_);
    member(gateway_);
    ASSERT_TRUE(registry_.load());
  }
  void member(const TestNode& who) {
    store::Node node;
    node.name = who.self.name;
    node.id = who.self.id;
    node.identity_key = to_bytes(who.self.identity.public_key().spki());
    node.role = static_cast<store::Role>(who.self.role);
    node.standing = store::Standing::approved;
    ASSERT_TRUE(store_->save_node(node, std::nullopt));
  }
  Outbox::Sealed metrics(std::vector<Measurement> measurements) {
    return outbox_.seal(Lane::metric, wire::PayloadKind::metrics, *encode_metrics({}, measurements),
                        kWall);
  }
  Outbox::Sealed metric(double value) { return metrics({gauge("m", value)}); }
  Outbox::Sealed broken(Lane lane = Lane::metric) {
    return outbox_.seal(lane, wire::PayloadKind::metrics, payload_of("no OTLP"), kWall);
  }
  Outbox::Sealed gap_of(const wire::StreamKey& stream) {
    wire::GapRecord gap;
    gap.stream = stream;
    gap.first = 1;
    gap.last = 2;
    gap.at_last = sha256(as_bytes("x"));
    return sealed_as(wire::PayloadKind::gap, encode(gap));
  }
  /// As an origin seals it: uncompressed, in the state lane.
  Outbox::Sealed sealed_as(wire::PayloadKind kind, const Bytes& payload, Lane lane = Lane::state,
                           wire::Epoch epoch = {1, 7}) {
    wire::BatchHeader header;
    header.stream = {agent_.self.id, epoch, lane};
    header.sequence = 1;
    header.kind = kind;
    header.records = 1;
    header.payload_bytes = header.raw_bytes = static_cast<std::uint32_t>(payload.size());
    header.payload_hash = sha256(payload);
    const Bytes signed_part = encode_signed_part(header);
    Writer out;
    out.u8(0).bytes(signed_part);
    out.bytes(agent_.self.identity.sign(wire::kBatchContext, signed_part)).bytes(payload);
    return {header.stream, 1, sha256(signed_part), std::make_shared<const Bytes>(out.take())};
  }
  /// By way of the gateway, as the server stamps it.
  SharedBytes arriving(const SharedBytes& message) {
    auto once = wire::add_stamp(*message, {agent_.self.id, kWall});
    return std::make_shared<const Bytes>(*wire::add_stamp(*once, {gateway_.self.id, kWall}));
  }
  Ingested take(std::vector<SharedBytes> messages) {
    std::vector<Arrived> arrived;
    for (const SharedBytes& message : messages) arrived.push_back({1, arriving(message), kWall});
    return ingest_.take(std::move(arrived));
  }
  std::vector<Kind> kinds(const Ingested& ingested) {
    std::vector<Kind> kinds;
    for (const Verdict& verdict : ingested.verdicts) kinds.push_back(verdict.kind);
    return kinds;
  }
  static SharedBytes altered(const SharedBytes& message, std::size_t at) {
    Bytes bytes = *message;
    bytes[at] ^= std::byte{1};
    return std::make_shared<const Bytes>(std::move(bytes));
  }
  double latest() {
    const auto values = *store_->latest(agent_.self.id);
    return values.size() == 1 ? values[0].value : -1;
  }

  TestGroup group_;
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  TestNode gateway_ = group_.node(Role::gateway, "gw1.site.example");
  TestNode stranger_ = group_.node(Role::agent, "agent9.site.example");
  LogLines lines_;
  FakeClock clock_;
  std::unique_ptr<store::Store> store_ = std::move(*store::open_sqlite(":memory:"));
  GroupFolder::Delegate delegate_{PrivateKey::generate(), 1};
  Registry registry_{*store_,       lines_.log, clock_,
                     gateway_.self, delegate_,  ServerSettings::AgentPolicy::pending};
  Ingest ingest_{*store_, registry_, lines_.log};
  Outbox outbox_{agent_.self.identity, {1, 7}};
};

TEST_F(IngestTest, WhatIsAppliedIsSettledAndItsValuesAreExact) {
  Measurement labelled = gauge("system.memory.usage", std::int64_t{8'589'934'592});
  labelled.attributes = {{"state", std::string("used")}, {"cpu", std::int64_t{3}}};
  const auto sealed = metrics({labelled, gauge("system.cpu.utilization", 0.1)});
  const auto result = take({sealed.message});
  EXPECT_EQ(kinds(result), std::vector{Kind::applied});
  ASSERT_EQ(result.coverages.size(), 1u);
  EXPECT_EQ(result.coverages[0].intervals, (std::vector<wire::Interval>{{1, 1, sealed.hash}}));
  const auto values = *store_->latest(agent_.self.id);
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0].metric, "system.cpu.utilization");
  EXPECT_EQ(values[0].value, 0.1);
  EXPECT_FALSE(values[0].integer);
  EXPECT_EQ(values[1].value, 8'589'934'592.0);
  EXPECT_TRUE(values[1].integer);
  EXPECT_EQ(values[1].attributes, R"({"cpu":3,"state":"used"})");
  EXPECT_EQ(values[1].time, kWall);
}

TEST_F(IngestTest, AnAlteredBatchIsACopyRefusedThatNamesItsWay) {
  const auto sealed = metric(1);
  const std::size_t payload = sealed.message->size() - 1, sealed_at = 1 + 96, signature = 1 + 160;
  for (const std::size_t at : {payload, sealed_at, signature}) {
    const auto result = take({altered(sealed.message, at)});
    ASSERT_EQ(kinds(result), std::vector{Kind::copy_refused}) << at;
    EXPECT_NE(result.verdicts[0].words.find("agent1.site.example -> gw1.site.example"),
              std::string::npos)
        << result.verdicts[0].words;
  }
  EXPECT_TRUE(store_->latest(agent_.self.id)->empty());
  EXPECT_EQ(kinds(take({sealed.message})), std::vector{Kind::applied});
}

TEST_F(IngestTest, AStrangersBatchIsACopyRefused) {
  Outbox outbox(stranger_.self.identity, {1, 7});
  const auto sealed = outbox.seal(Lane::metric, wire::PayloadKind::metrics,
                                  *encode_metrics({}, std::vector{gauge("m", 1.0)}), kWall);
  EXPECT_EQ(kinds(take({sealed.message})), std::vector{Kind::copy_refused});
}

TEST_F(IngestTest, AnUndecodablePayloadIsKeptSettledAuditedOnceAndBlocksNobody) {
  const auto first = metric(1), poison = broken(), third = metric(3);
  const auto result = take({first.message, poison.message, third.message});
  EXPECT_EQ(kinds(result), (std::vector{Kind::applied, Kind::refused_for_good, Kind::applied}));
  ASSERT_EQ(result.coverages.size(), 1u);
  EXPECT_EQ(result.coverages[0].intervals, (std::vector<wire::Interval>{{1, 3, third.hash}}));
  EXPECT_EQ(latest(), 3);
  EXPECT_EQ(store_->archive(agent_.self.id, 10)->size(), 3u);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(kinds(take({poison.message})), std::vector{Kind::refused_for_good});
  const auto audit = *store_->audit_log(100);
  EXPECT_EQ(std::count_if(audit.begin(), audit.end(),
                          [](const auto& e) { return e.what == "batch refused for good"; }),
            1);
}

TEST_F(IngestTest, ADuplicateHasItsEffectOnce) {
  const auto one = metric(1), two = metric(2);
  EXPECT_EQ(kinds(take({one.message, one.message})), (std::vector{Kind::applied, Kind::duplicate}));
  EXPECT_EQ(kinds(take({two.message})), std::vector{Kind::applied});
  const auto again = take({one.message});
  EXPECT_EQ(kinds(again), std::vector{Kind::duplicate});
  EXPECT_EQ(again.coverages.size(), 1u);  // answered with what is settled
  EXPECT_EQ(latest(), 2);
}

TEST_F(IngestTest, WhatWasSealedAgainIsSettledAndHasItsEffectOnce) {  // batch.md#B28
  const auto first = metric(1);
  const auto stamped = wire::read_stamped(*first.message);
  Outbox later(agent_.self.identity, {2, 8}), clone(agent_.self.identity, {2, 9});
  const auto batch = *wire::read_batch(stamped->body);
  const auto again = later.seal_again(batch, kWall), cloned = clone.seal_again(batch, kWall);
  const auto result = take({again.message, cloned.message, first.message});
  EXPECT_EQ(kinds(result), (std::vector{Kind::applied, Kind::applied, Kind::applied}));
  EXPECT_EQ(result.coverages.size(), 3u);
  EXPECT_EQ(latest(), 1);
  EXPECT_EQ(kinds(take({metric(2).message})), std::vector{Kind::applied});
  EXPECT_EQ(latest(), 2) << "what is sealed again stays as old as it was";
}

TEST_F(IngestTest, WhatIsWrappedMustBeTheNodesOwnAndWhole) {  // batch.md#B28
  const auto first = metric(1);
  const Bytes whole = to_bytes(wire::read_stamped(*first.message)->body);
  Bytes altered = whole, anothers = whole;
  altered.back() ^= std::byte{1};
  anothers[8] ^= std::byte{1};
  std::uint64_t epoch = 100;
  for (const Bytes& payload : {altered, anothers, Bytes(whole.begin(), whole.end() - 1), Bytes()}) {
    const auto sealed =
        sealed_as(wire::PayloadKind::sealed_again, payload, Lane::metric, {3, ++epoch});
    EXPECT_EQ(kinds(take({sealed.message})), std::vector{Kind::refused_for_good}) << epoch;
  }
  const auto other_lane =
      sealed_as(wire::PayloadKind::sealed_again, whole, Lane::state, {3, ++epoch});
  EXPECT_EQ(kinds(take({other_lane.message})), std::vector{Kind::refused_for_good});
  EXPECT_EQ(latest(), -1);
}

TEST_F(IngestTest, TheOrderOfArrivalDoesNotMatter) {
  std::vector<Outbox::Sealed> sealed{metric(1), metric(2), metric(3), metric(4)};
  take({sealed[3].message});
  EXPECT_EQ(latest(), 4);
  take({sealed[1].message, sealed[0].message});
  EXPECT_EQ(latest(), 4);
  const auto last = take({sealed[2].message});
  EXPECT_EQ(last.coverages[0].intervals, (std::vector<wire::Interval>{{1, 4, sealed[3].hash}}));
  EXPECT_EQ(latest(), 4);
}

TEST_F(IngestTest, TwoBatchesOfOneNumberAreNeverDuplicates) {
  const auto mine = metric(1);
  Outbox clone(agent_.self.identity, {1, 7});
  const auto other = clone.seal(Lane::metric, wire::PayloadKind::metrics,
                                *encode_metrics({}, std::vector{gauge("m", 9.0)}), kWall);
  EXPECT_EQ(kinds(take({mine.message})), std::vector{Kind::applied});
  const auto result = take({other.message});
  EXPECT_EQ(kinds(result), std::vector{Kind::not_yet});
  EXPECT_EQ(*store_->equivocation_count(), 1u);
  EXPECT_EQ(latest(), 1);
}

TEST_F(IngestTest, AGapInAnothersStreamHasNoEffectAndBlocksNobody) {  // batch.md#B22
  const wire::StreamKey foreign = gateway_.stream(Lane::metric);
  const auto gap = gap_of(foreign), innocent = metric(5);
  const auto result = take({gap.message, innocent.message});
  EXPECT_EQ(kinds(result), (std::vector{Kind::refused_for_good, Kind::applied}));
  EXPECT_TRUE(store_->settled_coverage(foreign)->intervals.empty());
  EXPECT_EQ(latest(), 5);
}

TEST_F(IngestTest, AGapInItsOwnStreamSettlesIt) {
  const auto own = outbox_.stream(Lane::metric);
  EXPECT_EQ(kinds(take({gap_of(own).message})), std::vector{Kind::applied});
  const auto settled = *store_->settled_coverage(own);
  ASSERT_EQ(settled.intervals.size(), 1u);
  EXPECT_EQ(settled.intervals[0].last, 2u);
}

TEST_F(IngestTest, ARemovedNodesBatchIsNotApplied) {
  ASSERT_TRUE(registry_.remove(**store_->node(agent_.self.id), "admin"));
  EXPECT_EQ(kinds(take({metric(1).message})), std::vector{Kind::refused_for_good});
  EXPECT_TRUE(store_->latest(agent_.self.id)->empty());
}

TEST_F(IngestTest, OurOwnBatchThatCouldNotBeTakenComesBackToUs) {
  Outbox outbox(stranger_.self.identity, {1, 7});
  const auto sealed = outbox.seal(Lane::metric, wire::PayloadKind::metrics,
                                  *encode_metrics({}, std::vector{gauge("m", 1.0)}), kWall);
  const auto result = ingest_.take({{0, sealed.message, kWall}});
  ASSERT_EQ(kinds(result), std::vector{Kind::not_yet});
  EXPECT_EQ(result.verdicts[0].own, sealed.message);
}

TEST_F(IngestTest, AProbeIsFoundByItsIdWithTheHopsItPassed) {
  const Bytes id(wire::kProbeIdBytes, std::byte{9});
  EXPECT_EQ(kinds(take({sealed_as(wire::PayloadKind::probe, id).message})),
            std::vector{Kind::applied});
  const auto trace = *store_->trace(id);
  ASSERT_TRUE(trace);
  ASSERT_EQ(trace->stamps.size(), 2u);
  EXPECT_EQ(trace->stamps[1].from, gateway_.self.id);
}

TEST_F(IngestTest, AProbeOfAnotherSizeOrLaneIsRefusedForGood) {
  const Bytes id(wire::kProbeIdBytes, std::byte{9});
  const Bytes longer(wire::kProbeIdBytes + 1);
  EXPECT_EQ(kinds(take({sealed_as(wire::PayloadKind::probe, longer).message,
                        sealed_as(wire::PayloadKind::probe, id, Lane::event).message})),
            (std::vector{Kind::refused_for_good, Kind::refused_for_good}));
  EXPECT_EQ(*store_->trace(id), std::nullopt);
  EXPECT_EQ(store_->losses({})->size(), 2u) << "in the ledger";
}

TEST_F(IngestTest, AReleaseTellsWhereTheOnlyCopyIsAndOnlyItsOwnNodeMaySaySo) {
  wire::ReleaseRecord release;
  release.stream = outbox_.stream(Lane::metric);
  release.first = 1;
  release.last = 2;
  release.parent = gateway_.self.id;
  const Bytes own = encode(release);
  release.stream.node = stranger_.self.id;
  const Bytes foreign = encode(release);
  EXPECT_EQ(kinds(take({sealed_as(wire::PayloadKind::release, foreign, Lane::event).message,
                        sealed_as(wire::PayloadKind::release, own, Lane::metric).message,
                        sealed_as(wire::PayloadKind::release, own).message})),
            (std::vector{Kind::refused_for_good, Kind::refused_for_good, Kind::applied}));
  const auto ledger = *store_->losses({});
  const auto released = std::ranges::find(ledger, store::Loss::Kind::released, &store::Loss::kind);
  ASSERT_NE(released, ledger.end());
  EXPECT_EQ(released->where, gateway_.self.id.hex());
}

}  // namespace
}  // namespace postern
