// The tokens of the API.

#include "store/rules.h"
#include "store/sql_store.h"

namespace postern::store {
namespace {

#define POSTERN_TOKEN_COLUMNS \
  "id, secret_sha256, label, scope, created_by, created, expires, last_used, revoked"

ApiToken read_token(Query& row) {
  ApiToken token;
  token.id = row.text(0);
  token.secret_sha256 = row.digest(1);
  token.label = row.text(2);
  token.scope = static_cast<Scope>(row.integer(3));
  token.created_by = row.text(4);
  token.created = row.time(5);
  token.expires = row.optional_time(6);
  token.last_used = row.optional_time(7);
  token.revoked = row.optional_time(8);
  return token;
}

}  // namespace

Result<> SqlStore::add_api_token(const ApiToken& token, const AuditEntry& audit) {
  return database_->transaction("saving an API token", [&]() -> Result<> {
    Query used(database_->prepare(
        "SELECT count(*) FROM api_token WHERE revoked IS NULL AND (expires IS NULL OR expires > "
        "?)"));
    used.bind(token.created).step();
    if (auto may = may_add_token(static_cast<std::size_t>(used.integer(0))); !may) return may;
    database_->run("INSERT INTO api_token (" POSTERN_TOKEN_COLUMNS
                   ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   token.id, token.secret_sha256, token.label, static_cast<int>(token.scope),
                   token.created_by, token.created, token.expires, token.last_used, token.revoked);
    database_->run(
        "DELETE FROM api_token WHERE row IN (SELECT row FROM api_token WHERE revoked IS NOT NULL "
        "OR expires <= ? ORDER BY row DESC LIMIT 1000000000 OFFSET ?)",
        token.created, static_cast<std::int64_t>(kApiTokensOverMax));
    write_audit(audit);
    return {};
  });
}

Result<bool> SqlStore::revoke_api_token(std::string_view id, WallTime now,
                                        const AuditEntry& audit) {
  return database_->transaction("revoking an API token", [&]() -> Result<bool> {
    Query known(database_->prepare("SELECT 1 FROM api_token WHERE id = ? AND revoked IS NULL"));
    if (!known.bind(id).step()) return false;
    database_->run("UPDATE api_token SET revoked = ? WHERE id = ?", now, id);
    write_audit(audit);
    return true;
  });
}

Result<> SqlStore::api_token_used(std::string_view id, WallTime now) {
  return database_->transaction("noting an API token's use", [&]() -> Result<> {
    database_->run("UPDATE api_token SET last_used = ? WHERE id = ?", now, id);
    return {};
  });
}

Result<std::optional<ApiToken>> SqlStore::api_token(std::string_view id) {
  return database_->guarded("reading an API token", [&]() -> Result<std::optional<ApiToken>> {
    Query query(database_->prepare("SELECT " POSTERN_TOKEN_COLUMNS " FROM api_token WHERE id = ?"));
    if (!query.bind(id).step()) return std::optional<ApiToken>();
    return read_token(query);
  });
}

Result<std::vector<ApiToken>> SqlStore::api_tokens() {
  return database_->guarded("reading the API tokens", [&]() -> Result<std::vector<ApiToken>> {
    Query query(
        database_->prepare("SELECT " POSTERN_TOKEN_COLUMNS " FROM api_token ORDER BY row DESC"));
    std::vector<ApiToken> tokens;
    while (query.step()) tokens.push_back(read_token(query));
    return tokens;
  });
}

}  // namespace postern::store
