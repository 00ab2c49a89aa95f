#include <algorithm>
#include <iterator>
#include <ranges>
#include <tuple>

#include "store/rules.h"
#include "store/sql_store.h"

namespace postern::store {
namespace {

// A macro, because prepared statements are kept by their literal.
#define POSTERN_STREAM_BY_KEY \
  "SELECT id FROM stream WHERE node = ? AND epoch_ordinal = ? AND epoch_random = ? AND lane = ?"

/// The hash under which a batch's content was sealed first.
const Digest& content_of(const Apply& batch) {
  const auto& first = effects_in_force(batch).first_sealed;
  return first ? first->hash : batch.hash;
}

LedgerGap read_gap(Query& row, const wire::StreamKey& key) {
  const wire::GapRecord record{key,           row.u64(3),
                               row.u64(4),    row.digest(5),
                               row.digest(6), row.time(7),
                               row.time(8),   row.u64(9),
                               row.u64(10),   static_cast<wire::GapRecord::Reason>(row.u32(11))};
  return {{record.first, record.last, record.before, record.at_last},
          {row.u32(0), row.u64(1)},
          row.u64(2),
          record,
          row.optional_time(12)};
}

}  // namespace

Result<std::vector<Outcome>> SqlStore::apply(std::span<const Apply> batches) {
  for (const Apply& batch : batches)
    if (auto fine = check(batch); !fine) return std::unexpected(fine.error());
  if (batches.empty()) return std::vector<Outcome>();
  return database_->transaction_beside("applying batches", [&]() -> Result<std::vector<Outcome>> {
    Turn turn;
    open_streams(turn, batches);
    find_what_took_effect(turn, batches);
    std::vector<Outcome> outcomes;
    for (const Apply& batch : batches) outcomes.push_back(apply_one(turn, batch));
    for (const auto& [key, stream] : turn.streams) save(stream);
    write_projections(turn);
    bound_projections(turn);
    if (turn.archived_bytes > 0)
      count("archive_bytes", static_cast<std::int64_t>(turn.archived_bytes));
    return outcomes;
  });
}

/// Locks what the batches' outcomes and effects depend on, lowest stream first, so that two who
/// apply at the same time wait for each other in one direction only. Those that are new are made in
/// turn, one after another; whoever makes one is alone.
void SqlStore::open_streams(Turn& turn, std::span<const Apply> batches) {
  std::set<wire::StreamKey> keys;
  for (const Apply& batch : batches) {
    const Effects& effects = effects_in_force(batch);
    keys.insert(batch.header.stream);
    if (effects.gap) keys.insert(effects.gap->stream);
    if (effects.release) keys.insert(effects.release->stream);
    if (effects.first_sealed) keys.insert(effects.first_sealed->stream);
  }
  const auto ask = [](Query& query, const wire::StreamKey& key) {
    query.bind(key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane));
  };
  bool all_known = true;
  database_->each(POSTERN_STREAM_BY_KEY, keys, ask,
                  [&](Query& row, const wire::StreamKey&) { all_known = row.step() && all_known; });
  if (!all_known) database_->be_alone();
  std::vector<Stored> found;
  database_->each(POSTERN_STREAM_BY_KEY " FOR UPDATE", keys, ask,
                  [&](Query& row, const wire::StreamKey& key) {
                    if (row.step()) found.push_back({row.integer(0), key, {}, {}, 0, {}});
                  });
  const std::vector<StreamLedger> ledgers = load_all(found);
  for (std::size_t i = 0; i < found.size(); ++i)
    turn.streams.emplace(found[i].key, OpenStream{found[i].id, ledgers[i], ledgers[i]});
}

/// Of the batches' contents, those that are in the archive as another batch that was sealed again.
void SqlStore::find_what_took_effect(Turn& turn, std::span<const Apply> batches) {
  database_->each(
      "SELECT 1 FROM archive WHERE first_sealed = ? LIMIT 1", batches,
      [](Query& query, const Apply& batch) { query.bind(content_of(batch)); },
      [&](Query& row, const Apply& batch) {
        if (row.step()) turn.sealed_again.insert(content_of(batch));
      });
}

