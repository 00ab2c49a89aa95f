#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/node_id.h"
#include "base/result.h"

namespace postern::store {

/// What went wrong inside a database. At home below Database::guarded() and transaction(), which
/// make errors of it.
class Failure : public std::runtime_error {
 public:
  /// Whether the same transaction may go well when it is begun anew.
  enum class Again { no, once, often };
  Failure(Errc code, const std::string& words, Again again = Again::no)
      : std::runtime_error(words), code_(code), again_(again) {}
  Errc code() const { return code_; }
  Again again() const { return again_; }

 private:
  Errc code_;
  Again again_;
};

/// A prepared statement of one kind of database, as Query uses it: bound, executed, read, reset.
/// Places and columns count as in SQL: places from 1, columns from 0. What fails throws.
class Statement {
 public:
  virtual ~Statement() = default;
  virtual void bind_null(int place) = 0;
  virtual void bind_integer(int place, std::int64_t value) = 0;
  virtual void bind_real(int place, double value) = 0;
  virtual void bind_text(int place, std::string_view value) = 0;
  virtual void bind_bytes(int place, ByteView value) = 0;

  /// Executes at the first call; true while there is a row.
  virtual bool step() = 0;
  /// Executes it for what it does. That may happen later; then a failure shows at the next row that
  /// is read, or when the transaction ends.
  virtual void run() = 0;
  virtual void reset() noexcept = 0;
  /// As run() for each time it is bound, together when run_added() comes or earlier.
  virtual void add() { run(); }
  virtual void run_added() {}
  /// Executes it ahead; its rows are read after the receive() that comes in the same order. No more
  /// than Database::ahead_max() at a time, and other statements only after the last receive().
  virtual void send() = 0;
  virtual void receive() = 0;

  virtual bool null(int column) = 0;
  virtual std::int64_t integer(int column) = 0;
  virtual double real(int column) = 0;
  virtual ByteView bytes(int column) = 0;  // text too; until the next step
};

/// A prepared statement in use: bound from left to right, stepped, read; reset when it goes.
///
/// 64-bit unsigned numbers are stored as the signed number of the same bits: equality is exact,
/// order is not, so SQL never compares them. What SQL must order is a big-endian blob.
class Query {
 public:
  explicit Query(Statement& statement) : statement_(&statement) {}
  Query(Query&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  Query& operator=(Query&&) = delete;
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query() {
    if (statement_) statement_->reset();
  }

  template <typename... Values>
  Query& bind(const Values&... values) {
    (put(values), ...);
    return *this;
  }
  bool step() { return statement_->step(); }
  void run() { statement_->run(); }

  bool null(int column) { return statement_->null(column); }
  std::int64_t integer(int column) { return statement_->integer(column); }
  std::uint64_t u64(int column) { return std::bit_cast<std::uint64_t>(integer(column)); }
  std::uint32_t u32(int column) { return static_cast<std::uint32_t>(integer(column)); }
  double real(int column) { return statement_->real(column); }
  std::string text(int column) { return to_string(statement_->bytes(column)); }
  Bytes blob(int column) { return to_bytes(statement_->bytes(column)); }
  WallTime time(int column) { return wall_from_ms(integer(column)); }
  std::optional<WallTime> optional_time(int column) {
    return null(column) ? std::nullopt : std::optional(time(column));
  }
  std::optional<std::uint64_t> optional_u64(int column) {
    return null(column) ? std::nullopt : std::optional(u64(column));
  }
  /// Throws Failure when the blob has another size: the row is not ours.
  void array(int column, std::span<std::byte> out);
  Digest digest(int column);

 private:
  friend class Database;
  void put(std::nullptr_t) { statement_->bind_null(++at_); }
  void put(bool value) { put(static_cast<std::int64_t>(value)); }
  void put(int value) { put(static_cast<std::int64_t>(value)); }
  void put(std::uint32_t value) { put(static_cast<std::int64_t>(value)); }
  void put(std::int64_t value) { statement_->bind_integer(++at_, value); }
  void put(std::uint64_t value) { put(std::bit_cast<std::int64_t>(value)); }
  void put(double value) { statement_->bind_real(++at_, value); }
  void put(std::string_view value) { statement_->bind_text(++at_, value); }
  void put(const std::string& value) { put(std::string_view(value)); }
  void put(const char* value) { put(std::string_view(value)); }
  void put(ByteView value) { statement_->bind_bytes(++at_, value); }
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

  Statement* statement_;
  int at_ = 0;
};

/// The statements in which the kinds of database differ; all others are the same text. Literals.
struct Dialect {
  /// stream, sequence, hash, arrived, message, first and last time, hash it had first
  std::string_view keep_batch;
  std::string_view message;      // of the batch with this id; no row: it is not kept any more
  std::string_view oldest;       // id, arrived, bytes of so many batches
  std::string_view keep_value;   // node, metric, attributes, unit, value, is_integer, time, setter
  std::string_view keep_entity;  // node, type, id, attributes, time, setter
  std::string_view count;        // how much, name of the counter
  std::string_view counter;      // by its name
};

/// A database of one kind, and its prepared statements. Blocking; one thread for life.
///
/// Statements are written for SQLite 3.40 and PostgreSQL 15 alike: places are `?` or `?1`; a
/// ` FOR UPDATE` at the end is dropped where a transaction that writes is alone anyway.
class Database {
 public:
  virtual ~Database() = default;
  Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  virtual const Dialect& dialect() const = 0;
  /// `sql` must be a literal: the statement is kept for ever under its text.
  virtual Statement& prepare(std::string_view sql) = 0;
  /// Within transaction_beside(): from here to its end no other transaction of transaction() runs.
  /// Comes before the first row that is locked.
  virtual void be_alone() = 0;
  /// See Store::tidy().
  virtual Result<> tidy() = 0;

