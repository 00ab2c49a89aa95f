#include "store/store_conformance.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace postern::store {

using enum Outcome;

TEST_P(StoreConformance, GivesBackABatchByItsNumber) {
  ASSERT_TRUE(store_->apply(std::vector{batch(stream(), 1), batch(stream(), 2)}));
  const auto found = store_->archived(stream(), 2);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ(*(*found)->message, *batch(stream(), 2).message);
  EXPECT_FALSE(*store_->archived(stream(), 3));
  EXPECT_FALSE(*store_->archived(stream(wire::Lane::state), 1));
}

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

// batch.md#B28: a batch and what it was sealed again in have one effect, in every order.
TEST_P(StoreConformance, WhatWasSealedAgainHasItsEffectOnceAndIsAsOldAsItWasFirst) {
  const auto again = [&](wire::Epoch epoch, double as) {
    Apply copy = batch(stream(wire::Lane::metric, epoch), 1, value("cpu", as));
    copy.hash = hash_of(epoch.ordinal, static_cast<std::uint8_t>(epoch.random));
    copy.effects.first_sealed = {stream(), 5, hash_of(5)};
    return copy;
  };
  // What has no effect would show by another number.
  const std::vector<Apply> batches = {batch(stream(), 5, value("cpu", 1)), again({2, 1}, 2),
                                      again({2, 2}, 3)};
  std::uint8_t nodes = 0;
  std::vector<std::size_t> order = {0, 1, 2};
  do {
    const NodeId node = node_id(++nodes);
    for (std::size_t i = 0; i < order.size(); ++i) {
      Apply each = batches[order[i]];
      each.header.stream.node = node;
      // Nodes share the database: hashes must differ.
      each.hash[30] = std::byte{nodes};
      if (each.effects.first_sealed) {
        each.effects.first_sealed->stream.node = node;
        each.effects.first_sealed->hash[30] = std::byte{nodes};
      }
      reopen();
      EXPECT_EQ(apply({each}), std::vector{i == 0 ? applied : no_effect}) << nodes << " " << i;
      EXPECT_EQ(apply({each}), std::vector{duplicate});
    }
    EXPECT_EQ(got(store_->latest(node))[0].value, batches[order[0]].effects.values[0].value);
    EXPECT_EQ(got(store_->archive(node, 10)).size(), 3u) << "all are kept as they came";
    // Sealed after number 5 and before the copies: it is newer than what they hold.
    Apply newer = batch(stream(), 7, value("cpu", 9));
    newer.header.stream.node = node;
    apply({newer});
    EXPECT_EQ(got(store_->latest(node))[0].value, 9);
  } while (std::ranges::next_permutation(order).found);
}

TEST_P(StoreConformance, AnotherBatchOfTheNumberThatWasSealedAgainIsAnother) {
  Apply copy = batch(stream(wire::Lane::metric, {2, 1}), 1, value("mine", 1));
  copy.hash = hash_of(1, 9);
  copy.effects.first_sealed = {stream(), 5, hash_of(5, 1)};
  EXPECT_EQ(apply({batch(stream(), 5, value("other", 2)), copy}), (std::vector{applied, applied}));
  EXPECT_EQ(got(store_->latest(node_id(1))).size(), 2u);
  copy.effects.first_sealed->stream.node = node_id(2);
  EXPECT_FALSE(store_->apply(std::vector{copy})) << "of another node";
}

TEST_P(StoreConformance, ACopyThatIsRefusedForGoodTakesNothingFromTheFirst) {
  Apply copy = batch(stream(wire::Lane::metric, {2, 1}), 1);
  copy.hash = hash_of(1, 9);
  copy.effects.first_sealed = {stream(), 5, hash_of(5)};
  copy.effects.refused = "removed";
  EXPECT_EQ(apply({copy, batch(stream(), 5, value("cpu", 2))}), (std::vector{applied, applied}));
  EXPECT_EQ(got(store_->latest(node_id(1))).size(), 1u);
}