Outcome SqlStore::apply_one(Turn& turn, const Apply& batch) {
  const Effects& effects = effects_in_force(batch);
  if (!has_room_for(turn, batch.header.stream) ||
      (effects.gap && !has_room_for(turn, effects.gap->stream)) ||
      (effects.release && !has_room_for(turn, effects.release->stream)))
    return Outcome::too_many_epochs;
  const StreamLedger::Verdict verdict = judge_batch(turn, batch);
  if (verdict.contradiction)
    put_aside(open_stream(turn, batch.header.stream).id, batch.header.sequence, batch.hash,
              *verdict.contradiction, batch.arrived, *batch.message);
  if (verdict.outcome != Outcome::applied) return verdict.outcome;
  const bool before = took_effect(turn, batch);
  follow(turn, batch, before);
  if (!before) project(turn, batch);
  return before ? Outcome::no_effect : Outcome::applied;
}

/// Whether its content is in the archive as another batch (batch.md#B28).
bool SqlStore::took_effect(const Turn& turn, const Apply& batch) {
  if (turn.sealed_again.contains(content_of(batch))) return true;
  const auto& first = effects_in_force(batch).first_sealed;
  if (!first) return false;
  const auto stream = stream_id(first->stream);
  if (!stream) return false;
  Query known(
      database_->prepare("SELECT 1 FROM archive WHERE stream = ? AND sequence = ? AND hash = ?"));
  return known.bind(*stream, first->sequence, first->hash).step();
}

StreamLedger::Verdict SqlStore::judge_batch(Turn& turn, const Apply& batch) {
  const Effects& effects = effects_in_force(batch);
  OpenStream& own = open_stream(turn, batch.header.stream);
  std::optional<Digest> archived;
  if (own.now.applied_set().contains(batch.header.sequence)) {
    Query known(database_->prepare("SELECT hash FROM archive WHERE stream = ? AND sequence = ?"));
    if (known.bind(own.id, batch.header.sequence).step()) archived = known.digest(0);
  }
  StreamLedger* of_gap = effects.gap ? &open_stream(turn, effects.gap->stream).now : nullptr;
  return judge(own.now, of_gap, batch, archived);
}

/// What an applied batch does besides its mark in the applied set and the projections.
void SqlStore::follow(Turn& turn, const Apply& batch, bool took_effect_before) {
  const Effects& effects = effects_in_force(batch);
  const std::int64_t stream = open_stream(turn, batch.header.stream).id;
  std::optional<WallTime> first, last;
  if (const auto span = observed_span(batch, took_effect_before)) {
    first = span->first;
    last = span->last;
  }
  std::optional<Digest> first_sealed;
  if (effects.first_sealed) first_sealed = effects.first_sealed->hash;
  database_->run(database_->dialect().keep_batch, stream, batch.header.sequence, batch.hash,
                 batch.arrived, *batch.message, first, last, first_sealed);
  if (first_sealed) turn.sealed_again.insert(*first_sealed);
  turn.archived_bytes += batch.message->size();
  if (!batch.effects.refused.empty()) {
    const Loss line = refused_loss(batch);
    database_->run(
        "INSERT INTO refused (stream, sequence, noted, first_time, last_time, records, bytes, "
        "reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        stream, line.first, line.noted, line.first_time, line.last_time, line.records, line.bytes,
        line.reason);
    database_->run("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?",
                   static_cast<std::int64_t>(kRefusedMax));
  }
  if (effects.opening)
    database_->run("INSERT INTO epoch_opening (stream, sequence, opening) VALUES (?, ?, ?)", stream,
                   batch.header.sequence, wire::encode(*effects.opening));
  if (effects.release) {
    const wire::ReleaseRecord& release = *effects.release;
    const std::int64_t released = open_stream(turn, release.stream).id;
    database_->run(
        "INSERT INTO released (stream, first, last, at_last, parent, noted) VALUES (?, ?, ?, ?, ?, "
        "?)",
        released, release.first, release.last, release.at_last, release.parent, batch.arrived);
    database_->run(
        "DELETE FROM released WHERE id IN (SELECT id FROM released WHERE stream = ? ORDER BY id "
        "DESC LIMIT 1000000000 OFFSET ?)",
        released, static_cast<std::int64_t>(kReleasesPerStreamMax));
  }
  if (effects.probe) write_trace(trace_of(batch, *effects.probe));
}

