#include "store/store_conformance.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace postern::store {

using enum Outcome;

TEST_P(StoreConformance, AppliesABatchOnceAndKnowsItAfterReopening) {
  EXPECT_EQ(apply({batch(stream(), 1, value("cpu", 0.5))}), std::vector{applied});
  const std::string once = state_of(*store_);
  reopen();
  EXPECT_EQ(apply({batch(stream(), 1, value("cpu", 0.7))}), std::vector{duplicate});
  EXPECT_EQ(state_of(*store_), once) << "a duplicate changes nothing";
  EXPECT_EQ(store_->applied(stream()).value(), (wire::Coverage{stream(), {interval(1, 1)}}));
  EXPECT_EQ(store_->applied(stream(wire::Lane::event)).value(),
            (wire::Coverage{stream(wire::Lane::event), {}}));
}

// All orders, each batch twice, one call a batch and all in one call: the state is the same (D4,
// B50).
TEST_P(StoreConformance, EveryOrderOfArrivalGivesTheSameState) {
  Effects with_entity = value("memory", 3);
  with_entity.values.push_back({"cpu", "1", "{}", 3, true, wall_from_ms(3)});
  with_entity.entities.push_back({"disk", "{\"n\":1}", "{\"size\":3}", wall_from_ms(3)});
  Effects older_entity = value("cpu", 1);
  older_entity.entities.push_back({"disk", "{\"n\":1}", "{\"size\":1}", wall_from_ms(9)});
  const std::vector<Apply> batches = {
      batch(stream(), 1, older_entity), batch(stream(), 2, value("cpu", 2)),
      batch(stream(wire::Lane::state), 1, gap(2, 4)), batch(stream(), 5, with_entity)};

  // Each order is a node of its own, so that they share one database.
  std::string expected;
  std::uint8_t nodes = 0;
  std::vector<std::size_t> order = {0, 1, 2, 3};
  do {
    for (const bool one_call : {false, true}) {
      const NodeId node = node_id(++nodes);
      std::vector<Apply> arriving;
      std::vector<Outcome> outcomes;
      for (std::size_t i = 0; i < order.size(); ++i) {
        arriving.push_back(batches[order[i]]);
        arriving.push_back(batches[order[i / 2]]);  // a duplicate: of this one or of an earlier one
        outcomes.insert(outcomes.end(), {applied, duplicate});
      }
      for (Apply& each : arriving) {
        each.header.stream.node = node;
        if (each.effects.gap) each.effects.gap->stream.node = node;
      }
      const std::string where = fmt::format("order {}, node {}", fmt::join(order, " "), nodes);
      if (one_call) {
        ASSERT_EQ(apply(arriving), outcomes) << where;
      } else {
        for (std::size_t i = 0; i < arriving.size(); ++i)
          ASSERT_EQ(apply({arriving[i]}), std::vector{outcomes[i]}) << where << ", arrival " << i;
      }
      if (expected.empty()) expected = state_of(*store_, node);
      ASSERT_EQ(state_of(*store_, node), expected) << where;
    }
  } while (std::ranges::next_permutation(order).found);
  reopen();
  EXPECT_EQ(nodes, 48);
  for (; nodes > 0; --nodes)
    EXPECT_EQ(state_of(*store_, node_id(nodes)), expected) << "reopened, node " << nodes;
  EXPECT_EQ(store_->settled_coverage(stream()).value().intervals, std::vector{interval(1, 5)});
  EXPECT_EQ(store_->latest(node_id(1)).value()[0],
            (LatestValue{"cpu", "1", "{}", 3, true, wall_from_ms(3)}));
}

