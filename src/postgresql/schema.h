#pragma once

#include "postgresql/database.h"

namespace postern::postgresql {

/// Brings the schema `postern` of the database to the newest version, one numbered step a
/// transaction, forwards only. `invalid` when a newer program wrote it, or when a schema of this
/// name is somebody else's.
Result<> migrate(PostgresDatabase& database);

}  // namespace postern::postgresql