TEST_P(StoreConformance, WhatTheArchiveForgetsOfCopiesItForgetsWhole) {
  Apply copy = batch(stream(wire::Lane::metric, {2, 1}), 1, value("cpu", 1));
  copy.hash = hash_of(1, 9);
  copy.effects.first_sealed = {stream(), 5, hash_of(5)};
  apply({copy});
  EXPECT_EQ(store_->trim_archive(wall_from_ms(1'000'000), 0, 10).value(), 1u);
  EXPECT_EQ(apply({batch(stream(), 5, value("cpu", 1))}), std::vector{applied});
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

// Its node has two lives: what is gone is gone in both (D5), and the finding is kept.
TEST_P(StoreConformance, AGapThatDisagreesIsTakenWithTheHashesThatAreKnown) {
  apply({batch(stream(), 5)});
  Effects wrong = gap(2, 4);
  wrong.gap->at_last = hash_of(4, 1);
  EXPECT_EQ(apply({batch(stream(wire::Lane::state), 1, wrong)}), std::vector{applied});
  EXPECT_EQ(store_->settled_coverage(stream()).value().intervals, std::vector{interval(2, 5)});
  EXPECT_EQ(store_->equivocations(1).value()[0].disputed, 4u);
  reopen();
  EXPECT_EQ(apply({batch(stream(), 4)}), std::vector{applied}) << "it fits what is kept";
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

TEST_P(StoreConformance, ObservationsComeNewestFirstByTheirOwnTimesWhateverArrivedFirst) {
  const auto observed = [](Apply batch, std::int64_t first, std::int64_t last) {
    batch.header.first = wall_from_ms(first);
    batch.header.last = wall_from_ms(last);
    return batch;
  };
  const wire::StreamKey later = stream(wire::Lane::metric, {2, 9});
  Apply of_other_node = observed(batch(stream(), 1), 100, 200);
  of_other_node.header.stream.node = node_id(2);
  apply({observed(batch(later, 1), 500, 600), observed(batch(stream(), 1), 100, 200),
         observed(batch(stream(), 2), 200, 300), observed(batch(stream(), 3), 250, 300),
         observed(batch(stream(wire::Lane::event), 1), 100, 200),
         observed(batch(stream(wire::Lane::state), 1), 100, 200), of_other_node});
  reopen();
  Store::ObservationFilter filter;
  filter.node = node_id(1);
  filter.limit = 10;
  const auto sequences = [&] {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> found;
    const auto batches = store_->observations(filter);
    for (const PlacedBatch& one : batches.value())
      found.emplace_back(one.batch.stream.epoch.ordinal, one.batch.sequence);
    return found;
  };
  using Found = std::vector<std::pair<std::uint32_t, std::uint64_t>>;
  EXPECT_EQ(sequences(), (Found{{2, 1}, {1, 3}, {1, 2}, {1, 1}}));
  const auto all = store_->observations(filter).value();
  EXPECT_EQ(*all[0].batch.message, *batch(later, 1).message);
  EXPECT_EQ(all[0].place.last, wall_from_ms(600));

  filter.from = all[1].place;
  EXPECT_EQ(sequences(), (Found{{1, 3}, {1, 2}, {1, 1}})) << "of equal times too";
  filter.limit = 1;
  EXPECT_EQ(sequences(), (Found{{1, 3}}));
  filter = {node_id(1), wire::Lane::metric, wall_from_ms(201), wall_from_ms(240), {}, 10};
  EXPECT_EQ(sequences(), (Found{{1, 2}})) << "the one with records of that time";
  filter = {node_id(1), wire::Lane::event, {}, {}, {}, 10};
  EXPECT_EQ(sequences(), (Found{{1, 1}}));
  ASSERT_TRUE(store_->trim_archive(wall_from_ms(100'000), 0, 100).has_value());
  EXPECT_EQ(sequences(), Found());
}

TEST_P(StoreConformance, ObservationsWithoutEffectAreNotShown) {
  Apply first = batch(stream(), 1), again = batch(stream(wire::Lane::metric, {2, 9}), 1);
  again.header.kind = wire::PayloadKind::sealed_again;
  again.effects.first_sealed = {stream(), 1, first.hash};
  Apply refused = batch(stream(), 2), probe = batch(stream(), 3);
  refused.effects.refused = "no OTLP";
  probe.header.kind = wire::PayloadKind::probe;
  EXPECT_EQ(apply({first, again, refused, probe}),
            (std::vector{applied, no_effect, applied, applied}));
  const auto found = store_->observations({node_id(1), wire::Lane::metric, {}, {}, {}, 10}).value();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].batch.stream, stream());
  EXPECT_EQ(found[0].batch.sequence, 1u);
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
  node.compromised = wall_from_ms(5);
  node.approval = to_bytes("approval");
  node.first_seen = wall_from_ms(2);
  node.last_seen = wall_from_ms(3);
  node.connected = true;
  node.address = "192.0.2.1:5723";
  node.path = {"a", "b"};
  node.software = "postern 1";
  node.certificate_sha256 = "00ff";
  node.certificate_not_after = wall_from_ms(4);
  node.certificate = {hash_of(1), hash_of(2), "a1"};
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

Revocation a_revocation(const char* serial, std::optional<WallTime> not_after) {
  Digest key{}, issuer{};
  key.fill(static_cast<std::byte>(serial[0]));
  issuer.fill(std::byte{9});
  return {{key, issuer, serial}, "a.example", Revocation::Reason::compromised, not_after, "uid 0",
          wall_from_ms(5)};
}

TEST_P(StoreConformance, RevocationsStayUntilTheirCertificatesAreOver) {
  const AuditEntry entry{wall_from_ms(5), "uid 0", "certificate revoked", "a.example", ""};
  const StoredDocument list{4, std::nullopt, 1, 1, to_bytes("list")};
  const Revocation first = a_revocation("a1", wall_from_ms(100)), second = a_revocation("b2", {});
  ASSERT_TRUE(store_->add_revocations(std::vector{first, second}, std::vector{entry, entry},
                                      std::vector{list}, std::nullopt));
  reopen();
  EXPECT_EQ(store_->revocations().value(), (std::vector{first, second}));
  EXPECT_EQ(store_->audit_log(10).value().size(), 2u);
  EXPECT_EQ(store_->documents(4).value().size(), 1u);

  Revocation again = first;
  again.reason = Revocation::Reason::retired;
  ASSERT_TRUE(store_->add_revocations(std::vector{again}, {}, {}, wall_from_ms(100)));
  EXPECT_EQ(store_->revocations().value(), (std::vector{first, second})) << "as it was decided";
  ASSERT_TRUE(store_->add_revocations({}, {}, {}, wall_from_ms(101)));
  EXPECT_EQ(store_->revocations().value(), std::vector{second}) << "one without an end stays";

  const StoredDocument other{4, std::nullopt, 1, 1, to_bytes("another list")};
  EXPECT_FALSE(
      store_->add_revocations(std::vector{first}, std::vector{entry}, std::vector{other}, {}));
  EXPECT_EQ(store_->revocations().value(), std::vector{second}) << "all or nothing";
  EXPECT_EQ(store_->audit_log(10).value().size(), 2u);
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
  EXPECT_EQ(store_->save_node(node, std::nullopt).error().code, Errc::invalid);
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
  const auto newest = store_->audit_log(1).value();
  EXPECT_EQ(newest[0].detail, "second") << "newest first";
  const auto older = store_->audit_log(10, newest[0].row).value();
  ASSERT_EQ(older.size(), 1u) << "from where the last page ended";
  EXPECT_EQ(older[0].detail, "first");
}

namespace {
ApiToken a_token(const char* id, std::int64_t created) {
  ApiToken token;
  token.id = id;
  token.secret_sha256.fill(static_cast<std::byte>(created));
  token.label = "for the wall";
  token.scope = Scope::operate;
  token.created_by = "root";
  token.created = wall_from_ms(created);
  return token;
}
const AuditEntry kTokenAudit{wall_from_ms(1), "root", "API token", "", ""};
}  // namespace

TEST_P(StoreConformance, TokensOfTheApiComeBackAsTheyWereAndAreRevokedOnce) {
  ApiToken second = a_token("bb", 2);
  second.expires = wall_from_ms(99);
  ASSERT_TRUE(store_->add_api_token(a_token("aa", 1), kTokenAudit));
  ASSERT_TRUE(store_->add_api_token(second, kTokenAudit));
  EXPECT_EQ(store_->add_api_token(second, kTokenAudit).error().code, Errc::invalid);
  EXPECT_EQ(store_->audit_log(10).value().size(), 2u) << "no entry for what did not happen";
  reopen();
  EXPECT_EQ(store_->api_token("aa").value(), a_token("aa", 1));
  EXPECT_EQ(store_->api_token("cc").value(), std::nullopt);
  EXPECT_EQ(store_->api_tokens().value(), (std::vector{second, a_token("aa", 1)}));
  ASSERT_TRUE(store_->api_token_used("aa", wall_from_ms(5)));
  EXPECT_TRUE(store_->revoke_api_token("aa", wall_from_ms(7), kTokenAudit).value());
  EXPECT_FALSE(store_->revoke_api_token("aa", wall_from_ms(8), kTokenAudit).value());
  EXPECT_FALSE(store_->revoke_api_token("cc", wall_from_ms(8), kTokenAudit).value());
  EXPECT_EQ(store_->audit_log(10).value().size(), 3u);
  EXPECT_EQ(store_->api_token("aa").value()->revoked, wall_from_ms(7)) << "when it was, first";
  EXPECT_EQ(store_->api_token("aa").value()->last_used, wall_from_ms(5));
}

TEST_P(StoreConformance, TokensOfTheApiHaveALimitAndThoseThatAreOverMakeRoom) {
  for (std::size_t i = 0; i < kApiTokensMax; ++i)
    ASSERT_TRUE(store_->add_api_token(a_token(fmt::format("{:04x}", i).c_str(), 1), kTokenAudit));
  EXPECT_EQ(store_->add_api_token(a_token("ffff", 2), kTokenAudit).error().code, Errc::exhausted);
  ASSERT_TRUE(store_->revoke_api_token("0000", wall_from_ms(2), kTokenAudit).value());
  EXPECT_TRUE(store_->add_api_token(a_token("ffff", 2), kTokenAudit));
}

namespace {
JoinToken a_join_token(const char* id, std::int64_t created) {
  JoinToken token;
  token.id = id;
  token.key = Bytes(91, static_cast<std::byte>(created));
  token.role = Role::gateway;
  token.name_pattern = "*.dmz.example";
  token.parents = {"gw1.dmz.example", "gw,2"};
  token.approves = false;
  token.uses_max = 2;
  token.created_by = "root";
  token.created = wall_from_ms(created);
  token.expires = wall_from_ms(created + 1000);
  token.generation = 3;
  return token;
}
NodeId a_joiner(int number) {
  NodeId id;
  id.bytes.fill(static_cast<std::byte>(number));
  return id;
}
}  // namespace

TEST_P(StoreConformance, JoinTokensComeBackAsTheyWereAndAreRevokedOnce) {
  ASSERT_TRUE(store_->add_join_token(a_join_token("aa", 1), kTokenAudit));
  ASSERT_TRUE(store_->add_join_token(a_join_token("bb", 2), kTokenAudit));
  EXPECT_EQ(store_->add_join_token(a_join_token("bb", 2), kTokenAudit).error().code, Errc::invalid);
  reopen();
  EXPECT_EQ(store_->join_token("aa").value(), a_join_token("aa", 1));
  EXPECT_EQ(store_->join_token("cc").value(), std::nullopt);
  EXPECT_EQ(store_->join_tokens().value(),
            (std::vector{a_join_token("bb", 2), a_join_token("aa", 1)}));
  EXPECT_TRUE(store_->revoke_join_token("aa", wall_from_ms(7), kTokenAudit).value());
  EXPECT_FALSE(store_->revoke_join_token("aa", wall_from_ms(8), kTokenAudit).value());
  EXPECT_EQ(store_->join_token("aa").value()->revoked, wall_from_ms(7)) << "when it was, first";
  EXPECT_EQ(store_->audit_log(10).value().size(), 3u);
}

TEST_P(StoreConformance, AJoinTokenCountsEachNodeOnceAndTakesNoNumberTwice) {
  using enum JoinUsed::Verdict;
  ASSERT_TRUE(store_->add_join_token(a_join_token("aa", 1), kTokenAudit));
  const auto use = [&](int node, std::int64_t number) {
    return store_
        ->use_join_token({"aa", a_joiner(node), "gw", wall_from_ms(5), number}, kTokenAudit)
        .value();
  };
  EXPECT_EQ(use(1, 10).verdict, counted);
  EXPECT_EQ(use(1, 10).verdict, replayed);
  reopen();
  EXPECT_EQ(use(1, 9).verdict, replayed);
  EXPECT_EQ(use(1, 9).number, 10) << "so that one whose clock was set back can go on";
  EXPECT_EQ(use(1, 11).verdict, again);
  EXPECT_EQ(use(2, 1).verdict, counted) << "numbers are each node's own";
  EXPECT_EQ(use(3, 1).verdict, used_up);
  EXPECT_EQ(use(1, 12).verdict, again) << "asking again is free, also when it is used up";
  EXPECT_EQ(store_->join_token("aa").value()->uses, 2u);
  EXPECT_EQ(store_->audit_log(10).value().size(), 5u) << "no entry for what did not happen";
  EXPECT_EQ(store_->use_join_token({"zz", a_joiner(1), "gw", wall_from_ms(5), 1}, kTokenAudit)
                .error()
                .code,
            Errc::invalid);
}

TEST_P(StoreConformance, JoinTokensHaveALimitAndThoseThatAreOverMakeRoom) {
  for (std::size_t i = 0; i < kJoinTokensMax; ++i)
    ASSERT_TRUE(
        store_->add_join_token(a_join_token(fmt::format("{:04x}", i).c_str(), 1), kTokenAudit));
  EXPECT_EQ(store_->add_join_token(a_join_token("ffff", 2), kTokenAudit).error().code,
            Errc::exhausted);
  ASSERT_TRUE(store_->revoke_join_token("0000", wall_from_ms(2), kTokenAudit).value());
  EXPECT_TRUE(store_->add_join_token(a_join_token("ffff", 2), kTokenAudit));
  EXPECT_TRUE(store_->add_join_token(a_join_token("fffe", 1001), kTokenAudit))
      << "all others have expired";
}

namespace {
Store::Seen head_of(std::uint64_t number, const wire::StreamKey& stream, std::uint64_t sealed,
                    const Digest& hash) {
  Store::Seen seen;
  seen.id = stream.node;
  seen.time = wall_from_ms(static_cast<std::int64_t>(number));
  seen.head_number = number;
  seen.head = to_bytes(fmt::format("head {}", number));
  seen.sealed = {{stream, sealed, hash}};
  return seen;
}

}  // namespace

TEST_P(StoreConformance, HolesHaveTheHashesOfTheirEdgesAndGoWhenTheyAreFilled) {
  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  EXPECT_TRUE(store_->holes(10).value().empty());
  apply({batch(stream(), 1), batch(stream(), 4), batch(stream(wire::Lane::event), 3)});
  const auto head = head_of(1, stream(), 6, hash_of(6));
  ASSERT_TRUE(store_->seen(std::span(&head, 1)));
  reopen();
  const Hole of_event{stream(wire::Lane::event), 1, 2, Digest{}, hash_of(2)};
  const Hole inner{stream(), 2, 3, hash_of(1), hash_of(3)};
  const Hole tail{stream(), 5, 6, hash_of(4), hash_of(6)};
  EXPECT_EQ(store_->holes(10).value(), (std::vector{of_event, inner, tail}));
  EXPECT_EQ(store_->holes(2).value(), (std::vector{of_event, inner}));
  EXPECT_TRUE(store_->holes(0).value().empty());

  apply({batch(stream(wire::Lane::state), 1, gap(2, 3)), batch(stream(), 6)});
  EXPECT_EQ(store_->holes(10).value(),
            (std::vector{of_event, Hole{stream(), 5, 5, hash_of(4), hash_of(5)}}));
  apply({batch(stream(), 5), batch(stream(wire::Lane::event), 1),
         batch(stream(wire::Lane::event), 2)});
  reopen();
  EXPECT_TRUE(store_->holes(10).value().empty());
}

TEST_P(StoreConformance, ATailWhoseHashNoHeadSaidHasNone) {
  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  const auto head = head_of(1, stream(), 3, Digest{});
  ASSERT_TRUE(store_->seen(std::span(&head, 1)));
  EXPECT_EQ(store_->holes(10).value(), std::vector{(Hole{stream(), 1, 3, Digest{}, std::nullopt})});
  const auto next = head_of(2, stream(), 3, hash_of(3));
  ASSERT_TRUE(store_->seen(std::span(&next, 1)));
  EXPECT_EQ(store_->holes(10).value()[0].at_last, hash_of(3)) << "said later";
}

TEST_P(StoreConformance, AHeadThatNamesAnotherHashIsKeptAsEquivocation) {
  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  apply({batch(stream(), 1), batch(stream(), 2)});
  const std::vector heads = {
      head_of(1, stream(), 2, hash_of(2)), head_of(2, stream(), 2, hash_of(2, 1)),
      head_of(3, stream(), 5, hash_of(5)), head_of(4, stream(), 5, hash_of(5, 1)),
      head_of(5, stream(), 5, hash_of(5, 1))};
  ASSERT_TRUE(store_->seen(heads));
  reopen();
  EXPECT_EQ(store_->equivocation_count().value(), 2u) << "one said twice is one";
  const auto found = store_->equivocations(10).value();
  EXPECT_EQ(found[1].disputed, 2u);
  EXPECT_EQ(found[1].known, hash_of(2));
  EXPECT_EQ(found[1].claimed, hash_of(2, 1));
  EXPECT_EQ(*found[1].message, heads[1].head) << "the head is the proof";
  EXPECT_EQ(found[0].disputed, 5u);
  EXPECT_EQ(store_->holes(1).value()[0].at_last, hash_of(5)) << "the first word stays";

  // A batch that is not what its head said counts all the same: it is here.
  apply({batch(stream(), 3), batch(stream(), 4)});
  Apply other = batch(stream(), 5);
  other.hash = hash_of(5, 2);
  EXPECT_EQ(apply({other}), std::vector{applied});
  EXPECT_EQ(store_->equivocation_count().value(), 3u);
  EXPECT_TRUE(store_->holes(1).value().empty());
}

TEST_P(StoreConformance, TheLedgerListsWhatIsGoneRefusedReleasedAndMissed) {
  Effects release, refused;
  release.release = wire::ReleaseRecord{stream(), 7, 9, hash_of(9), node_id(5)};
  refused.refused = "no OTLP";
  refused.values = value("cpu", 1).values;
  Apply odd = batch(stream(), 6, refused);
  odd.header.first = wall_from_ms(100);
  odd.header.last = wall_from_ms(200);
  odd.header.records = 3;
  odd.header.payload_bytes = 44;
  EXPECT_EQ(apply({batch(stream(), 1), batch(stream(wire::Lane::state), 1, gap(2, 4)), odd,
                   batch(stream(wire::Lane::state), 2, release)}),
            (std::vector{applied, applied, applied, applied}));
  EXPECT_TRUE(store_->latest(node_id(1)).value().empty()) << "refused: no effect";
  EXPECT_EQ(store_->archive(node_id(1), 10).value().size(), 4u) << "but kept raw";
  Loss notice;
  notice.stream = stream();
  notice.first = 4;
  notice.last = 5;
  notice.noted = wall_from_ms(9000);
  notice.reason = "damaged";
  notice.where = "gw1 > gw2";
  ASSERT_TRUE(store_->note_loss(notice));
  ASSERT_TRUE(store_->note_loss(notice)) << "said twice";
  reopen();

  auto lines = store_->losses({}).value();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].kind, Loss::Kind::notice);
  EXPECT_EQ(lines[0].first, 5u) << "4 is gone by the origin's word";
  EXPECT_EQ(lines[0].where, "gw1 > gw2");
  EXPECT_EQ(lines[1], (Loss{Loss::Kind::refused, stream(), 6, 6, wall_from_ms(6000),
                            wall_from_ms(100), wall_from_ms(200), 3, 44, "no OTLP", ""}));
  EXPECT_EQ(lines[2].kind, Loss::Kind::released);
  EXPECT_EQ(lines[2].where, node_id(5).hex());
  EXPECT_EQ(lines[3], (Loss{Loss::Kind::gap, stream(), 2, 4, wall_from_ms(1000), WallTime{},
                            WallTime{}, 7, 8, "shed for space", ""}));
  Store::LossFilter filter;
  filter.since = wall_from_ms(6000);
  EXPECT_EQ(store_->losses(filter).value().size(), 2u);
  filter.limit = 1;
  EXPECT_EQ(store_->losses(filter).value(), std::vector{lines[0]}) << "newest first";
  Store::LossFilter of_another;
  of_another.node = node_id(9);
  EXPECT_TRUE(store_->losses(of_another).value().empty());

  apply({batch(stream(), 3), batch(stream(), 5), batch(stream(), 7), batch(stream(), 8),
         batch(stream(), 9)});
  lines = store_->losses({}).value();
  ASSERT_EQ(lines.size(), 3u) << "settled: neither released nor missed";
  EXPECT_EQ(lines[1].first, 2u);
  EXPECT_EQ(lines[2].first, 4u) << "less what arrived anyway";
  EXPECT_EQ(lines[1].records, std::nullopt) << "nobody knows it of a part";
  EXPECT_EQ(store_->streams(node_id(1)).value().back().gap_reasons,
            (std::vector(2, wire::GapRecord::Reason::shed)));
}

TEST_P(StoreConformance, AReleaseOfAnotherNodeIsRefused) {
  Effects release;
  release.release = wire::ReleaseRecord{stream(), 1, 2, hash_of(2), node_id(5)};
  release.release->stream.node = node_id(9);
  EXPECT_EQ(store_->apply(std::vector{batch(stream(wire::Lane::state), 1, release)}).error().code,
            Errc::invalid);
}

TEST_P(StoreConformance, RemovingANodeClosesWhatIsKnownOfItsStreams) {
  ASSERT_TRUE(store_->save_node(a_node("a.example", 1, Standing::approved), std::nullopt));
  apply({batch(stream(), 2), batch(stream(), 5), batch(stream(wire::Lane::event), 2)});
  std::vector heads = {head_of(1, stream(), 8, hash_of(8)),
                       head_of(2, stream(wire::Lane::event), 4, Digest{})};
  ASSERT_TRUE(store_->seen(heads));
  ASSERT_TRUE(store_->close_streams(node_id(1), wall_from_ms(77)));
  reopen();
  EXPECT_EQ(store_->settled_coverage(stream()).value().intervals, std::vector{interval(1, 8)});
  EXPECT_EQ(store_->holes(10).value(),
            std::vector{(Hole{stream(wire::Lane::event), 3, 4, hash_of(2), std::nullopt})})
      << "nobody said the last hash";
  const auto lines = store_->losses({}).value();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].reason, "node removed");
  EXPECT_EQ(lines[0].noted, wall_from_ms(77));
  EXPECT_EQ(lines[0].records, std::nullopt);
  EXPECT_EQ(apply({batch(stream(), 4)}), std::vector{applied}) << "a late one is no contradiction";
}