TEST_P(StoreConformance, HigherEpochsWinWhateverTheirRandomPartOrSequence) {
  constexpr std::uint64_t kHuge = 1ull << 63;  // orders wrongly where numbers are signed
  apply({batch(stream(wire::Lane::metric, {2, 1}), 1, value("a", 2)),
         batch(stream(wire::Lane::metric, {1, 1}), 100, value("a", 1))});
  EXPECT_EQ(store_->latest(node_id(1)).value()[0].value, 2) << "ordinal before sequence";
  apply({batch(stream(wire::Lane::metric, {2, kHuge}), 1, value("a", 3)),
         batch(stream(wire::Lane::metric, {2, 1}), 2, value("a", 2))});
  EXPECT_EQ(store_->latest(node_id(1)).value()[0].value, 3) << "the random part breaks the tie";
  apply({batch(stream(wire::Lane::metric, {2, kHuge}), kHuge + 5, value("a", 4)),
         batch(stream(wire::Lane::metric, {2, kHuge}), 7, value("a", 3))});
  EXPECT_EQ(store_->latest(node_id(1)).value()[0].value, 4) << "the higher sequence";
  reopen();
  EXPECT_EQ(store_->applied(stream(wire::Lane::metric, {2, kHuge})).value().intervals,
            (std::vector{interval(1, 1), interval(7, 7), interval(kHuge + 5, kHuge + 5)}));
  EXPECT_EQ(store_->streams(node_id(1)).value().back().sealed, kHuge + 5);
}

TEST_P(StoreConformance, AnotherHashIsPutAsideAndChangesNothingElse) {
  apply({batch(stream(), 1), batch(stream(), 2, value("cpu", 2)), batch(stream(), 3)});
  Apply other = batch(stream(), 2, value("cpu", 9));
  other.hash = hash_of(2, 1);
  other.message = std::make_shared<const Bytes>(to_bytes("the other one"));
  Apply stray = batch(stream(), 4, value("cpu", 10));
  stray.header.previous = hash_of(3, 1);

  const std::string before = state_of(*store_);
  EXPECT_EQ(apply({other, stray}), (std::vector{equivocation, equivocation}));
  EXPECT_EQ(apply({other}), std::vector{equivocation});
  reopen();
  EXPECT_EQ(store_->equivocation_count().value(), 2u) << "the same one again is not counted again";
  const auto aside = store_->equivocations(10).value();
  ASSERT_EQ(aside.size(), 2u);
  EXPECT_EQ(aside[1].stream, stream());
  EXPECT_EQ(aside[1].sequence, 2u);
  EXPECT_EQ(aside[1].hash, other.hash);
  EXPECT_EQ(aside[1].disputed, 2u);
  EXPECT_EQ(aside[1].known, hash_of(2));
  EXPECT_EQ(aside[1].claimed, other.hash);
  EXPECT_EQ(*aside[1].message, *other.message);
  EXPECT_EQ(aside[0].disputed, 3u) << "it disagrees about its predecessor";
  EXPECT_EQ(state_of(*store_),
            before.substr(0, before.rfind("0 equivocations")) + "2 equivocations\n");
}

TEST_P(StoreConformance, KeepsTheNewestEquivocationsAndCountsAll) {
  apply({batch(stream(), 1)});
  std::vector<Apply> others;
  for (std::size_t i = 1; i <= kEquivocationsMax + 5; ++i) {
    others.push_back(batch(stream(), 1));
    others.back().hash[20] = static_cast<std::byte>(i & 0xff);
    others.back().hash[21] = static_cast<std::byte>(i >> 8);
  }
  apply(others);
  EXPECT_EQ(store_->equivocations(kEquivocationsMax * 2).value().size(), kEquivocationsMax);
  EXPECT_EQ(store_->equivocations(1).value()[0].hash, others.back().hash);
  EXPECT_EQ(store_->equivocation_count().value(), kEquivocationsMax + 5);
}

