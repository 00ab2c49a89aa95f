#pragma once

#include "store/sqlite_database.h"

namespace postern::store {

/// Brings the file to the newest schema, one numbered step a transaction, forwards only. `invalid`
/// when a newer program wrote it, or when it is a SQLite database of somebody else.
Result<> migrate(SqliteDatabase& database, const std::string& path);

}  // namespace postern::store