TEST_P(StoreConformance, AnAlertIsOneRowACauseUntilItIsClosed) {
  Alert alert;
  alert.cause = "hole 1";
  alert.severity = "warning";
  alert.node = node_id(1);
  alert.words = "first";
  alert.raised = wall_from_ms(10);
  const Alert first = store_->raise_alert(alert).value();
  alert.words = "second";
  alert.raised = wall_from_ms(20);
  const Alert again = store_->raise_alert(alert).value();
  EXPECT_EQ(again.id, first.id);
  EXPECT_EQ(again.count, 2u);
  EXPECT_EQ(again.raised, wall_from_ms(10));
  EXPECT_EQ(again.last, wall_from_ms(20));
  EXPECT_EQ(again.words, "second");
  alert.cause = "store";
  const Alert other = store_->raise_alert(alert).value();
  reopen();
  EXPECT_EQ(store_->alerts(true, 10).value(), (std::vector{other, again}));
  EXPECT_TRUE(store_->close_alert("hole 1", wall_from_ms(30), "root").value());
  EXPECT_FALSE(store_->close_alert("hole 1", wall_from_ms(31), "root").value());
  reopen();
  EXPECT_EQ(store_->alerts(true, 10).value(), std::vector{other});
  EXPECT_EQ(store_->alerts(false, 10).value()[1].closed, wall_from_ms(30));
  alert.cause = "hole 1";
  EXPECT_NE(store_->raise_alert(alert).value().id, first.id) << "a new one";
  EXPECT_EQ(store_->alerts(false, 1).value().size(), 1u);
}

