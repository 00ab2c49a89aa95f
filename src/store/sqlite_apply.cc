#include <sqlite3.h>

#include <algorithm>
#include <iterator>
#include <ranges>
#include <tuple>

#include "store/rules.h"
#include "store/sqlite.h"

namespace postern::store {

Result<std::vector<Outcome>> SqliteStore::apply(std::span<const Apply> batches) {
  for (const Apply& batch : batches)
    if (auto fine = check(batch); !fine) return std::unexpected(fine.error());
  if (batches.empty()) return std::vector<Outcome>();
  return database_->transaction("applying batches", [&]() -> Result<std::vector<Outcome>> {
    Turn turn;
    std::vector<Outcome> outcomes;
    for (const Apply& batch : batches) outcomes.push_back(apply_one(turn, batch));
    for (const auto& [key, stream] : turn.streams) save(stream);
    bound_projections(turn);
    if (turn.archived_bytes > 0)
      count("archive_bytes", static_cast<std::int64_t>(turn.archived_bytes));
    return outcomes;
  });
}

Outcome SqliteStore::apply_one(Turn& turn, const Apply& batch) {
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
  const bool before = took_effect(batch);
  follow(turn, batch, before);
  if (!before) project(turn, batch);
  return before ? Outcome::no_effect : Outcome::applied;
}

/// Whether its content is in the archive as another batch (batch.md#B28).
bool SqliteStore::took_effect(const Apply& batch) {
  const auto& first = effects_in_force(batch).first_sealed;
  Query again(database_->prepare("SELECT 1 FROM archive WHERE first_sealed = ?"));
  if (again.bind(first ? first->hash : batch.hash).step()) return true;
  if (!first) return false;
  const auto stream = stream_id(first->stream);
  if (!stream) return false;
  Query known(
      database_->prepare("SELECT 1 FROM archive WHERE stream = ? AND sequence = ? AND hash = ?"));
  return known.bind(*stream, first->sequence, first->hash).step();
}

StreamLedger::Verdict SqliteStore::judge_batch(Turn& turn, const Apply& batch) {
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
void SqliteStore::follow(Turn& turn, const Apply& batch, bool took_effect_before) {
  const Effects& effects = effects_in_force(batch);
  const std::int64_t stream = open_stream(turn, batch.header.stream).id;
  std::optional<WallTime> first, last;
  if (const auto span = observed_span(batch, took_effect_before)) {
    first = span->first;
    last = span->last;
  }
  database_->run(
      "INSERT INTO archive (stream, sequence, hash, arrived, message, first_time, last_time)"
      " VALUES (?, ?, ?, ?, ?, ?, ?)",
      stream, batch.header.sequence, batch.hash, batch.arrived, *batch.message, first, last);
  if (effects.first_sealed)
    database_->run("UPDATE archive SET first_sealed = ? WHERE id = ?", effects.first_sealed->hash,
                   database_->last_row());
  turn.archived_bytes += batch.message->size();
  if (!batch.effects.refused.empty()) {
    const Loss line = refused_loss(batch);
    database_->run(
        "INSERT INTO refused (stream, sequence, noted, first_time, last_time, records, bytes, "
        "reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        stream, line.first, line.noted, line.first_time, line.last_time, line.records, line.bytes,
        line.reason);
    database_->run("DELETE FROM refused WHERE id <= ?",
                   database_->last_row() - static_cast<std::int64_t>(kRefusedMax));
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
        "DESC LIMIT -1 OFFSET ?)",
        released, static_cast<std::int64_t>(kReleasesPerStreamMax));
  }
  if (effects.probe) write_trace(trace_of(batch, *effects.probe));
}

void SqliteStore::put_aside(std::int64_t stream, std::uint64_t sequence, const Digest& hash,
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
  database_->run("DELETE FROM equivocation WHERE id <= ?",
                 database_->last_row() - static_cast<std::int64_t>(kEquivocationsMax));
  count("equivocations", 1);
}

void SqliteStore::project(Turn& turn, const Apply& batch) {
  const Effects& effects = effects_in_force(batch);
  const NodeId& node = batch.header.stream.node;
  const Bytes setter = setter_of(batch);
  for (const LatestValue& value : effects.values)
    database_->run(
        "INSERT INTO latest_value (node, metric, attributes, unit, value, is_integer, time, setter)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (node, metric, attributes) DO UPDATE SET unit = excluded.unit, value = "
        "excluded.value,"
        " is_integer = excluded.is_integer, time = excluded.time, setter = excluded.setter"
        " WHERE excluded.setter >= latest_value.setter",
        node, value.metric, value.attributes, value.unit, value.value, value.integer, value.time,
        setter);
  if (!effects.values.empty()) turn.nodes_with_values.insert(node);
  for (const Entity& entity : effects.entities)
    database_->run(
        "INSERT INTO entity (node, type, id, attributes, time, setter) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (node, type, id) DO UPDATE SET attributes = excluded.attributes, time = "
        "excluded.time,"
        " setter = excluded.setter WHERE excluded.setter >= entity.setter",
        node, entity.type, entity.id, entity.attributes, entity.time, setter);
  if (!effects.entities.empty()) turn.nodes_with_entities.insert(node);
}

/// What goes are the rows that were set longest ago, so the result is the same for every order of
/// arrival: a row that went could only come back with a newer setter.
void SqliteStore::bound_projections(const Turn& turn) {
  const auto exceeds = [&](std::string_view sql, const NodeId& node, std::size_t limit) {
    Query rows(database_->prepare(sql));
    return rows.bind(node).step() && rows.u64(0) > limit;
  };
  for (const NodeId& node : turn.nodes_with_values)
    if (exceeds("SELECT count(*) FROM latest_value WHERE node = ?", node, kLatestValuesPerNodeMax))
      database_->run(
          "DELETE FROM latest_value WHERE node = ?1 AND (metric, attributes) NOT IN"
          " (SELECT metric, attributes FROM latest_value WHERE node = ?1"
          "  ORDER BY setter DESC, metric, attributes LIMIT ?2)",
          node, static_cast<std::int64_t>(kLatestValuesPerNodeMax));
  for (const NodeId& node : turn.nodes_with_entities)
    if (exceeds("SELECT count(*) FROM entity WHERE node = ?", node, kEntitiesPerNodeMax))
      database_->run(
          "DELETE FROM entity WHERE node = ?1 AND (type, id) NOT IN"
          " (SELECT type, id FROM entity WHERE node = ?1 ORDER BY setter DESC, type, id LIMIT ?2)",
          node, static_cast<std::int64_t>(kEntitiesPerNodeMax));
}

std::optional<std::int64_t> SqliteStore::stream_id(const wire::StreamKey& key) {
  Query found(
      database_->prepare("SELECT id FROM stream WHERE node = ? AND epoch_ordinal = ? AND "
                         "epoch_random = ? AND lane = ?"));
  found.bind(key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane));
  if (!found.step()) return std::nullopt;
  return found.integer(0);
}

