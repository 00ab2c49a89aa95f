#include "store/sql_store.h"

#include <algorithm>
#include <limits>

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
  if (!wire::is_lane(lane)) throw Failure(Errc::corrupt, fmt::format("a stream of lane {}", lane));
  key.lane = static_cast<wire::Lane>(lane);
  return key;
}

Query& only_row(Query& query) {
  if (!query.step()) throw Failure(Errc::corrupt, "a row that was written is not there");
  return query;
}

Result<> SqlStore::tidy() { return database_->tidy(); }

Result<wire::Coverage> SqlStore::applied(const wire::StreamKey& stream) {
  return database_->guarded("reading what is applied", [&]() -> Result<wire::Coverage> {
    const auto id = stream_id(stream);
    if (!id) return wire::Coverage{stream, {}};
    return wire::Coverage{stream, load(*id, stream).applied()};
  });
}

Result<wire::Coverage> SqlStore::settled_coverage(const wire::StreamKey& stream) {
  return database_->guarded("reading what is settled", [&]() -> Result<wire::Coverage> {
    const auto id = stream_id(stream);
    if (!id) return wire::Coverage{stream, {}};
    return wire::Coverage{stream, load(*id, stream).settled()};
  });
}

Result<std::vector<StreamRow>> SqlStore::streams(const NodeId& node) {
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

/// Their messages are read after them, so that nothing carries these along while it sorts. What is
/// not kept any more by then is left out.
std::vector<PlacedBatch> SqlStore::with_messages(std::vector<PlacedBatch> batches) {
  database_->each(
      database_->dialect().message, batches,
      [](Query& query, const PlacedBatch& placed) { query.bind(placed.place.row); },
      [](Query& row, PlacedBatch& placed) {
        if (row.step()) placed.batch.message = std::make_shared<const Bytes>(row.blob(0));
      });
  std::erase_if(batches, [](const PlacedBatch& placed) { return !placed.batch.message; });
  return batches;
}

Result<std::vector<ArchivedBatch>> SqlStore::archive(const NodeId& node, std::size_t limit) {
  return database_->guarded("reading the archive", [&]() -> Result<std::vector<ArchivedBatch>> {
    std::vector<PlacedBatch> found;
    {
      Query query(database_->prepare(
          "SELECT node, epoch_ordinal, epoch_random, lane, sequence, arrived, archive.id"
          " FROM archive JOIN stream ON stream.id = archive.stream WHERE archive.stream IN"
          " (SELECT id FROM stream WHERE node = ?) ORDER BY archive.id DESC LIMIT ?"));
      query.bind(node, row_limit(limit));
      while (query.step())
        found.push_back(
            {{{}, query.integer(6)}, {stream_in(query, 0), query.u64(4), query.time(5), nullptr}});
    }
    std::vector<ArchivedBatch> batches;
    for (PlacedBatch& placed : with_messages(std::move(found)))
      batches.push_back(std::move(placed.batch));
    return batches;
  });
}

Result<std::optional<ArchivedBatch>> SqlStore::archived(const wire::StreamKey& key,
                                                        std::uint64_t sequence) {
  return database_->guarded("reading the archive", [&]() -> Result<std::optional<ArchivedBatch>> {
    const auto id = stream_id(key);
    if (!id) return std::nullopt;
    std::vector<PlacedBatch> found;
    {
      Query query(
          database_->prepare("SELECT arrived, id FROM archive WHERE stream = ? AND sequence = ?"));
      if (!query.bind(*id, sequence).step()) return std::nullopt;
      found.push_back({{{}, query.integer(1)}, {key, sequence, query.time(0), nullptr}});
    }
    found = with_messages(std::move(found));
    if (found.empty()) return std::nullopt;
    return std::move(found.front().batch);
  });
}

Result<std::vector<PlacedBatch>> SqlStore::observations(const ObservationFilter& filter) {
  return database_->guarded("reading the archive", [&]() -> Result<std::vector<PlacedBatch>> {
    const auto since =
        filter.since.value_or(wall_from_ms(std::numeric_limits<std::int64_t>::min()));
    const auto until =
        filter.until.value_or(wall_from_ms(std::numeric_limits<std::int64_t>::max()));
    const ArchivePlace from =
        filter.from.value_or(ArchivePlace{wall_from_ms(std::numeric_limits<std::int64_t>::max()),
                                          std::numeric_limits<std::int64_t>::max()});
    std::vector<PlacedBatch> found;
    {
      // The inner query reads nothing but the index.
      Query query(database_->prepare(
          "SELECT node, epoch_ordinal, epoch_random, lane, sequence, arrived, last_time, archive.id"
          " FROM archive JOIN stream ON stream.id = archive.stream WHERE archive.id IN"
          " (SELECT id FROM archive WHERE last_time IS NOT NULL AND stream IN"
          "  (SELECT id FROM stream WHERE node = ? AND lane = ?)"
          "  AND last_time BETWEEN ? AND ? AND first_time <= ? AND (last_time, id) <= (?, ?)"
          "  ORDER BY last_time DESC, id DESC LIMIT ?)"
          " ORDER BY last_time DESC, archive.id DESC"));
      query.bind(filter.node, lane_number(filter.lane), since, from.last, until, from.last,
                 from.row, row_limit(filter.limit));
      while (query.step())
        found.push_back({{query.time(6), query.integer(7)},
                         {stream_in(query, 0), query.u64(4), query.time(5), nullptr}});
    }
    return with_messages(std::move(found));
  });
}

Result<std::size_t> SqlStore::trim_archive(WallTime older_than, std::uint64_t bytes_max,
                                           std::size_t limit) {
  return database_->transaction("trimming the archive", [&]() -> Result<std::size_t> {
    std::uint64_t left = counter("archive_bytes");
    std::uint64_t freed = 0;
    std::vector<std::int64_t> goes;
    {
      Query oldest(database_->prepare(database_->dialect().oldest));
      oldest.bind(row_limit(limit));
      while (oldest.step() && (oldest.time(1) < older_than || left > bytes_max)) {
        goes.push_back(oldest.integer(0));
        const std::uint64_t bytes = oldest.u64(2);
        left -= std::min(left, bytes);
        freed += bytes;
      }
    }
    for (const std::int64_t id : goes) database_->run("DELETE FROM archive WHERE id = ?", id);
    if (freed > 0) count("archive_bytes", -static_cast<std::int64_t>(freed));
    return goes.size();
  });
}

Result<std::vector<Equivocation>> SqlStore::equivocations(std::size_t limit) {
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

Result<std::uint64_t> SqlStore::equivocation_count() {
  return database_->guarded("counting equivocations",
                            [&]() -> Result<std::uint64_t> { return counter("equivocations"); });
}

Result<std::vector<LatestValue>> SqlStore::latest(const NodeId& node) {
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

Result<std::vector<Entity>> SqlStore::entities(const NodeId& node) {
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