TEST_P(StoreConformance, GapsSettleAndWhatArrivesAnywayIsApplied) {
  EXPECT_EQ(apply({batch(stream(), 1), batch(stream(wire::Lane::state), 1, gap(2, 4)),
                   batch(stream(), 5)}),
            (std::vector{applied, applied, applied}));
  reopen();
  EXPECT_EQ(store_->applied(stream()).value().intervals,
            (std::vector{interval(1, 1), interval(5, 5)}));
  EXPECT_EQ(store_->settled_coverage(stream()).value().intervals, std::vector{interval(1, 5)});
  EXPECT_EQ(apply({batch(stream(), 3, value("cpu", 3))}), std::vector{applied});
  EXPECT_EQ(store_->latest(node_id(1)).value().size(), 1u);
  EXPECT_EQ(store_->streams(node_id(1)).value().back().gaps,
            (std::vector{interval(2, 2), interval(4, 4)}));
}

TEST_P(StoreConformance, AGapThatDisagreesIsNotTakenAndNeitherIsItsBatch) {
  apply({batch(stream(), 5)});
  Effects wrong = gap(2, 4);
  wrong.gap->at_last = hash_of(4, 1);
  EXPECT_EQ(apply({batch(stream(wire::Lane::state), 1, wrong)}), std::vector{equivocation});
  EXPECT_TRUE(store_->applied(stream(wire::Lane::state)).value().intervals.empty());
  EXPECT_EQ(store_->settled_coverage(stream()).value().intervals, std::vector{interval(5, 5)});
  EXPECT_EQ(store_->equivocations(1).value()[0].disputed, 4u);
}

TEST_P(StoreConformance, AtTheLimitOfHolesOnlyTheLowestIsTaken) {
  std::vector<Apply> batches;
  for (std::uint64_t n = 0; n < kIntervalsPerStreamMax; ++n)
    batches.push_back(batch(stream(), 3 + 2 * n));
  const auto outcomes = apply(batches);
  EXPECT_EQ(std::ranges::count(outcomes, applied),
            static_cast<std::ptrdiff_t>(kIntervalsPerStreamMax - 1));
  EXPECT_EQ(outcomes.back(), too_many_holes);
  EXPECT_EQ(apply({batch(stream(), 1)}), std::vector{applied});
  reopen();
  EXPECT_EQ(apply({batches.back()}), std::vector{too_many_holes});
  EXPECT_EQ(apply({batch(stream(), 2), batch(stream(), 4), batches.back()}),
            (std::vector{applied, applied, applied}));
}

TEST_P(StoreConformance, OneBadBatchLeavesNothingOfItsCall) {
  apply({batch(stream(), 1, value("cpu", 1))});
  const std::string before = state_of(*store_);
  Apply impossible = batch(stream(), 3);
  impossible.header.sequence = 0;
  EXPECT_EQ(
      store_->apply(std::vector{batch(stream(), 2, value("cpu", 2)), impossible}).error().code,
      Errc::invalid);
  Apply foreign = batch(stream(wire::Lane::state), 1, gap(2, 4));
  foreign.effects.gap->stream.node = node_id(9);
  EXPECT_EQ(store_->apply(std::vector{batch(stream(), 2), foreign}).error().code, Errc::invalid);
  EXPECT_EQ(state_of(*store_), before);
}

TEST_P(StoreConformance, AFailureInTheMiddleOfATransactionLeavesNothing) {
  apply({batch(stream(), 1, value("cpu", 1))});
  const std::string before = state_of(*store_);
  backend_->refuse_metric("boom");
  Effects late = value("cpu", 3);
  late.values.push_back({"boom", "1", "{}", 1, false, wall_from_ms(1)});
  const std::vector<Apply> batches = {batch(stream(), 2, value("cpu", 2)),
                                      batch(stream(wire::Lane::state), 1, gap(4, 5)),
                                      batch(stream(), 3, late)};
  EXPECT_FALSE(store_->apply(batches));
  EXPECT_EQ(state_of(*store_), before);
  reopen();
  EXPECT_EQ(state_of(*store_), before);
  EXPECT_EQ(apply({batches[0], batches[1]}), (std::vector{applied, applied})) << "and it goes on";
}

