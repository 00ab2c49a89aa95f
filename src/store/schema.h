#pragma once

#include "store/database.h"

namespace postern::store {

/// Brings the file to the newest schema, one numbered step a transaction, forwards only. `invalid`
/// when a newer program wrote it, or when it is a SQLite database of somebody else.
Result<> migrate(Database& database, const std::string& path);

}  // namespace postern::store
