#include "store/sqlite_schema.h"

#include <array>

namespace postern::store {
namespace {

/// "PSTN": tells our file from any other SQLite database.
constexpr std::int64_t kApplicationId = 0x5053'544e;

/// Step n brings version n to n+1. A step that was released is never changed; a new one is added.
///
/// Conventions: times are Unix milliseconds; u64 are the signed number of the same bits (never
/// ordered in SQL); setter is epoch ordinal u32, epoch random u64, sequence u64, lane u8,
/// big-endian, so that its bytes order as rule B50 wants; edition is generation u32, number u64,
/// likewise.
constexpr std::array kSteps = {
    R"sql(
CREATE TABLE stream (
  id INTEGER PRIMARY KEY,
  node BLOB NOT NULL,
  epoch_ordinal INTEGER NOT NULL,
  epoch_random INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  sealed INTEGER NOT NULL,
  UNIQUE (node, epoch_ordinal, epoch_random, lane)
);
CREATE TABLE applied_range (
  stream INTEGER NOT NULL REFERENCES stream(id),
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  before BLOB NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (stream, first)
) WITHOUT ROWID;
CREATE TABLE gap (
  stream INTEGER NOT NULL REFERENCES stream(id),
  by_epoch_ordinal INTEGER NOT NULL,
  by_epoch_random INTEGER NOT NULL,
  by_sequence INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  before BLOB NOT NULL,
  at_last BLOB NOT NULL,
  first_time INTEGER NOT NULL,
  last_time INTEGER NOT NULL,
  records INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  PRIMARY KEY (stream, by_epoch_ordinal, by_epoch_random, by_sequence)
) WITHOUT ROWID;
CREATE TABLE epoch_opening (
  stream INTEGER NOT NULL REFERENCES stream(id),
  sequence INTEGER NOT NULL,
  opening BLOB NOT NULL,  -- batch.md#B24
  PRIMARY KEY (stream, sequence)
) WITHOUT ROWID;
CREATE TABLE equivocation (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream INTEGER NOT NULL REFERENCES stream(id),
  sequence INTEGER NOT NULL,
  hash BLOB NOT NULL,
  disputed INTEGER NOT NULL,
  known BLOB NOT NULL,
  claimed BLOB NOT NULL,
  arrived INTEGER NOT NULL,
  message BLOB NOT NULL,
  UNIQUE (stream, sequence, hash)
);

CREATE TABLE archive (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream INTEGER NOT NULL REFERENCES stream(id),
  sequence INTEGER NOT NULL,
  hash BLOB NOT NULL,
  arrived INTEGER NOT NULL,
  message BLOB NOT NULL,
  UNIQUE (stream, sequence)
);
CREATE INDEX archive_by_arrival ON archive (arrived, id);

CREATE TABLE latest_value (
  node BLOB NOT NULL,
  metric TEXT NOT NULL,
  attributes TEXT NOT NULL,
  unit TEXT NOT NULL,
  value REAL,  -- NULL is not-a-number
  is_integer INTEGER NOT NULL,
  time INTEGER NOT NULL,
  setter BLOB NOT NULL,
  PRIMARY KEY (node, metric, attributes)
) WITHOUT ROWID;
CREATE TABLE entity (
  node BLOB NOT NULL,
  type TEXT NOT NULL,
  id TEXT NOT NULL,
  attributes TEXT NOT NULL,
  time INTEGER NOT NULL,
  setter BLOB NOT NULL,
  PRIMARY KEY (node, type, id)
) WITHOUT ROWID;

CREATE TABLE node (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  id BLOB,
  identity_key BLOB NOT NULL,
  role INTEGER NOT NULL,
  standing INTEGER NOT NULL,
  parents TEXT NOT NULL,
  direction INTEGER NOT NULL,
  reason TEXT NOT NULL,
  decided_by TEXT NOT NULL,
  decided INTEGER,
  approval BLOB NOT NULL,
  first_seen INTEGER,
  last_seen INTEGER,
  connected INTEGER NOT NULL,
  address TEXT NOT NULL,
  path TEXT NOT NULL,
  software TEXT NOT NULL,
  certificate_sha256 TEXT NOT NULL,
  certificate_not_after INTEGER,
  head_number INTEGER,
  head BLOB NOT NULL
);
CREATE INDEX node_by_name ON node (name);
CREATE INDEX node_by_id ON node (id);
CREATE UNIQUE INDEX node_approved_name ON node (name) WHERE standing = 1;
CREATE UNIQUE INDEX node_nameholder ON node (name) WHERE standing <> 3 AND id IS NULL;
CREATE UNIQUE INDEX node_living_id ON node (id) WHERE standing <> 3 AND id IS NOT NULL;

CREATE TABLE document_number (
  type INTEGER PRIMARY KEY,
  newest INTEGER NOT NULL
);
CREATE TABLE document (
  type INTEGER NOT NULL,
  audience BLOB NOT NULL,  -- empty: everybody
  edition BLOB NOT NULL,
  document BLOB NOT NULL,
  PRIMARY KEY (type, audience)
);
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,
  who TEXT NOT NULL,
  what TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL
);
CREATE TABLE setting (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counter VALUES ('generation', 1), ('archive_bytes', 0), ('equivocations', 0);
)sql",
    R"sql(
ALTER TABLE stream ADD COLUMN sealed_hash BLOB;  -- NULL: not known
ALTER TABLE stream ADD COLUMN has_holes INTEGER NOT NULL DEFAULT 0;
-- Too many is harmless here: whoever asks looks closer.
UPDATE stream SET has_holes = 1 WHERE sealed <> 0 AND NOT EXISTS (
  SELECT 1 FROM applied_range r WHERE r.stream = stream.id AND r.first = 1 AND r.last = sealed);
CREATE INDEX stream_with_holes ON stream (id) WHERE has_holes = 1;
ALTER TABLE gap ADD COLUMN noted INTEGER;

CREATE TABLE refused (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream INTEGER NOT NULL REFERENCES stream(id),
  sequence INTEGER NOT NULL,
  noted INTEGER NOT NULL,
  first_time INTEGER NOT NULL,
  last_time INTEGER NOT NULL,
  records INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  reason TEXT NOT NULL
);
CREATE TABLE released (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream INTEGER NOT NULL REFERENCES stream(id),
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  at_last BLOB NOT NULL,
  parent BLOB NOT NULL,
  noted INTEGER NOT NULL
);
CREATE INDEX released_by_stream ON released (stream, id);
CREATE TABLE notice (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  node BLOB NOT NULL,
  epoch_ordinal INTEGER NOT NULL,
  epoch_random INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  noted INTEGER,
  first_time INTEGER,
  last_time INTEGER,
  records INTEGER,
  bytes INTEGER,
  reason TEXT NOT NULL,
  place TEXT NOT NULL
);
CREATE INDEX notice_by_range ON notice (node, epoch_ordinal, epoch_random, lane, first, last);
CREATE TABLE alert (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  cause TEXT NOT NULL,
  severity TEXT NOT NULL,
  node BLOB,
  words TEXT NOT NULL,
  raised INTEGER NOT NULL,
  last INTEGER NOT NULL,
  count INTEGER NOT NULL,
  closed INTEGER
);
CREATE UNIQUE INDEX alert_open ON alert (cause) WHERE closed IS NULL;
CREATE INDEX alert_closed ON alert (closed, id) WHERE closed IS NOT NULL;
CREATE TABLE trace (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  node BLOB NOT NULL,
  epoch_ordinal INTEGER NOT NULL,
  epoch_random INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  sealed INTEGER NOT NULL,
  arrived INTEGER NOT NULL,
  stamps BLOB NOT NULL  -- batch.md#B15
);
)sql",
    R"sql(
ALTER TABLE archive ADD COLUMN first_sealed BLOB;  -- sealed again: the hash it had first
CREATE INDEX archive_sealed_again ON archive (first_sealed) WHERE first_sealed IS NOT NULL;
)sql",
    R"sql(