TEST_P(StoreConformance, WhatACallReturnedForSurvivesPowerLoss) {
  for (std::uint64_t n = 1; n <= 20; ++n) {
    apply({batch(stream(), n, value("cpu", static_cast<double>(n)))});
    if (n == 10) {
      EXPECT_TRUE(store_->tidy());
    }
  }
  const Node node =
      store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt).value();
  ASSERT_TRUE(store_->set_setting("group.name", "home"));
  const std::uint64_t number = store_->next_document_number(3).value();

  auto copy = backend_->open_after_power_loss();
  ASSERT_TRUE(copy) << copy.error().message;
  EXPECT_EQ(state_of(**copy), state_of(*store_));
  EXPECT_EQ((*copy)->nodes().value(), std::vector{node});
  EXPECT_EQ((*copy)->setting("group.name").value(), "home");
  EXPECT_EQ((*copy)->next_document_number(3).value(), number + 1);
}

TEST_P(StoreConformance, OddValuesComeBackAsTheyWere) {
  Effects effects = value(std::string("nul\0inside", 10), std::numeric_limits<double>::quiet_NaN());
  effects.values.push_back(
      {"", "", "not \xff UTF-8", std::numeric_limits<double>::infinity(), false, WallTime{}});
  Apply odd = batch(stream(), 1, effects);
  odd.message = std::make_shared<const Bytes>();
  EXPECT_EQ(apply({odd}), std::vector{applied});
  const auto values = store_->latest(node_id(1)).value();
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0], effects.values[1]);
  EXPECT_EQ(values[1].metric, effects.values[0].metric);
  EXPECT_TRUE(std::isnan(values[1].value));
  EXPECT_TRUE(store_->archive(node_id(1), 1).value()[0].message->empty());
}

TEST_P(StoreConformance, EntitiesOfANodeAreBoundedAndTheOldestGo) {
  Effects first, second;
  for (std::size_t i = 0; i < kEntitiesPerNodeMax; ++i)
    (i == 7 ? first : second).entities.push_back({"disk", std::to_string(i), "{}", WallTime{}});
  Effects third;
  third.entities.push_back({"disk", "one more", "{}", WallTime{}});
  apply({batch(stream(), 1, first), batch(stream(), 2, second), batch(stream(), 3, third)});
  const auto entities = store_->entities(node_id(1)).value();
  EXPECT_EQ(entities.size(), kEntitiesPerNodeMax);
  EXPECT_EQ(std::ranges::count(entities, "7", &Entity::id), 0);
  EXPECT_EQ(std::ranges::count(entities, "one more", &Entity::id), 1);
}

TEST_P(StoreConformance, TrimsTheArchiveByAgeAndBytesAndNeverWhatIsApplied) {
  std::vector<Apply> batches;
  for (std::uint64_t n = 1; n <= 10; ++n) {
    batches.push_back(batch(stream(), n, value("cpu", static_cast<double>(n))));
    batches.back().message = std::make_shared<const Bytes>(100);
  }
  apply(batches);
  EXPECT_EQ(store_->trim_archive(wall_from_ms(5000), 1'000'000, 3).value(), 3u)
      << "bounded per call";
  EXPECT_EQ(store_->trim_archive(wall_from_ms(5000), 1'000'000, 100).value(), 1u)
      << "1 to 4 are older";
  EXPECT_EQ(store_->trim_archive(wall_from_ms(0), 250, 100).value(), 4u);
  reopen();
  EXPECT_EQ(store_->trim_archive(wall_from_ms(0), 250, 100).value(), 0u);
  const auto left = store_->archive(node_id(1), 100).value();
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].sequence, 10u) << "newest first";
  EXPECT_EQ(left[1].sequence, 9u);
  EXPECT_EQ(store_->archive(node_id(1), 1).value().size(), 1u);
  EXPECT_EQ(store_->applied(stream()).value().intervals, std::vector{interval(1, 10)});
  EXPECT_EQ(apply({batches[0], batches[4]}), (std::vector{duplicate, duplicate}));
  EXPECT_EQ(store_->latest(node_id(1)).value()[0].value, 10);
}

