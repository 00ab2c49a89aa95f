#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "postgresql/postgresql.h"
#include "store/database.h"

namespace postern::postgresql {

/// Rows that a statement returned. Reading is bounds-checked; what has another shape than the
/// reader expects throws store::Failure.
class Rows {
 public:
  explicit Rows(PGresult* result) : result_(result) {}

  int count() const { return PQntuples(result_.get()); }
  bool null(int row, int column) const;
  ByteView bytes(int row, int column) const;
  std::int64_t integer(int row, int column) const;  // of 2, 4 or 8 bytes
  double real(int row, int column) const;
  std::string text(int row, int column) const { return to_string(bytes(row, column)); }

 private:
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

/// Where the rows of a statement that was sent go.
using RowsInbox = std::deque<Rows>;

/// A value of a statement, in PostgreSQL's binary form.
struct Parameter {
  Oid type = 0;  // 0: as the statement's text has it
  bool null = true;
  std::string value;

  static Parameter integer(std::int64_t value);
  static Parameter real(double value);
  static Parameter bytes(ByteView value);  // text too: see schema.cc
  /// One column of many rows, to be unnested; all but nulls are of one type.
  static Parameter array(std::span<const Parameter> elements);
};

/// One connection to PostgreSQL, always in pipeline mode: what is sent is executed in order and
/// answered later. Blocking; one thread. Everything throws store::Failure; after a failure nothing
/// more is executed until settle().
class Connection {
 public:
  /// Connects, checks what the promises rest on, and sets the session up.
  explicit Connection(const Options& options);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Whether it is known to be of no use any more. Asks nobody.
  bool lost();
  const std::string& place() const { return place_; }  // "HOST:PORT, database NAME"

  void send_prepare(const std::string& name, const std::string& sql,
                    std::span<const Parameter> parameters);
  /// `inbox` gets the rows, none: they are not wanted. It outlives the answer, or abandon().
  void send_prepared(const std::string& name, std::span<const Parameter> parameters,
                     RowsInbox* inbox);
  void send(const char* sql);
  /// Until everything that was sent is answered.
  void receive();
  /// Likewise; then the pipeline is fresh, also after a failure. The failure is thrown at the end.
  void settle();
  /// Several statements at once, while nothing is under way.
  void execute(const std::string& sql);
  bool in_transaction() const;

 private:
  void check_and_set_up(const Options& options);
  void sent(int done, RowsInbox* inbox);
  void take(PGresult* result, RowsInbox* inbox);
  [[noreturn]] void throw_first();
  store::Failure failure_of(const PGresult* result) const;

  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Finish> connection_;
  std::deque<RowsInbox*> awaited_;       // answers that will come, in order
  std::optional<store::Failure> first_;  // since the last settle()
  std::string place_;
  bool broken_ = false;
};

/// Limits of a connection, as libpq and PostgreSQL spell them; the first three yield to the URL.
inline constexpr const char* kConnectTimeoutSeconds = "10";
inline constexpr const char* kTcpUserTimeoutMs = "30000";  // unanswered bytes on the way
inline constexpr const char* kKeepaliveSeconds = "10";
inline constexpr const char* kLockTimeout = "10s";
inline constexpr const char* kStatementTimeout = "120s";
inline constexpr const char* kIdleInTransactionTimeout = "60s";  // then it frees its locks
/// Statements sent and not yet answered; then the answers are taken.
inline constexpr std::size_t kAwaitedMax = 1000;

inline constexpr int kServerVersionMin = 150000;

}  // namespace postern::postgresql