TEST_P(StoreConformance, OneLookAtAllAlertsIsOneUpdateThatCountsOnlyWhatWasMetAgain) {
  const auto alert = [](const std::string& cause, const std::string& words) {
    Alert one;
    one.cause = cause;
    one.severity = "warning";
    one.words = words;
    one.raised = wall_from_ms(10);
    return one;
  };
  AlertChanges changes;
  changes.raise = {alert("a", "one"), alert("b", "one")};
  changes.again = {alert("c", "one")};
  changes.change = {alert("never raised", "one")};
  changes.close = {"nobody knows it"};
  const auto raised = store_->update_alerts(changes, wall_from_ms(10)).value();
  ASSERT_EQ(raised.size(), 3u) << "what is not open is neither changed nor closed";
  EXPECT_NE(raised[0].id, raised[1].id);

  changes = {};
  changes.raise = {alert("a", "raised by two")};
  changes.again = {alert("b", "met again")};
  changes.change = {alert("c", "other words")};
  changes.change[0].severity = "critical";
  changes.change[0].raised = wall_from_ms(99);
  const auto changed = store_->update_alerts(changes, wall_from_ms(20)).value();
  ASSERT_EQ(changed.size(), 3u);
  reopen();
  EXPECT_EQ(store_->alerts(true, 10).value(), (std::vector{changed[2], changed[1], changed[0]}));
  EXPECT_EQ(changed[0].id, raised[0].id);
  EXPECT_EQ(changed[0].count, 1u);
  EXPECT_EQ(changed[0].words, "raised by two");
  EXPECT_EQ(changed[1].count, 2u);
  EXPECT_EQ(changed[2].count, 1u);
  EXPECT_EQ(changed[2].severity, "critical");
  EXPECT_EQ(changed[2].last, wall_from_ms(10)) << "it was not met again";

  changes = {};
  changes.close = {"a"};
  const auto closed = store_->update_alerts(changes, wall_from_ms(30)).value();
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].closed, wall_from_ms(30));
  EXPECT_EQ(closed[0].closed_by, "");
  EXPECT_FALSE(closed[0].muted);
}

