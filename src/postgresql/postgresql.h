#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/store.h"

namespace postern::postgresql {

/// How to reach the database, and who asks.
struct Options {
  /// "postgresql://[USER@]HOST[:PORT][,...]/DATABASE[?sslmode=...]", as libpq reads it, without a
  /// password. What it does not say has libpq's defaults, but for target_session_attrs=read-write
  /// and the limits in connection.h.
  std::string url = {};
  std::string application_name = {};  // shown in pg_stat_activity
  /// Asked before each connection, on the store's thread. None: as libpq finds it (passfile,
  /// PGPASSFILE, ~/.pgpass), or none is needed.
  std::function<Result<std::string>()> password = {};
  /// A part of the archive that is larger gets no more batches; see tidy().
  std::int64_t part_bytes_max = 1ll << 30;
  /// tidy() does nothing before so much was written since the last time.
  std::uint64_t tidy_every_bytes = 64u << 20;
  /// What somebody should change about this database, at each connection, on the store's thread.
  std::function<void(const std::string& words)> warn = {};
};

/// Store on a PostgreSQL database of version 15 or newer, in its schema `postern`. Makes or
/// migrates the schema; refuses a newer one. `invalid` when the URL cannot be read or holds a
/// password, `unavailable` when the database does not answer.
///
/// Several stores, of several servers, may be open on one database: apply() runs side by side, each
/// call under the row locks of its streams; all other changes come one after another.
///
/// A connection that is lost makes the call in progress `unavailable`; the next one connects again.
/// Whether a change happened whose call ended so is not known when it was lost in the commit.
/// `denied`: the role may not do this. `exhausted`: its disk is full.
Result<std::unique_ptr<store::Store>> open_store(Options options);

}  // namespace postern::postgresql