void SqlStore::put_aside(std::int64_t stream, std::uint64_t sequence, const Digest& hash,
                         const Contradiction& contradiction, WallTime arrived,
                         const Bytes& message) {
  Query known(database_->prepare(
      "SELECT 1 FROM equivocation WHERE stream = ? AND sequence = ? AND hash = ?"));
  if (known.bind(stream, sequence, hash).step()) return;
  database_->run(
      "INSERT INTO equivocation (stream, sequence, hash, disputed, known, claimed, arrived, "
      "message)"
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      stream, sequence, hash, contradiction.sequence, contradiction.known, contradiction.claimed,
      arrived, message);
  database_->run("DELETE FROM equivocation WHERE id <= (SELECT max(id) FROM equivocation) - ?",
                 static_cast<std::int64_t>(kEquivocationsMax));
  count("equivocations", 1);
}

/// Of each row only what stands at the end of the turn is written.
void SqlStore::project(Turn& turn, const Apply& batch) {
  const Effects& effects = effects_in_force(batch);
  const NodeId& node = batch.header.stream.node;
  const auto setter = std::make_shared<const Bytes>(setter_of(batch));
  const auto take = [&](auto& rows, auto key, const auto& row) {
    auto [at, fresh] = rows.try_emplace(std::move(key), &row, setter);
    if (!fresh && *setter >= *at->second.second) at->second = {&row, setter};
  };
  for (const LatestValue& value : effects.values)
    take(turn.values, Turn::RowKey{node, value.metric, value.attributes}, value);
  for (const Entity& entity : effects.entities)
    take(turn.entities, Turn::RowKey{node, entity.type, entity.id}, entity);
}

void SqlStore::write_projections(const Turn& turn) {
  database_->run_each(database_->dialect().keep_value, turn.values,
                      [](Query& query, const auto& entry) {
                        const auto& [value, setter] = entry.second;
                        query.bind(std::get<NodeId>(entry.first), value->metric, value->attributes,
                                   value->unit, value->value, value->integer, value->time, *setter);
                      });
  database_->run_each(database_->dialect().keep_entity, turn.entities,
                      [](Query& query, const auto& entry) {
                        const auto& [entity, setter] = entry.second;
                        query.bind(std::get<NodeId>(entry.first), entity->type, entity->id,
                                   entity->attributes, entity->time, *setter);
                      });
}

/// What goes are the rows that were set longest ago, so the result is the same for every order of
/// arrival: a row that went could only come back with a newer setter.
void SqlStore::bound_projections(const Turn& turn) {
  const auto nodes_beyond = [&](std::string_view sql, const auto& rows, std::size_t limit) {
    std::set<NodeId> nodes, beyond;
    for (const auto& [key, row] : rows) nodes.insert(std::get<NodeId>(key));
    database_->each(
        sql, nodes, [](Query& query, const NodeId& node) { query.bind(node); },
        [&](Query& row, const NodeId& node) {
          if (row.step() && row.u64(0) > limit) beyond.insert(node);
        });
    return beyond;
  };
  for (const NodeId& node : nodes_beyond("SELECT count(*) FROM latest_value WHERE node = ?",
                                         turn.values, kLatestValuesPerNodeMax))
    database_->run(
        "DELETE FROM latest_value WHERE node = ?1 AND (metric, attributes) NOT IN"
        " (SELECT metric, attributes FROM latest_value WHERE node = ?1"
        "  ORDER BY setter DESC, metric, attributes LIMIT ?2)",
        node, static_cast<std::int64_t>(kLatestValuesPerNodeMax));
  for (const NodeId& node : nodes_beyond("SELECT count(*) FROM entity WHERE node = ?",
                                         turn.entities, kEntitiesPerNodeMax))
    database_->run(
        "DELETE FROM entity WHERE node = ?1 AND (type, id) NOT IN"
        " (SELECT type, id FROM entity WHERE node = ?1 ORDER BY setter DESC, type, id LIMIT ?2)",
        node, static_cast<std::int64_t>(kEntitiesPerNodeMax));
}