TEST_P(StoreConformance, WhatAnOperatorClosedIsMutedUntilItsConditionHasEnded) {
  Alert alert;
  alert.cause = "clock a";
  alert.severity = "warning";
  alert.raised = wall_from_ms(10);
  const auto muted = [&] {
    reopen();
    return store_->alerts(false, 10).value()[0].muted;
  };
  AlertChanges raise, ended;
  raise.raise = {alert};
  ended.close = {"clock a"};
  ASSERT_TRUE(store_->update_alerts(raise, wall_from_ms(10)));
  ASSERT_TRUE(store_->close_alert("clock a", wall_from_ms(20), "root").value());
  EXPECT_TRUE(muted());
  EXPECT_EQ(store_->alerts(false, 10).value()[0].closed_by, "root");
  EXPECT_TRUE(store_->update_alerts(ended, wall_from_ms(30)).value().empty()) << "not open";
  EXPECT_FALSE(muted());
  EXPECT_EQ(store_->alerts(false, 10).value()[0].closed, wall_from_ms(20));

  ASSERT_TRUE(store_->raise_alert(alert));
  ASSERT_TRUE(store_->close_alert("clock a", wall_from_ms(40), "root").value());
  EXPECT_TRUE(muted());
  ASSERT_TRUE(store_->raise_alert(alert));
  EXPECT_FALSE(store_->alerts(false, 10).value()[1].muted) << "it is open again";
}