// Once the archive has let a batch go its hash is known only at the edges of intervals.
TEST_P(StoreConformance, WithoutTheArchiveAnotherHashInsideCountsAsDuplicate) {
  apply({batch(stream(), 1), batch(stream(), 2), batch(stream(), 3)});
  Apply inside = batch(stream(), 2), edge = batch(stream(), 3);
  inside.hash = hash_of(2, 1);
  edge.hash = hash_of(3, 1);
  ASSERT_EQ(store_->trim_archive(wall_from_ms(100'000), 0, 100).value(), 3u);
  EXPECT_EQ(apply({inside, edge}), (std::vector{duplicate, equivocation}));
}

TEST_P(StoreConformance, NodesComeBackAsTheyWereSaved) {
  Node node = a_node("gw1.example", 2, Standing::approved);
  node.identity_key = to_bytes("key");
  node.role = Role::gateway;
  node.parents = {"server.example", "", "1:x,"};
  node.direction = Direction::parent_dials;
  node.reason = "because";
  node.decided_by = "uid 0";
  node.decided = wall_from_ms(1);
  node.approval = to_bytes("approval");
  node.first_seen = wall_from_ms(2);
  node.last_seen = wall_from_ms(3);
  node.connected = true;
  node.address = "192.0.2.1:5723";
  node.path = {"a", "b"};
  node.software = "postern 1";
  node.certificate_sha256 = "00ff";
  node.certificate_not_after = wall_from_ms(4);
  node.head_number = ~0ull;
  node.head = to_bytes("head");
  const auto saved =
      store_->save_node(node, AuditEntry{wall_from_ms(9), "uid 0", "approve", node.name, ""});
  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_NE(saved->row, 0);
  node.row = saved->row;
  reopen();
  EXPECT_EQ(*saved, node);
  EXPECT_EQ(store_->node(node_id(2)).value(), node);
  EXPECT_EQ(store_->node_by_name("gw1.example").value(), node);
  EXPECT_EQ(store_->nodes_named("gw1.example").value(), std::vector{node});
  node.parents.clear();
  node.id.reset();
  node.head_number.reset();
  EXPECT_EQ(store_->save_node(node, std::nullopt).value(), node);
  EXPECT_EQ(store_->nodes().value(), std::vector{node}) << "replaced, not added";
  EXPECT_EQ(store_->node(node_id(2)).value(), std::nullopt);
}

TEST_P(StoreConformance, NamesAndIdsCollideOnlyWhereTwoNodesCannotBothBeRight) {
  const Node live =
      store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt).value();
  const AuditEntry entry{wall_from_ms(1), "uid 0", "approve", "a.example", ""};
  EXPECT_EQ(store_->save_node(a_node("a.example", 2, Standing::approved), entry).error().code,
            Errc::invalid);
  EXPECT_EQ(store_->save_node(a_node("b.example", 1, Standing::pending), entry).error().code,
            Errc::invalid);
  EXPECT_TRUE(store_->audit_log(10).value().empty()) << "no entry for what did not happen";

  const auto clash = store_->save_node(a_node("a.example", 2, Standing::pending), std::nullopt);
  ASSERT_TRUE(clash) << "a clash is seen beside the live one: " << clash.error().message;
  EXPECT_EQ(store_->node_by_name("a.example").value(), live) << "approved first";
  Node promoted = *clash;
  promoted.standing = Standing::approved;
  EXPECT_EQ(store_->save_node(promoted, std::nullopt).error().code, Errc::invalid);
  Node removed = live;
  removed.standing = Standing::removed;
  ASSERT_TRUE(store_->save_node(removed, std::nullopt));
  EXPECT_TRUE(store_->save_node(promoted, std::nullopt)) << "the name is free again";
  EXPECT_TRUE(store_->save_node(a_node("c.example", 1, Standing::pending), std::nullopt))
      << "and so is the id";
  EXPECT_EQ(store_->node(node_id(1)).value()->name, "c.example") << "the newest row";
  EXPECT_EQ(store_->nodes_named("a.example").value().size(), 2u);
}

TEST_P(StoreConformance, ErasesANodeWithItsAuditEntry) {
  const Node node =
      store_->save_node(a_node("a.example", 1, Standing::pending), std::nullopt).value();
  const AuditEntry entry{wall_from_ms(7), "uid 0", "remove", "a.example", "detail"};
  ASSERT_TRUE(store_->erase_node(node.row, entry));
  EXPECT_TRUE(store_->nodes().value().empty());
  EXPECT_FALSE(store_->erase_node(node.row, entry));
  ASSERT_EQ(store_->audit_log(10).value().size(), 1u);
  EXPECT_EQ(store_->audit_log(10).value()[0].detail, "detail");
  Node gone = node;
  EXPECT_EQ(store_->save_node(gone, std::nullopt).error().code, Errc::invalid);
}

TEST_P(StoreConformance, WhatWasSeenOnlyRises) {
  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  Store::Seen seen;
  seen.id = node_id(1);
  seen.time = wall_from_ms(100);
  seen.connected = true;
  seen.address = "192.0.2.7";
  seen.path = {"gw1", "gw2"};
  seen.head_number = 5;
  seen.head = to_bytes("five");
  seen.sealed = {{stream(), 9}};
  Store::Seen older = seen, stranger = seen;
  older.time = wall_from_ms(50);
  older.connected = false;
  older.address.reset();
  older.path.reset();
  older.head_number.reset();
  older.sealed = {{stream(), 8}};
  stranger.id = node_id(8);
  stranger.sealed.clear();
  ASSERT_TRUE(store_->seen(std::vector{stranger, seen, older}));
  reopen();
  const Node node = store_->node(node_id(1)).value().value();
  EXPECT_EQ(node.first_seen, wall_from_ms(100));
  EXPECT_EQ(node.last_seen, wall_from_ms(100));
  EXPECT_FALSE(node.connected);
  EXPECT_EQ(node.address, "192.0.2.7") << "what is not said stays";
  EXPECT_EQ(node.path, (std::vector<std::string>{"gw1", "gw2"}));
  EXPECT_EQ(node.head_number, 5u);
  EXPECT_EQ(node.head, to_bytes("five"));
  EXPECT_EQ(store_->streams(node_id(1)).value()[0].sealed, 9u);
  apply({batch(stream(), 3)});
  EXPECT_EQ(store_->streams(node_id(1)).value()[0].sealed, 9u);
  apply({batch(stream(), 12)});
  EXPECT_EQ(store_->streams(node_id(1)).value()[0].sealed, 12u);
  EXPECT_EQ(store_->nodes().value().size(), 1u) << "a stranger is skipped";
}

TEST_P(StoreConformance, AHeadThatComesAgainChangesNothing) {
  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  Store::Seen seen;
  seen.id = node_id(1);
  seen.time = wall_from_ms(100);
  seen.path = {"gw1"};
  seen.head_number = 5;
  seen.head = to_bytes("five");
  ASSERT_EQ(store_->seen(std::span(&seen, 1)).value(), 1u);
  const Node before = store_->node(node_id(1)).value().value();
  Store::Seen again = seen;
  again.time = wall_from_ms(900);
  again.connected = true;
  again.path = {"gw2"};
  again.sealed = {{stream(), 9}};
  EXPECT_EQ(store_->seen(std::span(&again, 1)).value(), 0u) << "counted as skipped";
  EXPECT_EQ(store_->node(node_id(1)).value(), before);
  EXPECT_TRUE(store_->streams(node_id(1)).value().empty());
  again.head_number = 6;
  EXPECT_EQ(store_->seen(std::span(&again, 1)).value(), 1u);
  EXPECT_EQ(store_->node(node_id(1)).value()->last_seen, wall_from_ms(900));
}

TEST_P(StoreConformance, WhatSomebodyElseSaysDoesNotMoveLastSeenAndMayBeTiedToThePath) {
  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  Store::Seen seen;
  seen.id = node_id(1);
  seen.address = "192.0.2.7";
  ASSERT_TRUE(store_->seen(std::span(&seen, 1)));
  EXPECT_EQ(store_->node(node_id(1)).value()->first_seen, std::nullopt);
  seen.time = wall_from_ms(100);
  seen.connected = true;
  seen.path = {"gw1", "gw2"};
  ASSERT_TRUE(store_->seen(std::span(&seen, 1)));

  Store::Seen gone;
  gone.id = node_id(1);
  gone.connected = false;
  gone.through = "gw3";
  EXPECT_EQ(store_->seen(std::span(&gone, 1)).value(), 0u);
  EXPECT_TRUE(store_->node(node_id(1)).value()->connected) << "not through that gateway";
  gone.through = "gw2";
  EXPECT_EQ(store_->seen(std::span(&gone, 1)).value(), 1u);
  const Node node = store_->node(node_id(1)).value().value();
  EXPECT_FALSE(node.connected);
  EXPECT_EQ(node.last_seen, wall_from_ms(100));
  EXPECT_EQ(node.address, "192.0.2.7");
}

TEST_P(StoreConformance, EpochsOfANodeAreBoundedAndThoseThatAreKnownGoOn) {
  std::vector<Apply> batches;
  for (std::uint32_t n = 1; n <= kEpochsPerNodeMax; ++n)
    batches.push_back(batch(stream(wire::Lane::metric, {n, 7}), 1));
  const auto outcomes = apply(batches);
  EXPECT_EQ(std::ranges::count(outcomes, applied), static_cast<std::ptrdiff_t>(kEpochsPerNodeMax));
  const wire::Epoch one_more{kEpochsPerNodeMax + 1, 7};
  Effects of_one_more = gap(2, 4);
  of_one_more.gap->stream.epoch = one_more;
  EXPECT_EQ(apply({batch(stream(wire::Lane::metric, one_more), 1),
                   batch(stream(wire::Lane::state), 1, of_one_more),
                   batch(stream(wire::Lane::state), 1), batch(stream(), 2)}),
            (std::vector{too_many_epochs, too_many_epochs, applied, applied}));

  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  Store::Seen seen;
  seen.id = node_id(1);
  seen.sealed = {{stream(wire::Lane::metric, one_more), 9}, {stream(), 9}};
  ASSERT_TRUE(store_->seen(std::span(&seen, 1)));
  const auto rows = store_->streams(node_id(1)).value();
  EXPECT_EQ(rows.size(), kEpochsPerNodeMax + 1) << "and the state lane of the first";
  EXPECT_EQ(std::ranges::count(rows, 9u, &StreamRow::sealed), 1);
  Apply of_another = batch(stream(wire::Lane::metric, one_more), 1);
  of_another.header.stream.node = node_id(2);
  EXPECT_EQ(apply({of_another}), std::vector{applied}) << "each node has its own";
}

TEST_P(StoreConformance, ANodeAndItsDocumentsAreSavedTogetherOrNotAtAll) {
  ASSERT_TRUE(store_->save_document({2, std::nullopt, 1, 5, to_bytes("deny list")}));
  const AuditEntry entry{wall_from_ms(7), "uid 0", "remove", "a.example", ""};
  const std::vector<StoredDocument> good = {{3, node_id(1), 1, 1, to_bytes("approval")},
                                            {2, std::nullopt, 1, 6, to_bytes("next deny list")}};
  std::vector<StoredDocument> bad = good;
  bad[1] = {2, std::nullopt, 1, 5, to_bytes("another deny list")};
  EXPECT_FALSE(store_->save_node(a_node("a.example", 1, Standing::approved), entry, bad));
  reopen();
  EXPECT_TRUE(store_->nodes().value().empty());
  EXPECT_TRUE(store_->audit_log(10).value().empty());
  EXPECT_TRUE(store_->documents(3).value().empty());
  EXPECT_EQ(store_->next_document_number(3).value(), 1u);

  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), entry, good));
  reopen();
  EXPECT_EQ(store_->nodes().value().size(), 1u);
  EXPECT_EQ(store_->audit_log(10).value().size(), 1u);
  EXPECT_EQ(store_->documents(3).value()[0].document, good[0].document);
  EXPECT_EQ(store_->documents(2).value()[0].document, good[1].document);
}

