#include <algorithm>

#include "store/rules.h"
#include "store/sql_store.h"

namespace postern::store {
namespace {

/// A row of "SELECT id, cause, severity, node, words, raised, last, count, closed".
Alert read_alert(Query& row) {
  Alert alert;
  alert.id = row.integer(0);
  alert.cause = row.text(1);
  alert.severity = row.text(2);
  if (!row.null(3)) row.array(3, alert.node.emplace().bytes);
  alert.words = row.text(4);
  alert.raised = row.time(5);
  alert.last = row.time(6);
  alert.count = row.u64(7);
  alert.closed = row.optional_time(8);
  alert.closed_by = row.text(9);
  alert.muted = row.integer(10) != 0;
  return alert;
}

}  // namespace

const StreamLedger* SqlStore::ledger_of(Ledgers& loaded, const wire::StreamKey& key) {
  auto [at, fresh] = loaded.try_emplace(key);
  if (fresh)
    if (const auto id = stream_id(key)) at->second = load(*id, key);
  return at->second ? &*at->second : nullptr;
}

Result<std::vector<Hole>> SqlStore::holes(std::size_t limit) {
  return database_->guarded("reading holes", [&]() -> Result<std::vector<Hole>> {
    std::vector<std::pair<wire::StreamKey, std::int64_t>> streams;
    Query query(
        database_->prepare("SELECT node, epoch_ordinal, epoch_random, lane, id FROM stream"
                           " WHERE has_holes = 1"));
    while (query.step()) {
      const wire::StreamKey key = stream_in(query, 0);
      streams.emplace_back(key, query.integer(4));
    }
    std::ranges::sort(streams);
    std::vector<Hole> found;
    for (const auto& [key, id] : streams) {
      if (found.size() >= limit) break;
      std::ranges::move(load(id, key).holes(limit - found.size()), std::back_inserter(found));
    }
    return found;
  });
}

Result<std::vector<Loss>> SqlStore::losses(const LossFilter& filter) {
  return database_->guarded("reading losses", [&]() -> Result<std::vector<Loss>> {
    LossList list(filter);
    const std::optional<NodeId> node = filter.node;
    {
      std::vector<std::pair<wire::StreamKey, std::int64_t>> streams;
      Query query(
          database_->prepare("SELECT node, epoch_ordinal, epoch_random, lane, id FROM stream"
                             " WHERE (node = ?1 OR ?1 IS NULL) AND (id IN (SELECT stream FROM gap)"
                             " OR id IN (SELECT stream FROM released))"));
      query.bind(node);
      while (query.step()) {
        const wire::StreamKey key = stream_in(query, 0);
        streams.emplace_back(key, query.integer(4));
      }
      for (const auto& [key, id] : streams) {
        const StreamLedger ledger = load(id, key);
        list.add_gaps(ledger);
        Query rows(
            database_->prepare("SELECT first, last, at_last, parent, noted FROM released WHERE "
                               "stream = ? ORDER BY id"));
        rows.bind(id);
        while (rows.step()) {
          Release release{{key, rows.u64(0), rows.u64(1), rows.digest(2), {}}, rows.time(4)};
          rows.array(3, release.record.parent.bytes);
          list.add_release(&ledger, release);
        }
      }
    }
    Query refused(database_->prepare(
        "SELECT node, epoch_ordinal, epoch_random, lane, sequence, noted, first_time, last_time,"
        " records, bytes, reason FROM refused JOIN stream ON stream.id = refused.stream"
        " WHERE node = ?1 OR ?1 IS NULL ORDER BY refused.id"));
    refused.bind(node);
    while (refused.step())
      list.add_refused({Loss::Kind::refused, stream_in(refused, 0), refused.u64(4), refused.u64(4),
                        refused.time(5), refused.time(6), refused.time(7), refused.u64(8),
                        refused.u64(9), refused.text(10), ""});
    Ledgers loaded;
    Query notices(database_->prepare(
        "SELECT node, epoch_ordinal, epoch_random, lane, first, last, noted, first_time, last_time,"
        " records, bytes, reason, place FROM notice WHERE node = ?1 OR ?1 IS NULL ORDER BY id"));
    notices.bind(node);
    while (notices.step()) {
      const Loss notice{
          Loss::Kind::notice,       stream_in(notices, 0),    notices.u64(4),
          notices.u64(5),           notices.optional_time(6), notices.optional_time(7),
          notices.optional_time(8), notices.optional_u64(9),  notices.optional_u64(10),
          notices.text(11),         notices.text(12)};
      list.add_notice(ledger_of(loaded, notice.stream), notice);
    }
    return list.take();
  });
}

Result<> SqlStore::note_loss(const Loss& notice) {
  if (auto fine = check_notice(notice); !fine) return fine;
  const Loss line = notice_of(notice);
  const wire::StreamKey& key = line.stream;
  return database_->transaction("noting a loss", [&]() -> Result<> {
    Ledgers loaded;
    if (!is_news(ledger_of(loaded, key), line)) return {};
    Query known(database_->prepare(
        "SELECT 1 FROM notice WHERE node = ? AND epoch_ordinal = ? AND epoch_random = ? AND lane = "
        "? AND first = ? AND last = ? AND reason = ? AND place = ?"));
    known.bind(key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane), line.first,
               line.last, line.reason, line.where);
    if (known.step()) return {};
    database_->run(
        "INSERT INTO notice (node, epoch_ordinal, epoch_random, lane, first, last, noted, "
        "first_time, last_time, records, bytes, reason, place)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        key.node, key.epoch.ordinal, key.epoch.random, lane_number(key.lane), line.first, line.last,
        line.noted, line.first_time, line.last_time, line.records, line.bytes, line.reason,
        line.where);
    database_->run("DELETE FROM notice WHERE id <= (SELECT max(id) FROM notice) - ?",
                   static_cast<std::int64_t>(kNoticesMax));
    return {};
  });
}

