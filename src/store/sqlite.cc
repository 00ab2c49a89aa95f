#include "store/sqlite.h"

#include <sqlite3.h>

#include <algorithm>
#include <limits>

#include "store/schema.h"

namespace postern::store {

std::int64_t row_limit(std::size_t limit) {
  constexpr auto kMost = static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(limit, kMost));
}

std::int64_t lane_number(wire::Lane lane) { return static_cast<std::int64_t>(lane); }

wire::StreamKey stream_in(Query& row, int from) {
  wire::StreamKey key;
  row.array(from, key.node.bytes);
  key.epoch = {row.u32(from + 1), row.u64(from + 2)};
  const auto lane = static_cast<std::uint8_t>(row.integer(from + 3));
  if (!wire::is_lane(lane))
    throw SQLite::Exception(fmt::format("a stream of lane {}", lane), SQLITE_CORRUPT);
  key.lane = static_cast<wire::Lane>(lane);
  return key;
}

Result<std::unique_ptr<Store>> open_sqlite(const std::string& path) {
  auto database = Database::open(path);
  if (!database) return std::unexpected(database.error());
  if (auto migrated = migrate(**database, path); !migrated)
    return std::unexpected(migrated.error());
  if (auto logged = (*database)->use_write_ahead_log(); !logged)
    return std::unexpected(logged.error());
  return std::make_unique<SqliteStore>(std::move(*database));
}

Result<> SqliteStore::tidy() {
  return database_->guarded("checkpointing", [&]() -> Result<> {
    database_->checkpoint_when_larger_than(Database::kWalBytesSoft);
    return {};
  });
}

Result<wire::Coverage> SqliteStore::applied(const wire::StreamKey& stream) {
  return database_->guarded("reading what is applied", [&]() -> Result<wire::Coverage> {
    const auto id = stream_id(stream);
    if (!id) return wire::Coverage{stream, {}};
    return wire::Coverage{stream, load(*id, stream).applied()};
  });
}

Result<wire::Coverage> SqliteStore::settled_coverage(const wire::StreamKey& stream) {
  return database_->guarded("reading what is settled", [&]() -> Result<wire::Coverage> {
    const auto id = stream_id(stream);
    if (!id) return wire::Coverage{stream, {}};
    return wire::Coverage{stream, load(*id, stream).settled()};
  });
}

Result<std::vector<StreamRow>> SqliteStore::streams(const NodeId& node) {
  return database_->guarded("reading streams", [&]() -> Result<std::vector<StreamRow>> {
    std::vector<std::pair<std::int64_t, wire::StreamKey>> known;
    Query query(database_->prepare(
        "SELECT id, node, epoch_ordinal, epoch_random, lane FROM stream WHERE node = ?"));
    query.bind(node);
    while (query.step()) known.emplace_back(query.integer(0), stream_in(query, 1));
    std::ranges::sort(known, {}, [](const auto& entry) { return entry.second; });
    std::vector<StreamRow> rows;
    for (const auto& [id, key] : known) {
      const StreamLedger ledger = load(id, key);
      rows.push_back({key, ledger.sealed(), ledger.applied(), ledger.gaps(), ledger.gap_reasons()});
    }
    return rows;
  });
}

Result<std::vector<ArchivedBatch>> SqliteStore::archive(const NodeId& node, std::size_t limit) {
  return database_->guarded("reading the archive", [&]() -> Result<std::vector<ArchivedBatch>> {
    // The ids first: sorting them does not carry the messages along.
    Query query(database_->prepare(
        "SELECT node, epoch_ordinal, epoch_random, lane, sequence, arrived, message"
        " FROM archive JOIN stream ON stream.id = archive.stream WHERE archive.id IN"
        " (SELECT id FROM archive WHERE stream IN (SELECT id FROM stream WHERE node = ?) ORDER BY "
        "id DESC LIMIT ?)"
        " ORDER BY archive.id DESC"));
    query.bind(node, row_limit(limit));
    std::vector<ArchivedBatch> batches;
    while (query.step())
      batches.push_back({stream_in(query, 0), query.u64(4), query.time(5),
                         std::make_shared<const Bytes>(query.blob(6))});
    return batches;
  });
}

Result<std::optional<ArchivedBatch>> SqliteStore::archived(const wire::StreamKey& key,
                                                           std::uint64_t sequence) {
  return database_->guarded("reading the archive", [&]() -> Result<std::optional<ArchivedBatch>> {
    const auto id = stream_id(key);
    if (!id) return std::nullopt;
    Query query(database_->prepare(
        "SELECT arrived, message FROM archive WHERE stream = ? AND sequence = ?"));
    if (!query.bind(*id, sequence).step()) return std::nullopt;
    return ArchivedBatch{key, sequence, query.time(0),
                         std::make_shared<const Bytes>(query.blob(1))};
  });
}

