#include "store/sql_store.h"
#include "store/sqlite_schema.h"

namespace postern::store {

Result<std::unique_ptr<Store>> open_sqlite(const std::string& path) {
  auto database = SqliteDatabase::open(path);
  if (!database) return std::unexpected(database.error());
  if (auto migrated = migrate(**database, path); !migrated)
    return std::unexpected(migrated.error());
  if (auto logged = (*database)->use_write_ahead_log(); !logged)
    return std::unexpected(logged.error());
  return std::make_unique<SqlStore>(std::move(*database));
}

}  // namespace postern::store