std::optional<std::int64_t> SqlStore::stream_id(const wire::StreamKey& key) {
  Query found(database_->prepare(POSTERN_STREAM_BY_KEY));
  found.bind(key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane));
  if (!found.step()) return std::nullopt;
  return found.integer(0);
}

bool SqlStore::has_room_for(const Turn& turn, const wire::StreamKey& key) {
  if (turn.streams.contains(key) || stream_id(key)) return true;
  Query known(
      database_->prepare("SELECT 1 FROM stream WHERE node = ? AND epoch_ordinal = ? AND "
                         "epoch_random = ? LIMIT 1"));
  if (known.bind(key.node, key.epoch.ordinal, key.epoch.random).step()) return true;
  Query epochs(
      database_->prepare("SELECT count(*) FROM (SELECT DISTINCT epoch_ordinal, epoch_random FROM "
                         "stream WHERE node = ?) AS epochs"));
  return !epochs.bind(key.node).step() || may_begin_epoch(epochs.u64(0));
}

SqlStore::OpenStream& SqlStore::open_stream(Turn& turn, const wire::StreamKey& key) {
  if (auto open = turn.streams.find(key); open != turn.streams.end()) return open->second;
  std::optional<std::int64_t> id;
  {
    Query known(database_->prepare(POSTERN_STREAM_BY_KEY " FOR UPDATE"));
    known.bind(key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane));
    if (known.step()) id = known.integer(0);
  }
  if (!id) {
    Query made(
        database_->prepare("INSERT INTO stream (node, epoch_ordinal, epoch_random, lane, sealed) "
                           "VALUES (?, ?, ?, ?, 0) RETURNING id"));
    made.bind(key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane));
    id = only_row(made).integer(0);
    made.step();  // to its end: only then the statement is done
  }
  const StreamLedger ledger = load(*id, key);
  return turn.streams.emplace(key, OpenStream{*id, ledger, ledger}).first->second;
}

StreamLedger SqlStore::load(std::int64_t id, const wire::StreamKey& key) {
  std::vector<Stored> one{{id, key, {}, {}, 0, {}}};
  return std::move(load_all(one).front());
}

/// The rows of each are taken out of `streams`.
std::vector<StreamLedger> SqlStore::load_all(std::vector<Stored>& streams) {
  const auto by_id = [](Query& query, const Stored& stream) { query.bind(stream.id); };
  database_->each(
      "SELECT first, last, before, hash FROM applied_range WHERE stream = ?", streams, by_id,
      [](Query& row, Stored& stream) {
        while (row.step())
          stream.ranges.push_back({row.u64(0), row.u64(1), row.digest(2), row.digest(3)});
      });
  database_->each(
      "SELECT by_epoch_ordinal, by_epoch_random, by_sequence, first, last, before, at_last, "
      "first_time, last_time, records, bytes, reason, noted FROM gap WHERE stream = ?",
      streams, by_id, [](Query& row, Stored& stream) {
        while (row.step()) stream.gaps.push_back(read_gap(row, stream.key));
      });
  database_->each("SELECT sealed, sealed_hash FROM stream WHERE id = ?", streams, by_id,
                  [](Query& row, Stored& stream) {
                    if (!row.step()) return;
                    stream.sealed = row.u64(0);
                    if (!row.null(1)) stream.sealed_hash = row.digest(1);
                  });
  std::vector<StreamLedger> ledgers;
  for (Stored& stream : streams) {
    auto ledger = StreamLedger::restore(stream.key, stream.sealed, std::move(stream.ranges),
                                        std::move(stream.gaps), stream.sealed_hash);
    if (!ledger) throw Failure(Errc::corrupt, ledger.error().message);
    ledgers.push_back(std::move(*ledger));
  }
  return ledgers;
}

