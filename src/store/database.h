#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/node_id.h"
#include "base/result.h"

namespace postern::store {

/// A prepared statement in use: bound from left to right, stepped, read; reset when it goes.
///
/// 64-bit unsigned numbers are stored as the signed number of the same bits: equality is exact,
/// order is not, so SQL never compares them. What SQL must order is a big-endian blob.
class Query {
 public:
  explicit Query(SQLite::Statement& statement) : statement_(statement) {}
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query();

  template <typename... Values>
  Query& bind(const Values&... values) {
    (put(values), ...);
    return *this;
  }
  bool step() { return statement_.executeStep(); }
  void run() { statement_.exec(); }

  bool null(int column) { return statement_.getColumn(column).isNull(); }
  std::int64_t integer(int column) { return statement_.getColumn(column).getInt64(); }
  std::uint64_t u64(int column) { return std::bit_cast<std::uint64_t>(integer(column)); }
  std::uint32_t u32(int column) { return static_cast<std::uint32_t>(integer(column)); }
  double real(int column) { return statement_.getColumn(column).getDouble(); }
  std::string text(int column) { return statement_.getColumn(column).getString(); }
  Bytes blob(int column);
  WallTime time(int column) { return wall_from_ms(integer(column)); }
  std::optional<WallTime> optional_time(int column) {
    return null(column) ? std::nullopt : std::optional(time(column));
  }
  std::optional<std::uint64_t> optional_u64(int column) {
    return null(column) ? std::nullopt : std::optional(u64(column));
  }
  /// Throws SQLite::Exception when the blob has another size: the row is not ours.
  void array(int column, std::span<std::byte> out);
  Digest digest(int column);

 private:
  void put(std::nullptr_t) { statement_.bind(++at_); }
  void put(bool value) { statement_.bind(++at_, value ? 1 : 0); }
  void put(int value) { statement_.bind(++at_, value); }
  void put(std::uint32_t value) { statement_.bind(++at_, static_cast<std::int64_t>(value)); }
  void put(std::int64_t value) { statement_.bind(++at_, value); }
  void put(std::uint64_t value) { statement_.bind(++at_, std::bit_cast<std::int64_t>(value)); }
  void put(double value) { statement_.bind(++at_, value); }
  void put(std::string_view value) { statement_.bind(++at_, std::string(value)); }
  void put(const std::string& value) { statement_.bind(++at_, value); }
  void put(const char* value) { statement_.bind(++at_, value); }
  void put(ByteView value);
  void put(const Bytes& value) { put(ByteView(value)); }
  void put(const Digest& value) { put(ByteView(value)); }
  void put(const NodeId& value) { put(ByteView(value.bytes)); }
  void put(WallTime value) { put(to_ms(value)); }
  template <typename T>
  void put(const std::optional<T>& value) {
    if (value)
      put(*value);
    else
      put(nullptr);
  }

  SQLite::Statement& statement_;
  int at_ = 0;
};

/// One SQLite file: opened, set up, and its prepared statements. Blocking; one thread for life.
///
/// Inside, SQLite's exceptions are at home; guarded() and transaction() are where they become
/// errors: `exhausted` disk full, `corrupt` not a readable database, `invalid` a constraint,
/// `unavailable` anything that may be better later.
class Database {
 public:
  static Result<std::unique_ptr<Database>> open(const std::string& path);
  /// Apart from open(), because the mode stays in the file: only one known to be ours gets it.
  Result<> use_write_ahead_log();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// `sql` must be a literal: the statement is kept for ever under its text.
  SQLite::Statement& prepare(std::string_view sql);
  template <typename... Values>
  void run(std::string_view sql, const Values&... values) {
    Query(prepare(sql)).bind(values...).run();
  }
  void execute(const std::string& sql) { sqlite_.exec(sql); }
  std::int64_t last_row() { return sqlite_.getLastInsertRowid(); }

  /// Runs `body`, which returns a Result; an exception in it becomes an error.
  template <typename Body>
  auto guarded(std::string_view doing, Body&& body) -> decltype(body()) {
    try {
      return body();
    } catch (const SQLite::Exception& exception) {
      return std::unexpected(error(doing, exception));
    }
  }
  /// The same in one transaction that writes. When it returns a value, that is on stable storage;
  /// when it returns an error, of the body's or of the commit's, nothing of it happened.
  template <typename Body>
  auto transaction(std::string_view doing, Body&& body) -> decltype(body()) {
    return guarded(doing, [&]() -> decltype(body()) {
      checkpoint_when_larger_than(kWalBytesMax);
      SQLite::Transaction transaction(sqlite_, SQLite::TransactionBehavior::IMMEDIATE);
      auto result = body();
      if (result) transaction.commit();
      return result;
    });
  }

  /// Copies the write-ahead log into the file when it is larger than `bytes`; waits for no reader.
  void checkpoint_when_larger_than(std::uint64_t bytes);

  /// Beyond the first Store::tidy() copies; beyond the second a write does it before it begins, so
  /// that a caller who never finds the time cannot make the log grow for ever.
  static constexpr std::uint64_t kWalBytesSoft = 4u << 20;
  static constexpr std::uint64_t kWalBytesMax = 64u << 20;

 private:
  explicit Database(const std::string& path);
  Error error(std::string_view doing, const SQLite::Exception& exception) const;
  static int count_wal_pages(void* self, sqlite3* handle, const char* name, int pages);

  std::string path_;
  SQLite::Database sqlite_;
  std::unordered_map<std::string_view, std::unique_ptr<SQLite::Statement>> statements_;
  std::uint64_t page_bytes_ = 0;
  std::uint64_t wal_pages_ = 0;  // after the newest commit
};

}  // namespace postern::store
