#include "postgresql/postgresql.h"

#include <libpq-fe.h>

#include "postgresql/database.h"
#include "postgresql/schema.h"
#include "store/sql_store.h"

namespace postern::postgresql {
namespace {

/// Never shows the URL itself: a password may stand in it.
Result<> check_url(const std::string& url) {
  char* words = nullptr;
  PQconninfoOption* options = PQconninfoParse(url.c_str(), &words);
  if (!options) {
    // libpq's own words quote the URL.
    PQfreemem(words);
    return fail(Errc::invalid,
                "the store's URL cannot be read; it must be postgresql://USER@HOST:PORT/DATABASE, "
                "with %XX for characters that mean something else there");
  }
  bool has_password = false;
  for (const PQconninfoOption* option = options; option->keyword; ++option)
    has_password = has_password || (option->val && std::string_view(option->keyword) == "password");
  PQconninfoFree(options);
  if (has_password)
    return fail(Errc::invalid,
                "the store's URL holds a password, which lists of processes, logs and files of "
                "settings would show; put it in a file and name that as store_password_file");
  return {};
}

}  // namespace

Result<std::unique_ptr<store::Store>> open_store(Options options) {
  if (auto fine = check_url(options.url); !fine) return std::unexpected(fine.error());
  auto database = std::make_unique<PostgresDatabase>(std::move(options));
  if (auto migrated = migrate(*database); !migrated) return std::unexpected(migrated.error());
  return std::make_unique<store::SqlStore>(std::move(database));
}

}  // namespace postern::postgresql