/// Writes what changed and no more: usually the one interval that grew.
void SqlStore::save(const OpenStream& stream) {
  const auto& [id, before, now] = stream;
  const auto missing_in = [](const auto& list) {
    return [&list](const auto& item) { return std::ranges::find(list, item) == list.end(); };
  };
  if (before.applied_set() != now.applied_set()) {
    std::vector<Range> gone, come;
    const auto by_first = [](const Range& a, const Range& b) {
      return std::tie(a.first, a.last) < std::tie(b.first, b.last);
    };
    std::ranges::set_difference(before.applied_set().ranges(), now.applied_set().ranges(),
                                std::back_inserter(gone), by_first);
    std::ranges::set_difference(now.applied_set().ranges(), before.applied_set().ranges(),
                                std::back_inserter(come), by_first);
    for (const Range& range : gone)
      if (std::ranges::find(come, range.first, &Range::first) == come.end())
        database_->run("DELETE FROM applied_range WHERE stream = ? AND first = ?", id, range.first);
    for (const Range& range : come)
      database_->run(
          "INSERT INTO applied_range (stream, first, last, before, hash) VALUES (?, ?, ?, ?, ?) ON "
          "CONFLICT (stream, first) DO UPDATE SET last = excluded.last, before = excluded.before, "
          "hash = excluded.hash",
          id, range.first, range.last, range.before, range.hash);
  }
  if (before.gap_records() != now.gap_records()) {
    for (const LedgerGap& gap :
         before.gap_records() | std::views::filter(missing_in(now.gap_records())))
      database_->run(
          "DELETE FROM gap WHERE stream = ? AND by_epoch_ordinal = ? AND by_epoch_random = ? AND "
          "by_sequence = ?",
          id, gap.by_epoch.ordinal, gap.by_epoch.random, gap.by_sequence);
    for (const LedgerGap& gap :
         now.gap_records() | std::views::filter(missing_in(before.gap_records())))
      database_->run(
          "INSERT INTO gap (stream, by_epoch_ordinal, by_epoch_random, by_sequence, first, last, "
          "before, at_last,"
          " first_time, last_time, records, bytes, reason, noted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "
          "?, ?, ?, ?, ?, ?)",
          id, gap.by_epoch.ordinal, gap.by_epoch.random, gap.by_sequence, gap.record.first,
          gap.record.last, gap.record.before, gap.record.at_last, gap.record.first_time,
          gap.record.last_time, gap.record.records, gap.record.bytes,
          static_cast<std::int64_t>(gap.record.reason), gap.noted);
  }
  const bool has_holes = now.has_holes();
  if (before.sealed() != now.sealed() || before.sealed_hash() != now.sealed_hash() ||
      before.has_holes() != has_holes)
    database_->run("UPDATE stream SET sealed = ?, sealed_hash = ?, has_holes = ? WHERE id = ?",
                   now.sealed(), now.sealed_hash(), has_holes, id);
}

void SqlStore::raise_sealed(const Seen& seen, const Seen::Sealed& sealed) {
  Turn turn;
  if (!has_room_for(turn, sealed.stream)) return;
  OpenStream& stream = open_stream(turn, sealed.stream);
  if (const auto found = stream.now.raise_sealed(sealed.sequence, sealed.hash))
    put_aside(stream.id, sealed.sequence, sealed.hash, *found, seen.time.value_or(WallTime{}),
              seen.head);
  save(stream);
}

void SqlStore::count(std::string_view name, std::int64_t by) {
  database_->run(database_->dialect().count, by, name);
}

std::uint64_t SqlStore::counter(std::string_view name) {
  Query query(database_->prepare(database_->dialect().counter));
  return query.bind(name).step() ? query.u64(0) : 0;
}

}  // namespace postern::store