Result<std::vector<PlacedBatch>> SqliteStore::observations(const ObservationFilter& filter) {
  return database_->guarded("reading the archive", [&]() -> Result<std::vector<PlacedBatch>> {
    const auto since =
        filter.since.value_or(wall_from_ms(std::numeric_limits<std::int64_t>::min()));
    const auto until =
        filter.until.value_or(wall_from_ms(std::numeric_limits<std::int64_t>::max()));
    const ArchivePlace from =
        filter.from.value_or(ArchivePlace{wall_from_ms(std::numeric_limits<std::int64_t>::max()),
                                          std::numeric_limits<std::int64_t>::max()});
    // The inner query reads nothing but the index; sorting does not carry the messages along.
    Query query(database_->prepare(
        "SELECT node, epoch_ordinal, epoch_random, lane, sequence, arrived, message, last_time, "
        "archive.id"
        " FROM archive JOIN stream ON stream.id = archive.stream WHERE archive.id IN"
        " (SELECT id FROM archive WHERE last_time IS NOT NULL AND stream IN"
        "  (SELECT id FROM stream WHERE node = ? AND lane = ?)"
        "  AND last_time BETWEEN ? AND ? AND first_time <= ? AND (last_time, id) <= (?, ?)"
        "  ORDER BY last_time DESC, id DESC LIMIT ?)"
        " ORDER BY last_time DESC, archive.id DESC"));
    query.bind(filter.node, lane_number(filter.lane), since, from.last, until, from.last, from.row,
               row_limit(filter.limit));
    std::vector<PlacedBatch> batches;
    while (query.step())
      batches.push_back({{query.time(7), query.integer(8)},
                         {stream_in(query, 0), query.u64(4), query.time(5),
                          std::make_shared<const Bytes>(query.blob(6))}});
    return batches;
  });
}

Result<std::size_t> SqliteStore::trim_archive(WallTime older_than, std::uint64_t bytes_max,
                                              std::size_t limit) {
  return database_->transaction("trimming the archive", [&]() -> Result<std::size_t> {
    std::uint64_t left = counter("archive_bytes");
    std::uint64_t freed = 0;
    std::vector<std::int64_t> goes;
    Query oldest(
        database_->prepare("SELECT id, arrived, length(message) FROM archive ORDER BY id LIMIT ?"));
    oldest.bind(row_limit(limit));
    while (oldest.step() && (oldest.time(1) < older_than || left > bytes_max)) {
      goes.push_back(oldest.integer(0));
      const std::uint64_t bytes = oldest.u64(2);
      left -= std::min(left, bytes);
      freed += bytes;
    }
    for (const std::int64_t id : goes) database_->run("DELETE FROM archive WHERE id = ?", id);
    count("archive_bytes", -static_cast<std::int64_t>(freed));
    return goes.size();
  });
}

Result<std::vector<Equivocation>> SqliteStore::equivocations(std::size_t limit) {
  return database_->guarded("reading equivocations", [&]() -> Result<std::vector<Equivocation>> {
    Query query(
        database_->prepare("SELECT node, epoch_ordinal, epoch_random, lane, sequence, hash, "
                           "disputed, known, claimed, arrived, message"
                           " FROM equivocation JOIN stream ON stream.id = equivocation.stream "
                           "ORDER BY equivocation.id DESC LIMIT ?"));
    query.bind(row_limit(limit));
    std::vector<Equivocation> found;
    while (query.step())
      found.push_back({stream_in(query, 0), query.u64(4), query.digest(5), query.u64(6),
                       query.digest(7), query.digest(8), query.time(9),
                       std::make_shared<const Bytes>(query.blob(10))});
    return found;
  });
}

Result<std::uint64_t> SqliteStore::equivocation_count() {
  return database_->guarded("counting equivocations",
                            [&]() -> Result<std::uint64_t> { return counter("equivocations"); });
}

Result<std::vector<LatestValue>> SqliteStore::latest(const NodeId& node) {
  return database_->guarded("reading latest values", [&]() -> Result<std::vector<LatestValue>> {
    Query query(database_->prepare(
        "SELECT metric, unit, attributes, value, is_integer, time FROM latest_value WHERE node = ?"
        " ORDER BY metric, attributes"));
    query.bind(node);
    std::vector<LatestValue> values;
    while (query.step()) {
      const double value = query.null(3) ? std::numeric_limits<double>::quiet_NaN() : query.real(3);
      values.push_back({query.text(0), query.text(1), query.text(2), value, query.integer(4) != 0,
                        query.time(5)});
    }
    return values;
  });
}

Result<std::vector<Entity>> SqliteStore::entities(const NodeId& node) {
  return database_->guarded("reading entities", [&]() -> Result<std::vector<Entity>> {
    Query query(database_->prepare(
        "SELECT type, id, attributes, time FROM entity WHERE node = ? ORDER BY type, id"));
    query.bind(node);
    std::vector<Entity> found;
    while (query.step())
      found.push_back({query.text(0), query.text(1), query.text(2), query.time(3)});
    return found;
  });
}

}  // namespace postern::store