bool SqliteStore::has_room_for(const Turn& turn, const wire::StreamKey& key) {
  if (turn.streams.contains(key) || stream_id(key)) return true;
  Query known(
      database_->prepare("SELECT 1 FROM stream WHERE node = ? AND epoch_ordinal = ? AND "
                         "epoch_random = ? LIMIT 1"));
  if (known.bind(key.node, key.epoch.ordinal, key.epoch.random).step()) return true;
  Query epochs(
      database_->prepare("SELECT count(*) FROM (SELECT DISTINCT epoch_ordinal, epoch_random FROM "
                         "stream WHERE node = ?)"));
  return !epochs.bind(key.node).step() || may_begin_epoch(epochs.u64(0));
}

SqliteStore::OpenStream& SqliteStore::open_stream(Turn& turn, const wire::StreamKey& key) {
  if (auto open = turn.streams.find(key); open != turn.streams.end()) return open->second;
  std::optional<std::int64_t> id = stream_id(key);
  if (!id) {
    database_->run(
        "INSERT INTO stream (node, epoch_ordinal, epoch_random, lane, sealed) VALUES (?, ?, ?, ?, "
        "0)",
        key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane));
    id = database_->last_row();
  }
  const StreamLedger ledger = load(*id, key);
  return turn.streams.emplace(key, OpenStream{*id, ledger, ledger}).first->second;
}

StreamLedger SqliteStore::load(std::int64_t id, const wire::StreamKey& key) {
  std::vector<Range> ranges;
  Query applied(
      database_->prepare("SELECT first, last, before, hash FROM applied_range WHERE stream = ?"));
  applied.bind(id);
  while (applied.step())
    ranges.push_back({applied.u64(0), applied.u64(1), applied.digest(2), applied.digest(3)});

  std::vector<LedgerGap> gaps;
  Query rows(
      database_->prepare("SELECT by_epoch_ordinal, by_epoch_random, by_sequence, first, last, "
                         "before, at_last, first_time, last_time,"
                         " records, bytes, reason, noted FROM gap WHERE stream = ?"));
  rows.bind(id);
  while (rows.step()) {
    wire::GapRecord record{key,
                           rows.u64(3),
                           rows.u64(4),
                           rows.digest(5),
                           rows.digest(6),
                           rows.time(7),
                           rows.time(8),
                           rows.u64(9),
                           rows.u64(10),
                           static_cast<wire::GapRecord::Reason>(rows.u32(11))};
    gaps.push_back({{record.first, record.last, record.before, record.at_last},
                    {rows.u32(0), rows.u64(1)},
                    rows.u64(2),
                    record,
                    rows.optional_time(12)});
  }

  std::uint64_t sealed = 0;
  std::optional<Digest> sealed_hash;
  Query head(database_->prepare("SELECT sealed, sealed_hash FROM stream WHERE id = ?"));
  if (head.bind(id).step()) {
    sealed = head.u64(0);
    if (!head.null(1)) sealed_hash = head.digest(1);
  }
  auto ledger = StreamLedger::restore(key, sealed, std::move(ranges), std::move(gaps), sealed_hash);
  if (!ledger) throw SQLite::Exception(ledger.error().message, SQLITE_CORRUPT);
  return *ledger;
}

/// Writes what changed and no more: usually the one interval that grew.
void SqliteStore::save(const OpenStream& stream) {
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
      database_->run("DELETE FROM applied_range WHERE stream = ? AND first = ?", id, range.first);
    for (const Range& range : come)
      database_->run(
          "INSERT INTO applied_range (stream, first, last, before, hash) VALUES (?, ?, ?, ?, ?)",
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

void SqliteStore::raise_sealed(const Seen& seen, const Seen::Sealed& sealed) {
  Turn turn;
  if (!has_room_for(turn, sealed.stream)) return;
  OpenStream& stream = open_stream(turn, sealed.stream);
  if (const auto found = stream.now.raise_sealed(sealed.sequence, sealed.hash))
    put_aside(stream.id, sealed.sequence, sealed.hash, *found, seen.time.value_or(WallTime{}),
              seen.head);
  save(stream);
}

void SqliteStore::count(std::string_view name, std::int64_t by) {
  database_->run("UPDATE counter SET value = value + ? WHERE name = ?", by, name);
}

std::uint64_t SqliteStore::counter(std::string_view name) {
  Query query(database_->prepare("SELECT value FROM counter WHERE name = ?"));
  return query.bind(name).step() ? query.u64(0) : 0;
}

}  // namespace postern::store
