#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "store/database.h"

namespace postern::store {

class SqliteStatement final : public Statement {
 public:
  SqliteStatement(SQLite::Database& database, const std::string& sql) : sqlite_(database, sql) {}

  void bind_null(int place) override { sqlite_.bind(place); }
  void bind_integer(int place, std::int64_t value) override { sqlite_.bind(place, value); }
  void bind_real(int place, double value) override { sqlite_.bind(place, value); }
  void bind_text(int place, std::string_view value) override {
    sqlite_.bind(place, std::string(value));
  }
  void bind_bytes(int place, ByteView value) override;
  bool step() override { return sqlite_.executeStep(); }
  void run() override { sqlite_.exec(); }
  void reset() noexcept override;
  void send() override {}
  void receive() override {}
  bool null(int column) override { return sqlite_.getColumn(column).isNull(); }
  std::int64_t integer(int column) override { return sqlite_.getColumn(column).getInt64(); }
  double real(int column) override { return sqlite_.getColumn(column).getDouble(); }
  ByteView bytes(int column) override;

 private:
  SQLite::Statement sqlite_;
};

/// One SQLite file: opened, set up, and its prepared statements. Blocking; one thread for life.
///
/// SQLite's exceptions become `exhausted` disk full, `corrupt` not a readable database, `invalid` a
/// constraint, `unavailable` anything that may be better later.
class SqliteDatabase final : public Database {
 public:
  static Result<std::unique_ptr<SqliteDatabase>> open(const std::string& path);
  /// Apart from open(), because the mode stays in the file: only one known to be ours gets it.
  Result<> use_write_ahead_log();

  const Dialect& dialect() const override;
  Statement& prepare(std::string_view sql) override;
  void be_alone() override {}
  Result<> tidy() override;
  void execute(const std::string& sql) { sqlite_.exec(sql); }

  /// Copies the write-ahead log into the file when it is larger than `bytes`; waits for no reader.
  void checkpoint_when_larger_than(std::uint64_t bytes);

  /// Beyond the first tidy() copies; beyond the second a write does it before it begins, so that a
  /// caller who never finds the time cannot make the log grow for ever.
  static constexpr std::uint64_t kWalBytesSoft = 4u << 20;
  static constexpr std::uint64_t kWalBytesMax = 64u << 20;

 protected:
  void begin(Access access) override;
  void commit(Access access) override;
  void roll_back() noexcept override { transaction_.reset(); }
  Failure failure(const std::runtime_error& thrown) override;
  Error error(std::string_view doing, const Failure& failure) override;

 private:
  explicit SqliteDatabase(const std::string& path);
  static int count_wal_pages(void* self, sqlite3* handle, const char* name, int pages);

  std::string path_;
  SQLite::Database sqlite_;
  std::unordered_map<std::string_view, std::unique_ptr<SqliteStatement>> statements_;
  std::optional<SQLite::Transaction> transaction_;
  std::uint64_t page_bytes_ = 0;
  std::uint64_t wal_pages_ = 0;  // after the newest commit
};

}  // namespace postern::store
