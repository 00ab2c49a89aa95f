#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "postgresql/connection.h"
#include "store/database.h"

namespace postern::postgresql {

class PostgresDatabase;

class PostgresStatement final : public store::Statement {
 public:
  PostgresStatement(PostgresDatabase& database, std::string_view sql);

  void bind_null(int place) override { at(place) = {}; }
  void bind_integer(int place, std::int64_t value) override {
    at(place) = Parameter::integer(value);
  }
  void bind_real(int place, double value) override { at(place) = Parameter::real(value); }
  void bind_text(int place, std::string_view value) override { bind_bytes(place, as_bytes(value)); }
  void bind_bytes(int place, ByteView value) override { at(place) = Parameter::bytes(value); }
  bool step() override;
  void run() override;
  void reset() noexcept override;
  /// A statement that unnests its parameters takes many rows as one.
  void add() override;
  void run_added() override;
  void send() override;
  void receive() override;
  bool null(int column) override { return now().null(row_, column); }
  std::int64_t integer(int column) override { return now().integer(row_, column); }
  double real(int column) override { return now().real(row_, column); }
  ByteView bytes(int column) override { return now().bytes(row_, column); }

  static constexpr std::size_t kAddedRowsMax = 1000;

  /// What was sent is not waited for any more.
  void abandon();
  /// Nobody knows whether the database has it: it is prepared anew, under another name.
  void forget() { prepared_on_ = 0; }

 private:
  Parameter& at(int place);
  const Rows& now() const;
  void send_into(RowsInbox* inbox);

  PostgresDatabase& database_;
  std::string sql_, name_;         // the name: of the newest try
  std::uint64_t prepared_on_ = 0;  // the database's connection, by its number
  const bool unnests_;
  std::vector<Parameter> parameters_;
  std::vector<std::vector<Parameter>> added_;  // columns of rows
  RowsInbox inbox_;
  std::optional<Rows> rows_;
  int row_ = -1;
};

/// A PostgreSQL database, connected when it is used. What a transaction writes goes out without
/// waiting and is answered by the time it ends.
class PostgresDatabase final : public store::Database {
 public:
  explicit PostgresDatabase(Options options)
      : options_(std::move(options)), written_bytes_(options_.tidy_every_bytes) {}

  const store::Dialect& dialect() const override;
  store::Statement& prepare(std::string_view sql) override;
  void be_alone() override;
  /// Folds the counters, closes a part of the archive that is large enough, drops those that hold
  /// nothing any more; looks when enough was written since the last time.
  Result<> tidy() override;

  /// Several statements of text, in a transaction.
  void execute(const std::string& sql) { connection().execute(sql); }
  /// For statements: the connection of the transaction that runs, and which one it is.
  Connection& connection();
  std::uint64_t connection_number() const { return connection_number_; }
  /// A name for a statement that this transaction prepares.
  std::string name_for(PostgresStatement& statement);
  void wrote(std::size_t bytes) { written_bytes_ += bytes; }

 protected:
  void begin(Access access) override;
  void commit(Access access) override;
  void roll_back() noexcept override;
  store::Failure failure(const std::runtime_error& thrown) override;
  Error error(std::string_view doing, const store::Failure& failure) override;
  std::size_t ahead_max() const override { return 64; }

 private:
  void close_large_part();
  void drop_empty_parts();

  Options options_;
  std::unique_ptr<Connection> connection_;
  std::uint64_t connection_number_ = 0;
  std::unordered_map<std::string_view, std::unique_ptr<PostgresStatement>> statements_;
  std::vector<PostgresStatement*> fresh_;  // prepared by the transaction that runs
  std::uint64_t names_ = 0;
  std::uint64_t written_bytes_ = 0;  // since tidy() looked
  std::string place_ = "PostgreSQL";
};

}  // namespace postern::postgresql
