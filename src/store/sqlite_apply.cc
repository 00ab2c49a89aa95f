#include <sqlite3.h>

#include <algorithm>
#include <iterator>
#include <ranges>
#include <tuple>

#include "base/invariant.h"
#include "store/sqlite.h"

namespace postern::store {
namespace {

std::int64_t lane_number(wire::Lane lane) { return static_cast<std::int64_t>(lane); }

void append_big_endian(Bytes& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

/// Orders, byte by byte, as rule B50 wants.
Bytes setter_of(const wire::BatchHeader& header) {
  Bytes setter;
  append_big_endian(setter, header.stream.epoch.ordinal, 4);
  append_big_endian(setter, header.stream.epoch.random, 8);
  append_big_endian(setter, header.sequence, 8);
  // Lanes count apart; this keeps two of them from being equal, so that arrival never decides.
  setter.push_back(static_cast<std::byte>(header.stream.lane));
  return setter;
}

/// What the caller promised, checked before anything is written.
Result<> check(const Apply& batch) {
  const auto& [header, hash, message, effects, arrived] = batch;
  const std::string name = fmt::format("batch {} of {}", header.sequence, header.stream.text());
  if (header.sequence == 0) return fail(Errc::invalid, "{}: batches count from 1", name);
  if (!message || message->size() > wire::kBatchMessageBytesMax)
    return fail(Errc::invalid, "{}: its message has {} bytes, the limit is {}", name,
                message ? message->size() : 0, wire::kBatchMessageBytesMax);
  const auto& gap = effects.gap;
  if (gap && (gap->first == 0 || gap->last < gap->first))
    return fail(Errc::invalid, "{}: a gap from {} to {}", name, gap->first, gap->last);
  if (gap && gap->stream.node != header.stream.node)
    return fail(Errc::invalid, "{}: a gap of {}, which is another node's stream", name,
                gap->stream.text());
  return {};
}

}  // namespace

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
  if (!has_room_for(turn, batch.header.stream) ||
      (batch.effects.gap && !has_room_for(turn, batch.effects.gap->stream)))
    return Outcome::too_many_epochs;
  const StreamLedger::Verdict verdict = judge(turn, batch);
  const OpenStream& stream = open_stream(turn, batch.header.stream);
  if (verdict.outcome == Outcome::equivocation) {
    invariant(verdict.contradiction.has_value(), "an equivocation names the hashes");
    put_aside(stream, batch, *verdict.contradiction);
  }
  if (verdict.outcome != Outcome::applied) return verdict.outcome;
  database_->run(
      "INSERT INTO archive (stream, sequence, hash, arrived, message) VALUES (?, ?, ?, ?, ?)",
      stream.id, batch.header.sequence, batch.hash, batch.arrived, *batch.message);
  turn.archived_bytes += batch.message->size();
  if (batch.effects.opening)
    database_->run("INSERT INTO epoch_opening (stream, sequence, opening) VALUES (?, ?, ?)",
                   stream.id, batch.header.sequence, wire::encode(*batch.effects.opening));
  project(turn, batch);
  return Outcome::applied;
}

/// Batch and gap are taken together or not at all.
StreamLedger::Verdict SqliteStore::judge(Turn& turn, const Apply& batch) {
  const wire::BatchHeader& header = batch.header;
  OpenStream& own = open_stream(turn, header.stream);
  if (own.now.applied_set().contains(header.sequence)) {
    Query archived(
        database_->prepare("SELECT hash FROM archive WHERE stream = ? AND sequence = ?"));
    if (archived.bind(own.id, header.sequence).step()) {
      const Digest known = archived.digest(0);
      if (known == batch.hash) return {Outcome::duplicate, {}};
      return {Outcome::equivocation, Contradiction{header.sequence, known, batch.hash}};
    }
  }
  if (!batch.effects.gap) return own.now.add_batch(header.sequence, header.previous, batch.hash);

  const wire::GapRecord& gap = *batch.effects.gap;
  const StreamLedger untouched = own.now;
  const auto verdict = own.now.add_batch(header.sequence, header.previous, batch.hash);
  if (verdict.outcome != Outcome::applied) return verdict;
  const auto of_gap = open_stream(turn, gap.stream)
                          .now.add_gap({{gap.first, gap.last, gap.before, gap.at_last},
                                        header.stream.epoch,
                                        header.sequence,
                                        gap});
  if (of_gap.outcome != Outcome::applied) own.now = untouched;
  return of_gap;
}

void SqliteStore::put_aside(const OpenStream& stream, const Apply& batch,
                            const Contradiction& contradiction) {
  Query known(database_->prepare(
      "SELECT 1 FROM equivocation WHERE stream = ? AND sequence = ? AND hash = ?"));
  if (known.bind(stream.id, batch.header.sequence, batch.hash).step()) return;
  database_->run(
      "INSERT INTO equivocation (stream, sequence, hash, disputed, known, claimed, arrived, "
      "message)"
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      stream.id, batch.header.sequence, batch.hash, contradiction.sequence, contradiction.known,
      contradiction.claimed, batch.arrived, *batch.message);
  database_->run("DELETE FROM equivocation WHERE id <= ?",
                 database_->last_row() - static_cast<std::int64_t>(kEquivocationsMax));
  count("equivocations", 1);
}

void SqliteStore::project(Turn& turn, const Apply& batch) {
  const NodeId& node = batch.header.stream.node;
  const Bytes setter = setter_of(batch.header);
  for (const LatestValue& value : batch.effects.values)
    database_->run(
        "INSERT INTO latest_value (node, metric, attributes, unit, value, is_integer, time, setter)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (node, metric, attributes) DO UPDATE SET unit = excluded.unit, value = "
        "excluded.value,"
        " is_integer = excluded.is_integer, time = excluded.time, setter = excluded.setter"
        " WHERE excluded.setter >= latest_value.setter",
        node, value.metric, value.attributes, value.unit, value.value, value.integer, value.time,
        setter);
  if (!batch.effects.values.empty()) turn.nodes_with_values.insert(node);
  for (const Entity& entity : batch.effects.entities)
    database_->run(
        "INSERT INTO entity (node, type, id, attributes, time, setter) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (node, type, id) DO UPDATE SET attributes = excluded.attributes, time = "
        "excluded.time,"
        " setter = excluded.setter WHERE excluded.setter >= entity.setter",
        node, entity.type, entity.id, entity.attributes, entity.time, setter);
  if (!batch.effects.entities.empty()) turn.nodes_with_entities.insert(node);
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
  return !epochs.bind(key.node).step() || epochs.u64(0) < kEpochsPerNodeMax;
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
                         " records, bytes, reason FROM gap WHERE stream = ?"));
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
                    record});
  }

  Query sealed(database_->prepare("SELECT sealed FROM stream WHERE id = ?"));
  auto ledger = StreamLedger::restore(key, sealed.bind(id).step() ? sealed.u64(0) : 0,
                                      std::move(ranges), std::move(gaps));
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
          " first_time, last_time, records, bytes, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
          "?, ?, ?)",
          id, gap.by_epoch.ordinal, gap.by_epoch.random, gap.by_sequence, gap.record.first,
          gap.record.last, gap.record.before, gap.record.at_last, gap.record.first_time,
          gap.record.last_time, gap.record.records, gap.record.bytes,
          static_cast<std::int64_t>(gap.record.reason));
  }
  if (before.sealed() != now.sealed())
    database_->run("UPDATE stream SET sealed = ? WHERE id = ?", now.sealed(), id);
}

void SqliteStore::raise_sealed(const wire::StreamKey& key, std::uint64_t sealed) {
  Turn turn;
  if (!has_room_for(turn, key)) return;
  OpenStream& stream = open_stream(turn, key);
  stream.now.raise_sealed(sealed);
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