CREATE TABLE api_token (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  secret_sha256 BLOB NOT NULL,
  label TEXT NOT NULL,
  scope INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  last_used INTEGER,
  revoked INTEGER
);
)sql",
    R"sql(
-- Of what Store::observations() shows, else NULL; the index has these only.
ALTER TABLE archive ADD COLUMN first_time INTEGER;
ALTER TABLE archive ADD COLUMN last_time INTEGER;
CREATE INDEX archive_by_time ON archive (stream, last_time, id, first_time)
  WHERE last_time IS NOT NULL;
DROP INDEX archive_by_arrival;  -- ids rise as batches arrive
)sql",
    R"sql(
ALTER TABLE alert ADD COLUMN closed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE alert ADD COLUMN muted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX alert_muted ON alert (cause) WHERE muted = 1;
)sql",
    R"sql(
CREATE TABLE join_token (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  key BLOB NOT NULL,
  role INTEGER NOT NULL,
  name_pattern TEXT NOT NULL,
  parents TEXT NOT NULL,
  approves INTEGER NOT NULL,
  uses_max INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  revoked INTEGER,
  generation INTEGER NOT NULL
);
CREATE TABLE join_use (
  token INTEGER NOT NULL REFERENCES join_token(row) ON DELETE CASCADE,
  node BLOB NOT NULL,
  name TEXT NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (token, node)
) WITHOUT ROWID;
)sql",
    R"sql(