Result<> SqlStore::close_streams(const NodeId& node, WallTime now) {
  return database_->transaction("closing streams", [&]() -> Result<> {
    std::vector<wire::StreamKey> open;
    {
      Query query(
          database_->prepare("SELECT node, epoch_ordinal, epoch_random, lane FROM stream"
                             " WHERE node = ? AND has_holes = 1"));
      query.bind(node);
      while (query.step()) open.push_back(stream_in(query, 0));
    }
    for (const wire::StreamKey& key : open) {
      Turn turn;
      OpenStream& stream = open_stream(turn, key);
      stream.now.close(now);
      save(stream);
    }
    return {};
  });
}

std::optional<Alert> SqlStore::open_alert(std::string_view cause) {
  Query query(database_->prepare(
      "SELECT id, cause, severity, node, words, raised, last, count, closed, closed_by, muted FROM "
      "alert WHERE cause = ? AND closed IS NULL"));
  if (!query.bind(cause).step()) return std::nullopt;
  return read_alert(query);
}

Alert SqlStore::write_alert(const Alert& alert, bool count) {
  if (auto known = open_alert(alert.cause)) {
    count ? raise_again(*known, alert) : change_alert(*known, alert);
    database_->run(
        "UPDATE alert SET severity = ?, node = ?, words = ?, last = ?, count = ? WHERE id = ?",
        known->severity, known->node, known->words, known->last, known->count, known->id);
    return *known;
  }
  unmute_alert(alert.cause);
  Alert fresh = raise_first(alert, 0);
  Query made(database_->prepare(
      "INSERT INTO alert (cause, severity, node, words, raised, last, count) VALUES (?, ?, ?, ?, "
      "?, ?, ?) RETURNING id"));
  made.bind(fresh.cause, fresh.severity, fresh.node, fresh.words, fresh.raised, fresh.last,
            fresh.count);
  fresh.id = only_row(made).integer(0);
  made.step();  // to its end: only then the statement is done
  return fresh;
}

void SqlStore::unmute_alert(std::string_view cause) {
  database_->run("UPDATE alert SET muted = 0 WHERE cause = ? AND muted = 1", cause);
}