TEST_P(StoreConformance, AProbeIsFoundByItsIdWithItsStamps) {
  Effects probe;
  probe.probe = Bytes(wire::kProbeIdBytes, std::byte{7});
  Apply arrived = batch(stream(wire::Lane::state), 3, probe);
  const std::vector<wire::Stamp> stamps = {{node_id(1), wall_from_ms(5)},
                                           {node_id(2), wall_from_ms(9)}};
  arrived.message = std::make_shared<const Bytes>(wire::write_stamped(stamps, {}));
  arrived.header.sealed = wall_from_ms(4);
  EXPECT_EQ(apply({arrived}), std::vector{applied});
  reopen();
  const auto row = store_->trace(*probe.probe).value();
  EXPECT_EQ(row, (TraceRow{*probe.probe, stream(wire::Lane::state), 3, wall_from_ms(4),
                           arrived.arrived, stamps}));
  EXPECT_EQ(store_->trace(Bytes(wire::kProbeIdBytes)).value(), std::nullopt);
  apply({batch(stream(wire::Lane::state), 4, probe)});
  EXPECT_EQ(store_->trace(*probe.probe).value()->sequence, 3u);
  apply({batch(stream(wire::Lane::state), 2, probe)});
  EXPECT_EQ(store_->trace(*probe.probe).value()->sequence, 2u) << "whatever the order of arrival";
  probe.probe->pop_back();
  EXPECT_FALSE(store_->apply(std::vector{batch(stream(wire::Lane::state), 1, probe)}));
}

