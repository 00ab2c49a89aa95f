// The tokens by which machines join.

#include "store/rules.h"
#include "store/sql_store.h"

namespace postern::store {
namespace {

#define POSTERN_JOIN_TOKENS                                                                      \
  "SELECT id, key, role, name_pattern, parents, approves, uses_max, created_by, created, "       \
  "expires, revoked, generation, (SELECT count(*) FROM join_use WHERE token = join_token.row), " \
  "row FROM join_token "

JoinToken read_join_token(Query& row) {
  JoinToken token;
  token.id = row.text(0);
  token.key = row.blob(1);
  token.role = static_cast<Role>(row.integer(2));
  token.name_pattern = row.text(3);
  token.parents = split_names(row.text(4));
  token.approves = row.integer(5) != 0;
  token.uses_max = row.u32(6);
  token.created_by = row.text(7);
  token.created = row.time(8);
  token.expires = row.time(9);
  token.revoked = row.optional_time(10);
  token.generation = row.u32(11);
  token.uses = row.u32(12);
  return token;
}

}  // namespace

Result<> SqlStore::add_join_token(const JoinToken& token, const AuditEntry& audit) {
  return database_->transaction("saving a join token", [&]() -> Result<> {
    Query used(database_->prepare(
        "SELECT count(*) FROM join_token WHERE revoked IS NULL AND expires > ?"));
    used.bind(token.created).step();
    if (auto may = may_add_join_token(static_cast<std::size_t>(used.integer(0))); !may) return may;
    database_->run(
        "INSERT INTO join_token (id, key, role, name_pattern, parents, approves, uses_max, "
        "created_by, created, expires, revoked, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
        "?, ?)",
        token.id, token.key, static_cast<int>(token.role), token.name_pattern,
        join_names(token.parents), token.approves, token.uses_max, token.created_by, token.created,
        token.expires, token.revoked, token.generation);
    database_->run(
        "DELETE FROM join_token WHERE row IN (SELECT row FROM join_token WHERE revoked IS NOT NULL "
        "OR expires <= ? ORDER BY row DESC LIMIT 1000000000 OFFSET ?)",
        token.created, static_cast<std::int64_t>(kJoinTokensOverMax));
    write_audit(audit);
    return {};
  });
}

Result<bool> SqlStore::revoke_join_token(std::string_view id, WallTime now,
                                         const AuditEntry& audit) {
  return database_->transaction("revoking a join token", [&]() -> Result<bool> {
    Query known(database_->prepare("SELECT 1 FROM join_token WHERE id = ? AND revoked IS NULL"));
    if (!known.bind(id).step()) return false;
    database_->run("UPDATE join_token SET revoked = ? WHERE id = ?", now, id);
    write_audit(audit);
    return true;
  });
}

Result<std::optional<JoinToken>> SqlStore::join_token(std::string_view id) {
  return database_->guarded("reading a join token", [&]() -> Result<std::optional<JoinToken>> {
    Query query(database_->prepare(POSTERN_JOIN_TOKENS "WHERE id = ?"));
    if (!query.bind(id).step()) return std::optional<JoinToken>();
    return read_join_token(query);
  });
}

Result<std::vector<JoinToken>> SqlStore::join_tokens() {
  return database_->guarded("reading the join tokens", [&]() -> Result<std::vector<JoinToken>> {
    Query query(database_->prepare(POSTERN_JOIN_TOKENS "ORDER BY row DESC"));
    std::vector<JoinToken> tokens;
    while (query.step()) tokens.push_back(read_join_token(query));
    return tokens;
  });
}

Result<JoinUsed> SqlStore::use_join_token(const JoinUse& use, const AuditEntry& audit) {
  return database_->transaction("using a join token", [&]() -> Result<JoinUsed> {
    Query query(database_->prepare(POSTERN_JOIN_TOKENS "WHERE id = ?"));
    if (!query.bind(use.token).step())
      return fail(Errc::invalid, "there is no join token {}", use.token);
    const JoinToken token = read_join_token(query);
    const std::int64_t row = query.integer(13);
    std::optional<std::int64_t> number;
    Query known(database_->prepare("SELECT number FROM join_use WHERE token = ? AND node = ?"));
    if (known.bind(row, use.node).step()) number = known.integer(0);
    const JoinUsed used = judge_use(token, number, use);
    if (used.verdict == JoinUsed::Verdict::replayed || used.verdict == JoinUsed::Verdict::used_up)
      return used;
    database_->run(
        "INSERT INTO join_use (token, node, name, first, last, number) VALUES (?1, ?2, ?3, ?4, ?4, "
        "?5) ON CONFLICT (token, node) DO UPDATE SET name = ?3, last = ?4, number = ?5",
        row, use.node, use.name, use.time, use.number);
    write_audit(audit);
    return used;
  });
}

}  // namespace postern::store