TEST_P(StoreConformance, DocumentNumbersAreNeverHandedOutTwice) {
  EXPECT_EQ(store_->next_document_number(1).value(), 1u);
  EXPECT_EQ(store_->next_document_number(1).value(), 2u);
  EXPECT_EQ(store_->next_document_number(2).value(), 1u) << "per type";
  reopen();
  EXPECT_EQ(store_->next_document_number(1).value(), 3u);
  ASSERT_TRUE(store_->save_document({1, std::nullopt, 1, 40, to_bytes("adopted")}));
  EXPECT_EQ(store_->next_document_number(1).value(), 41u)
      << "a higher one that is known is not reused (D10)";
}

TEST_P(StoreConformance, TheNewestDocumentOfEachAudienceStays) {
  const StoredDocument all{1, std::nullopt, 1, 300, to_bytes("for all")};
  const StoredDocument one{1, node_id(4), 2, 1, to_bytes("of a higher generation")};
  ASSERT_TRUE(store_->save_document({1, std::nullopt, 1, 2, to_bytes("old")}));
  ASSERT_TRUE(store_->save_document(all));
  ASSERT_TRUE(store_->save_document({1, node_id(4), 1, 999, to_bytes("old")}));
  ASSERT_TRUE(store_->save_document(one));
  ASSERT_TRUE(store_->save_document({1, node_id(4), 1, 1000, to_bytes("never rolled back")}));
  ASSERT_TRUE(store_->save_document({2, std::nullopt, 1, 1, to_bytes("another type")}));
  EXPECT_TRUE(store_->save_document(all)) << "the same again does no harm";
  EXPECT_EQ(store_->save_document({1, std::nullopt, 1, 300, to_bytes("forged")}).error().code,
            Errc::invalid);
  reopen();
  const auto documents = store_->documents(1).value();
  ASSERT_EQ(documents.size(), 2u);
  for (const auto& [found, wanted] : {std::pair{documents[0], all}, std::pair{documents[1], one}}) {
    EXPECT_EQ(found.audience, wanted.audience);
    EXPECT_EQ(found.generation, wanted.generation);
    EXPECT_EQ(found.number, wanted.number);
    EXPECT_EQ(found.document, wanted.document);
  }
}

TEST_P(StoreConformance, SettingsGenerationAndAuditLast) {
  EXPECT_EQ(store_->generation().value(), 1u);
  EXPECT_EQ(store_->setting("group.name").value(), std::nullopt);
  ASSERT_TRUE(store_->set_setting("group.name", "home"));
  ASSERT_TRUE(store_->set_setting("group.name", "away"));
  ASSERT_TRUE(store_->audit({wall_from_ms(1), "a", "b", "c", "first"}));
  ASSERT_TRUE(store_->audit({wall_from_ms(2), "a", "b", "c", "second"}));
  reopen();
  EXPECT_EQ(store_->setting("group.name").value(), "away");
  EXPECT_EQ(store_->generation().value(), 1u);
  ASSERT_EQ(store_->audit_log(10).value().size(), 2u);
  EXPECT_EQ(store_->audit_log(1).value()[0].detail, "second") << "newest first";
}

}  // namespace postern::store