TEST_P(StoreConformance, TheGenerationOnlyRises) {
  EXPECT_EQ(store_->raise_generation(5).value(), 5u);
  EXPECT_EQ(store_->raise_generation(3).value(), 5u);
  reopen();
  EXPECT_EQ(store_->generation().value(), 5u);
}

TEST_P(StoreConformance, ReleasesAndTracesAreBounded) {
  std::vector<Apply> batches;
  for (std::uint64_t n = 1; n <= kReleasesPerStreamMax + 1; ++n) {
    Effects effects;
    effects.release = wire::ReleaseRecord{stream(), n, n, hash_of(n), node_id(5)};
    batches.push_back(batch(stream(wire::Lane::state), n, effects));
    Effects probe;
    probe.probe = Bytes(wire::kProbeIdBytes, static_cast<std::byte>(n & 0xff));
    (*probe.probe)[1] = static_cast<std::byte>(n >> 8);
    batches.push_back(batch(stream(wire::Lane::state, {2, 1}), n, probe));
  }
  apply(batches);
  Store::LossFilter all;
  all.limit = 2 * kReleasesPerStreamMax;
  EXPECT_EQ(store_->losses(all).value().size(), kReleasesPerStreamMax);
  EXPECT_FALSE(store_->trace(*batches[1].effects.probe).value());
  EXPECT_TRUE(store_->trace(*batches.back().effects.probe).value());
}

}  // namespace postern::store