std::optional<Alert> SqlStore::end_alert(std::string_view cause, WallTime now,
                                         std::string_view by) {
  auto known = open_alert(cause);
  if (!known) return std::nullopt;
  known->closed = now;
  known->closed_by = by;
  known->muted = !by.empty();
  database_->run("UPDATE alert SET closed = ?, closed_by = ?, muted = ? WHERE id = ?", now, by,
                 known->muted, known->id);
  database_->run(
      "DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE closed IS NOT NULL ORDER BY "
      "closed DESC, id DESC LIMIT 1000000000 OFFSET ?)",
      static_cast<std::int64_t>(kClosedAlertsMax));
  return known;
}

Result<Alert> SqlStore::raise_alert(const Alert& alert) {
  return database_->transaction("raising an alert",
                                [&]() -> Result<Alert> { return write_alert(alert, true); });
}

Result<bool> SqlStore::close_alert(std::string_view cause, WallTime now, std::string_view by) {
  return database_->transaction(
      "closing an alert", [&]() -> Result<bool> { return end_alert(cause, now, by).has_value(); });
}

Result<std::vector<Alert>> SqlStore::update_alerts(const AlertChanges& changes, WallTime now) {
  return database_->transaction("updating alerts", [&]() -> Result<std::vector<Alert>> {
    std::vector<Alert> changed;
    for (const Alert& alert : changes.raise) changed.push_back(write_alert(alert, false));
    for (const Alert& alert : changes.again) changed.push_back(write_alert(alert, true));
    for (const Alert& alert : changes.change)
      if (open_alert(alert.cause)) changed.push_back(write_alert(alert, false));
    for (const std::string& cause : changes.close) {
      unmute_alert(cause);
      if (auto closed = end_alert(cause, now, "")) changed.push_back(std::move(*closed));
    }
    return changed;
  });
}

Result<std::vector<Alert>> SqlStore::alerts(bool open_only, std::size_t limit) {
  return database_->guarded("reading alerts", [&]() -> Result<std::vector<Alert>> {
    Query query(database_->prepare(
        "SELECT id, cause, severity, node, words, raised, last, count, closed, closed_by, muted "
        "FROM alert WHERE closed IS NULL OR ? = 0 ORDER BY id DESC LIMIT ?"));
    query.bind(open_only, row_limit(limit));
    std::vector<Alert> found;
    while (query.step()) found.push_back(read_alert(query));
    return found;
  });
}

void SqlStore::write_trace(const TraceRow& row) {
  const auto known = read_trace(row.id);
  if (known && !yields_to(*known, row)) return;
  database_->run(
      "INSERT INTO trace (id, node, epoch_ordinal, epoch_random, lane, sequence, sealed, arrived, "
      "stamps) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
      " (node, epoch_ordinal, epoch_random, lane, sequence, sealed, arrived, stamps) ="
      " (excluded.node, excluded.epoch_ordinal, excluded.epoch_random, excluded.lane,"
      " excluded.sequence, excluded.sealed, excluded.arrived, excluded.stamps)",
      row.id, row.stream.node, row.stream.epoch.ordinal, row.stream.epoch.random,
      lane_number(row.stream.lane), row.sequence, row.sealed, row.arrived,
      wire::write_stamped(row.stamps, {}));
  if (!known)
    database_->run("DELETE FROM trace WHERE row <= (SELECT max(row) FROM trace) - ?",
                   static_cast<std::int64_t>(kTracesMax));
}

std::optional<TraceRow> SqlStore::read_trace(ByteView id) {
  Query query(
      database_->prepare("SELECT node, epoch_ordinal, epoch_random, lane, sequence, sealed, "
                         "arrived, stamps FROM trace WHERE id = ?"));
  if (!query.bind(id).step()) return std::nullopt;
  TraceRow row{to_bytes(id), stream_in(query, 0), query.u64(4), query.time(5), query.time(6), {}};
  const Bytes stamps = query.blob(7);
  if (auto stamped = wire::read_stamped(stamps)) row.stamps = std::move(stamped->stamps);
  return row;
}

Result<std::optional<TraceRow>> SqlStore::trace(ByteView id) {
  return database_->guarded("reading a trace",
                            [&]() -> Result<std::optional<TraceRow>> { return read_trace(id); });
}

}  // namespace postern::store
