#include "store/database.h"

#include <sqlite3.h>

#include <cstring>
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

Query::~Query() {
  statement_.tryReset();
  // clearBindings() would throw only for a statement that does not exist.
  statement_.clearBindings();
}

void Query::put(ByteView value) {
  // SQLite takes a null pointer for NULL, and an empty span may hold one.
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  statement_.bind(++at_, data, static_cast<int>(value.size()));
}

Bytes Query::blob(int column) {
  const SQLite::Column value = statement_.getColumn(column);
  const auto* data = static_cast<const std::byte*>(value.getBlob());
  return data ? Bytes(data, data + value.getBytes()) : Bytes();
}

void Query::array(int column, std::span<std::byte> out) {
  const SQLite::Column value = statement_.getColumn(column);
  const void* data = value.getBlob();
  if (!data || static_cast<std::size_t>(value.getBytes()) != out.size())
    throw SQLite::Exception(fmt::format("column {} has {} bytes instead of {}", value.getName(),
                                        value.getBytes(), out.size()),
                            SQLITE_CORRUPT);
  std::memcpy(out.data(), data, out.size());
}

Digest Query::digest(int column) {
  Digest digest;
  array(column, digest);
  return digest;
}

Database::Database(const std::string& path)
    : path_(path), sqlite_(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, kBusyTimeoutMs) {
  sqlite_.exec("PRAGMA synchronous=FULL");
  sqlite_.exec("PRAGMA foreign_keys=ON");
  sqlite_.exec("PRAGMA temp_store=MEMORY");
  sqlite_.exec("PRAGMA mmap_size=0");  // a read error must be an error, not a signal
  sqlite_.exec("PRAGMA trusted_schema=OFF");
  // Setting this replaces the commit hook, so ours comes after it.
  sqlite_.exec("PRAGMA wal_autocheckpoint=0");
  sqlite3_wal_hook(sqlite_.getHandle(), &Database::count_wal_pages, this);
  page_bytes_ = static_cast<std::uint64_t>(sqlite_.execAndGet("PRAGMA page_size").getInt64());
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
  if (path != ":memory:")
    if (auto made = make_file(path); !made) return fail(made.error(), "opening the store " + path);
  try {
    return std::unique_ptr<Database>(new Database(path));
  } catch (const SQLite::Exception& exception) {
    const bool not_a_database =
        exception.getErrorCode() == SQLITE_NOTADB || exception.getErrorCode() == SQLITE_CORRUPT;
    return fail(not_a_database ? Errc::corrupt : Errc::unavailable, "opening the store {}: {}",
                path, exception.what());
  }
}

Result<> Database::use_write_ahead_log() {
  return guarded("turning on the write-ahead log", [&]() -> Result<> {
    const std::string mode = sqlite_.execAndGet("PRAGMA journal_mode=WAL").getString();
    if (mode == "wal" || mode == "memory") return {};
    return fail(Errc::unavailable,
                "{} cannot have a write-ahead log (it stays in mode {}); put it on a local disk",
                path_, mode);
  });
}

SQLite::Statement& Database::prepare(std::string_view sql) {
  auto& statement = statements_[sql];
  if (!statement) statement = std::make_unique<SQLite::Statement>(sqlite_, std::string(sql));
  return *statement;
}

void Database::checkpoint_when_larger_than(std::uint64_t bytes) {
  if (wal_pages_ * page_bytes_ <= bytes) return;
  int in_log = 0, copied = 0;
  // Busy means that a reader needs the log for now: the next call will do it.
  const int code = sqlite3_wal_checkpoint_v2(sqlite_.getHandle(), nullptr,
                                             SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
  if (code != SQLITE_OK && code != SQLITE_BUSY) throw SQLite::Exception(sqlite_.getHandle(), code);
  if (code == SQLITE_OK && in_log == copied) wal_pages_ = 0;  // the next commit begins at its start
}

int Database::count_wal_pages(void* self, sqlite3*, const char*, int pages) {
  static_cast<Database*>(self)->wal_pages_ = static_cast<std::uint64_t>(pages);
  return SQLITE_OK;
}

Error Database::error(std::string_view doing, const SQLite::Exception& exception) const {
  const auto text = [&](std::string_view way_out) {
    return fmt::format("{} in the store {}: {}{}", doing, path_, exception.what(), way_out);
  };
  switch (exception.getErrorCode()) {
    case SQLITE_FULL:
      return {Errc::exhausted, text("; free space on its disk")};
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
      return {Errc::invalid, text("")};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Errc::corrupt, text("; restore the newest backup")};
    default:
      return {Errc::unavailable, text("")};
  }
}

}  // namespace postern::store
