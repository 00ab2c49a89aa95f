#include "postgresql/database.h"

#include <fmt/format.h>

#include "base/invariant.h"

namespace postern::postgresql {
namespace {

using store::Failure;
using store::Query;

/// Places `?` and `?1` as PostgreSQL writes them: $1. Our statements have no other question mark.
std::string with_dollars(std::string_view sql) {
  std::string text;
  int last = 0;
  for (std::size_t i = 0; i < sql.size(); ++i) {
    if (sql[i] != '?') {
      text += sql[i];
      continue;
    }
    text += '$';
    const bool numbered = i + 1 < sql.size() && sql[i + 1] >= '1' && sql[i + 1] <= '9';
    if (!numbered) text += fmt::format("{}", ++last);
  }
  return text;
}

}  // namespace

PostgresStatement::PostgresStatement(PostgresDatabase& database, std::string_view sql)
    : database_(database), sql_(with_dollars(sql)), unnests_(sql.find("unnest(") != sql.npos) {}

Parameter& PostgresStatement::at(int place) {
  const auto index = static_cast<std::size_t>(place - 1);
  if (parameters_.size() <= index) parameters_.resize(index + 1);
  return parameters_[index];
}

const Rows& PostgresStatement::now() const {
  invariant(rows_.has_value(), "a column is read before its row");
  return *rows_;
}

void PostgresStatement::send_into(RowsInbox* inbox) {
  Connection& connection = database_.connection();
  if (prepared_on_ != database_.connection_number()) {
    name_ = database_.name_for(*this);
    connection.send_prepare(name_, sql_, parameters_);
    prepared_on_ = database_.connection_number();
  }
  connection.send_prepared(name_, parameters_, inbox);
  std::size_t bytes = 0;
  for (const Parameter& parameter : parameters_) bytes += parameter.value.size();
  database_.wrote(bytes);
}

void PostgresStatement::send() { send_into(&inbox_); }

void PostgresStatement::receive() {
  if (inbox_.empty()) database_.connection().receive();
  if (inbox_.empty()) throw Failure(Errc::unavailable, "a statement has no answer");
  rows_ = std::move(inbox_.front());
  inbox_.pop_front();
  row_ = -1;
}

bool PostgresStatement::step() {
  if (!rows_) {
    send();
    receive();
  }
  return ++row_ < rows_->count();
}

void PostgresStatement::run() { send_into(nullptr); }

void PostgresStatement::reset() noexcept {
  rows_.reset();
  row_ = -1;
  parameters_.clear();
}

void PostgresStatement::add() {
  if (!unnests_) return run();
  added_.resize(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    added_[i].push_back(std::move(parameters_[i]));
  if (added_.front().size() >= kAddedRowsMax) run_added();
}

void PostgresStatement::run_added() {
  if (added_.empty()) return;
  parameters_.clear();
  for (const auto& column : added_) parameters_.push_back(Parameter::array(column));
  added_.clear();
  run();
  reset();
}

void PostgresStatement::abandon() {
  reset();
  added_.clear();
  inbox_.clear();
}

store::Statement& PostgresDatabase::prepare(std::string_view sql) {
  auto& statement = statements_[sql];
  if (!statement) statement = std::make_unique<PostgresStatement>(*this, sql);
  return *statement;
}

const store::Dialect& PostgresDatabase::dialect() const {
  static constexpr store::Dialect kDialect{
      .keep_batch =
          "WITH place AS (SELECT value AS part FROM counter WHERE name = 'archive_part'),"
          " kept AS (INSERT INTO archive (stream, sequence, hash, arrived, bytes, first_time,"
          " last_time, first_sealed, part) SELECT ?1::bigint, ?2::bigint, ?3::bytea, ?4::bigint,"
          " length(?5::bytea), ?6::bigint, ?7::bigint, ?8::bytea, part FROM place"
          " RETURNING part, id)"
          " INSERT INTO archive_message (part, id, message) SELECT part, id, ?5::bytea FROM kept",
      .message =
          "SELECT message FROM archive_message JOIN archive USING (part, id) WHERE archive.id = ?",
      .oldest = "SELECT id, arrived, bytes FROM archive ORDER BY id LIMIT ?",
      .keep_value =
          "INSERT INTO latest_value (node, metric, attributes, unit, value, is_integer, time,"
          " setter) SELECT * FROM unnest(?::bytea[], ?::bytea[], ?::bytea[], ?::bytea[], "
          "?::float8[],"
          " ?::bigint[], ?::bigint[], ?::bytea[])"
          " ON CONFLICT (node, sha256(metric), sha256(attributes)) DO UPDATE SET"
          " unit = excluded.unit, value = excluded.value, is_integer = excluded.is_integer,"
          " time = excluded.time, setter = excluded.setter"
          " WHERE excluded.setter >= latest_value.setter",
      .keep_entity =
          "INSERT INTO entity (node, type, id, attributes, time, setter) SELECT * FROM"
          " unnest(?::bytea[], ?::bytea[], ?::bytea[], ?::bytea[], ?::bigint[], ?::bytea[])"
          " ON CONFLICT (node, sha256(type), sha256(id)) DO UPDATE SET"
          " attributes = excluded.attributes, time = excluded.time, setter = excluded.setter"
          " WHERE excluded.setter >= entity.setter",
      .count = "INSERT INTO counted (value, name) VALUES (?, ?)",
      .counter =
          "SELECT value + coalesce((SELECT sum(value) FROM counted WHERE counted.name ="
          " counter.name), 0)::bigint FROM counter WHERE name = ?"};
  return kDialect;
}

std::string PostgresDatabase::name_for(PostgresStatement& statement) {
  fresh_.push_back(&statement);
  return fmt::format("s{}", ++names_);
}

Connection& PostgresDatabase::connection() {
  invariant(connection_ != nullptr, "a statement runs outside of a transaction");
  return *connection_;
}

void PostgresDatabase::begin(Access access) {
  if (connection_ && connection_->lost()) connection_.reset();
  if (!connection_) {
    connection_ = std::make_unique<Connection>(options_);
    ++connection_number_;
    place_ = fmt::format("PostgreSQL at {}", connection_->place());
  }
  connection_->send(access == Access::reads ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
                                            : "BEGIN ISOLATION LEVEL READ COMMITTED");
  if (access == Access::writes_alone) be_alone();
}

void PostgresDatabase::be_alone() {
  // "PSTN": one lock in each database, freed with the transaction or with its connection.
  connection().send("SELECT pg_advisory_xact_lock(x'5053544e'::bigint)");
}

void PostgresDatabase::commit(Access) {
  connection_->send("COMMIT");
  connection_->settle();
  fresh_.clear();
}

void PostgresDatabase::roll_back() noexcept {
  if (connection_) {
    try {
      try {
        connection_->settle();
      } catch (const Failure&) {  // is being handled
      }
      if (!connection_->lost() && connection_->in_transaction()) {
        connection_->send("ROLLBACK");
        connection_->settle();
      }
      if (connection_->lost()) connection_.reset();
    } catch (const Failure&) {
      connection_.reset();
    }
  }
  for (const auto& [sql, statement] : statements_) statement->abandon();
  // What failed came before some of them, or not.
  for (PostgresStatement* statement : fresh_) statement->forget();
  fresh_.clear();
}

Failure PostgresDatabase::failure(const std::runtime_error& thrown) {
  if (const auto* own = dynamic_cast<const Failure*>(&thrown)) return *own;
  throw;
}

Error PostgresDatabase::error(std::string_view doing, const Failure& failure) {
  return {failure.code(), fmt::format("{} in the store ({}): {}", doing, place_, failure.what())};
}

Result<> PostgresDatabase::tidy() {
  if (written_bytes_ < options_.tidy_every_bytes) return {};
  auto done = transaction("tidying up", [&]() -> Result<> {
    run("WITH gone AS (DELETE FROM counted RETURNING name, value),"
        " sums AS (SELECT name, sum(value)::bigint AS value FROM gone GROUP BY name)"
        " UPDATE counter SET value = counter.value + sums.value FROM sums"
        " WHERE counter.name = sums.name");
    close_large_part();
    drop_empty_parts();
    return {};
  });
  if (done) written_bytes_ = 0;
  return done;
}

void PostgresDatabase::close_large_part() {
  std::int64_t part = 0, bytes = 0;
  {
    Query query(prepare(
        "SELECT value, pg_total_relation_size(format('archive_message_%s', value)::regclass)"
        " FROM counter WHERE name = 'archive_part'"));
    if (!query.step()) return;
    part = query.integer(0);
    bytes = query.integer(1);
  }
  if (bytes < options_.part_bytes_max) return;
  // Attached instead of made as a part: that waits for nobody who writes to the others.
  execute(
      fmt::format("CREATE TABLE archive_message_{0} (LIKE archive_message INCLUDING ALL);"
                  "ALTER TABLE archive_message ATTACH PARTITION archive_message_{0}"
                  " FOR VALUES FROM ({0}) TO ({1});"
                  "UPDATE counter SET value = {0} WHERE name = 'archive_part'",
                  part + 1, part + 2));
}

/// Batches go one by one from `archive`, which is small; their messages with the part.
void PostgresDatabase::drop_empty_parts() {
  const auto empty_parts = [&] {
    std::vector<std::string> parts;
    Query query(prepare(
        "SELECT convert_to(part.relname, 'UTF8') FROM pg_inherits"
        " JOIN pg_class part ON part.oid = inhrelid,"
        " LATERAL (SELECT substr(part.relname, length('archive_message_') + 1)::bigint AS number)"
        " place WHERE inhparent = 'archive_message'::regclass"
        " AND number < (SELECT value FROM counter WHERE name = 'archive_part')"
        " AND NOT EXISTS (SELECT 1 FROM archive WHERE archive.part = number)"));
    while (query.step()) parts.push_back(query.text(0));
    return parts;
  };
  if (empty_parts().empty()) return;
  // Who began to write to one of them before the next was made has ended when this is locked.
  execute("LOCK TABLE archive_message IN ACCESS EXCLUSIVE MODE");
  for (const std::string& part : empty_parts()) execute("DROP TABLE " + part);
}

}  // namespace postern::postgresql