-- Zeros and '' where it is not known.
ALTER TABLE node ADD COLUMN tls_key_sha256 BLOB NOT NULL
  DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';
ALTER TABLE node ADD COLUMN certificate_issuer_sha256 BLOB NOT NULL
  DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';
ALTER TABLE node ADD COLUMN certificate_serial TEXT NOT NULL DEFAULT '';
CREATE TABLE revocation (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  tls_key_sha256 BLOB NOT NULL,
  issuer_sha256 BLOB NOT NULL,
  serial TEXT NOT NULL,
  name TEXT NOT NULL,
  reason INTEGER NOT NULL,
  not_after INTEGER,
  decided_by TEXT NOT NULL,
  decided INTEGER NOT NULL,
  UNIQUE (tls_key_sha256, issuer_sha256, serial)
);
)sql",
    R"sql(
ALTER TABLE node ADD COLUMN compromised INTEGER;
)sql",
};

std::int64_t number(SqliteDatabase& database, std::string_view sql) {
  Query query(database.prepare(sql));
  return query.step() ? query.integer(0) : 0;
}

}  // namespace

Result<> migrate(SqliteDatabase& database, const std::string& path) {
  constexpr auto kNewest = static_cast<std::int64_t>(kSteps.size());
  // Asked and done in one transaction a step: two programs that start at once do it once.
  for (bool done = false; !done;) {
    auto step = database.transaction("making the tables", [&]() -> Result<> {
      const std::int64_t version = number(database, "PRAGMA user_version");
      const bool empty = number(database, "SELECT count(*) FROM sqlite_schema") == 0;
      if (!empty && number(database, "PRAGMA application_id") != kApplicationId)
        return fail(Errc::invalid,
                    "{} is a SQLite database, but not a store of Postern; name another file", path);
      if (version > kNewest)
        return fail(Errc::invalid,
                    "{} has schema version {}, this program knows up to {}; start the newer "
                    "program that wrote it, or "
                    "restore a backup made before the upgrade",
                    path, version, kNewest);
      done = version == kNewest;
      if (done) return {};
      database.execute(kSteps[static_cast<std::size_t>(version)]);
      database.execute(fmt::format("PRAGMA user_version={}; PRAGMA application_id={}", version + 1,
                                   kApplicationId));
      return {};
    });
    if (!step) return step;
  }
  return {};
}

}  // namespace postern::store
