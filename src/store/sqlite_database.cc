#include "store/sqlite_database.h"

#include <sqlite3.h>

#include <filesystem>

#include "base/disk.h"

namespace postern::store {
namespace {

constexpr int kBusyTimeoutMs = 5000;

/// SQLite gives a new file 0644 and its log files the mode of the file, so the file is made first.
Result<> make_file(const std::string& path) {
  PosixDisk disk;
  auto exists = disk.exists(path);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) return {};
  if (auto made = disk.open(path, Disk::Open::create_new); !made)
    return std::unexpected(made.error());
  auto folder = std::filesystem::path(path).parent_path();
  return disk.sync_directory(folder.empty() ? "." : folder);
}

}  // namespace

void SqliteStatement::bind_bytes(int place, ByteView value) {
  // SQLite takes a null pointer for NULL, and an empty span may hold one.
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  sqlite_.bind(place, data, static_cast<int>(value.size()));
}

void SqliteStatement::reset() noexcept {
  sqlite_.tryReset();
  // clearBindings() would throw only for a statement that does not exist.
  sqlite_.clearBindings();
}

ByteView SqliteStatement::bytes(int column) {
  const SQLite::Column value = sqlite_.getColumn(column);
  const auto* data = static_cast<const std::byte*>(value.getBlob());
  return data ? ByteView(data, static_cast<std::size_t>(value.getBytes())) : ByteView();
}

SqliteDatabase::SqliteDatabase(const std::string& path)
    : path_(path), sqlite_(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, kBusyTimeoutMs) {
  sqlite_.exec("PRAGMA synchronous=FULL");
  sqlite_.exec("PRAGMA foreign_keys=ON");
  sqlite_.exec("PRAGMA temp_store=MEMORY");
  sqlite_.exec("PRAGMA mmap_size=0");  // a read error must be an error, not a signal
  sqlite_.exec("PRAGMA trusted_schema=OFF");
  // Setting this replaces the commit hook, so ours comes after it.
  sqlite_.exec("PRAGMA wal_autocheckpoint=0");
  sqlite3_wal_hook(sqlite_.getHandle(), &SqliteDatabase::count_wal_pages, this);
  page_bytes_ = static_cast<std::uint64_t>(sqlite_.execAndGet("PRAGMA page_size").getInt64());
}

Result<std::unique_ptr<SqliteDatabase>> SqliteDatabase::open(const std::string& path) {
  if (path != ":memory:")
    if (auto made = make_file(path); !made) return fail(made.error(), "opening the store " + path);
  try {
    return std::unique_ptr<SqliteDatabase>(new SqliteDatabase(path));
  } catch (const SQLite::Exception& exception) {
    const bool not_a_database =
        exception.getErrorCode() == SQLITE_NOTADB || exception.getErrorCode() == SQLITE_CORRUPT;
    return fail(not_a_database ? Errc::corrupt : Errc::unavailable, "opening the store {}: {}",
                path, exception.what());
  }
}

Result<> SqliteDatabase::use_write_ahead_log() {
  return guarded("turning on the write-ahead log", [&]() -> Result<> {
    const std::string mode = sqlite_.execAndGet("PRAGMA journal_mode=WAL").getString();
    if (mode == "wal" || mode == "memory") return {};
    return fail(Errc::unavailable,
                "{} cannot have a write-ahead log (it stays in mode {}); put it on a local disk",
                path_, mode);
  });
}

const Dialect& SqliteDatabase::dialect() const {
  static constexpr Dialect kDialect{
      .keep_batch =
          "INSERT INTO archive (stream, sequence, hash, arrived, message, first_time, last_time, "
          "first_sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      .message = "SELECT message FROM archive WHERE id = ?",
      .oldest = "SELECT id, arrived, length(message) FROM archive ORDER BY id LIMIT ?",
      .keep_value =
          "INSERT INTO latest_value (node, metric, attributes, unit, value, is_integer, time, "
          "setter) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (node, metric, attributes) DO "
          "UPDATE SET unit = excluded.unit, value = excluded.value, is_integer = "
          "excluded.is_integer, time = excluded.time, setter = excluded.setter WHERE "
          "excluded.setter >= latest_value.setter",
      .keep_entity =
          "INSERT INTO entity (node, type, id, attributes, time, setter) VALUES (?, ?, ?, ?, ?, ?) "
          "ON CONFLICT (node, type, id) DO UPDATE SET attributes = excluded.attributes, time = "
          "excluded.time, setter = excluded.setter WHERE excluded.setter >= entity.setter",
      .count = "UPDATE counter SET value = value + ? WHERE name = ?",
      .counter = "SELECT value FROM counter WHERE name = ?"};
  return kDialect;
}

Statement& SqliteDatabase::prepare(std::string_view sql) {
  constexpr std::string_view kForUpdate = " FOR UPDATE";
  auto& statement = statements_[sql];
  if (!statement) {
    std::string text(sql);
    if (text.ends_with(kForUpdate)) text.resize(text.size() - kForUpdate.size());
    statement = std::make_unique<SqliteStatement>(sqlite_, text);
  }
  return *statement;
}

void SqliteDatabase::begin(Access access) {
  if (access == Access::reads) return;  // nobody else writes
  checkpoint_when_larger_than(kWalBytesMax);
  transaction_.emplace(sqlite_, SQLite::TransactionBehavior::IMMEDIATE);
}

void SqliteDatabase::commit(Access access) {
  if (access == Access::reads) return;
  transaction_->commit();
  transaction_.reset();
}

Result<> SqliteDatabase::tidy() {
  return guarded("checkpointing", [&]() -> Result<> {
    checkpoint_when_larger_than(kWalBytesSoft);
    return {};
  });
}

void SqliteDatabase::checkpoint_when_larger_than(std::uint64_t bytes) {
  if (wal_pages_ * page_bytes_ <= bytes) return;
  int in_log = 0, copied = 0;
  // Busy means that a reader needs the log for now: the next call will do it.
  const int code = sqlite3_wal_checkpoint_v2(sqlite_.getHandle(), nullptr,
                                             SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
  if (code != SQLITE_OK && code != SQLITE_BUSY) throw SQLite::Exception(sqlite_.getHandle(), code);
  if (code == SQLITE_OK && in_log == copied) wal_pages_ = 0;  // the next commit begins at its start
}

int SqliteDatabase::count_wal_pages(void* self, sqlite3*, const char*, int pages) {
  static_cast<SqliteDatabase*>(self)->wal_pages_ = static_cast<std::uint64_t>(pages);
  return SQLITE_OK;
}

Failure SqliteDatabase::failure(const std::runtime_error& thrown) {
  if (const auto* own = dynamic_cast<const Failure*>(&thrown)) return *own;
  const auto* exception = dynamic_cast<const SQLite::Exception*>(&thrown);
  if (!exception) throw;
  switch (exception->getErrorCode()) {
    case SQLITE_FULL:
      return {Errc::exhausted, exception->what()};
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
      return {Errc::invalid, exception->what()};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Errc::corrupt, exception->what()};
    default:
      return {Errc::unavailable, exception->what()};
  }
}

Error SqliteDatabase::error(std::string_view doing, const Failure& failure) {
  const std::string_view way_out = failure.code() == Errc::exhausted ? "; free space on its disk"
                                   : failure.code() == Errc::corrupt ? "; restore the newest backup"
                                                                     : "";
  return {failure.code(),
          fmt::format("{} in the store {}: {}{}", doing, path_, failure.what(), way_out)};
}

}  // namespace postern::store