  template <typename... Values>
  void run(std::string_view sql, const Values&... values) {
    Query(prepare(sql)).bind(values...).run();
  }
  /// Runs the statement for each of `items` for what it does. No two of them are of one row.
  template <typename Items, typename Bind>
  void run_each(std::string_view sql, const Items& items, Bind&& bind) {
    Statement& statement = prepare(sql);
    for (const auto& item : items) {
      Query query(statement);
      bind(query, item);
      statement.add();
    }
    statement.run_added();
  }
  /// Runs the statement for each of `items`: `bind(query, item)` binds it, `read(query, item)`
  /// steps it. Some are under way at a time, so `bind` runs ahead of `read`, and neither may use
  /// the database.
  template <typename Items, typename Bind, typename Read>
  void each(std::string_view sql, Items&& items, Bind&& bind, Read&& read) {
    Statement& statement = prepare(sql);
    for (auto at = std::begin(items); at != std::end(items);) {
      auto ahead = at;
      for (std::size_t n = 0; n < ahead_max() && ahead != std::end(items); ++n, ++ahead) {
        Query query(statement);
        bind(query, *ahead);
        statement.send();
        query.statement_ = nullptr;  // reset when it was read
      }
      for (; at != ahead; ++at) {
        Query query(statement);
        statement.receive();
        read(query, *at);
      }
    }
  }

  /// Runs `body`, which reads and returns a Result; what it throws becomes an error. All that it
  /// reads is of one moment.
  template <typename Body>
  auto guarded(std::string_view doing, Body&& body) -> decltype(body()) {
    return attempt(doing, Access::reads, body);
  }
  /// The same in one transaction that writes. When it returns a value, that is on stable storage;
  /// when it returns an error, of the body's or of the commit's, nothing of it happened, but where
  /// the connection to the database was lost during the commit. One such transaction runs at a
  /// time, whoever has the database open. `body` may run several times.
  template <typename Body>
  auto transaction(std::string_view doing, Body&& body) -> decltype(body()) {
    return attempt(doing, Access::writes_alone, body);
  }
  /// The same beside others: the body locks what it decides on.
  template <typename Body>
  auto transaction_beside(std::string_view doing, Body&& body) -> decltype(body()) {
    return attempt(doing, Access::writes_beside, body);
  }

 protected:
  enum class Access { reads, writes_alone, writes_beside };
  virtual void begin(Access access) = 0;
  virtual void commit(Access access) = 0;
  virtual void roll_back() noexcept = 0;
  /// What `thrown` means; called while it is handled.
  virtual Failure failure(const std::runtime_error& thrown) = 0;
  virtual Error error(std::string_view doing, const Failure& failure) = 0;
  virtual std::size_t ahead_max() const { return 1; }

  /// How often a transaction is begun in all that others were in the way of.
  static constexpr int kTriesMax = 10;

 private:
  static bool may_go_again(Failure::Again again, int tries) {
    return again == Failure::Again::often ? tries < kTriesMax
                                          : again == Failure::Again::once && tries < 2;
  }
  template <typename Body>
  auto attempt(std::string_view doing, Access access, Body& body) -> decltype(body()) {
    for (int tries = 1;; ++tries) {
      try {
        begin(access);
        auto result = body();
        if (result)
          commit(access);
        else
          roll_back();
        return result;
      } catch (const std::runtime_error& thrown) {
        const Failure known = failure(thrown);
        roll_back();
        if (!may_go_again(known.again(), tries)) return std::unexpected(error(doing, known));
      }
    }
  }
};

}  // namespace postern::store
