#include <algorithm>
#include <limits>

#include "store/rules.h"
#include "store/sql_store.h"

namespace postern::store {
namespace {

constexpr std::int64_t kApproved = static_cast<std::int64_t>(Standing::approved);
constexpr std::int64_t kRemoved = static_cast<std::int64_t>(Standing::removed);
static_assert(kApproved == 1 && kRemoved == 3, "the indexes in schema.cc name these numbers");

Bytes edition_of(const StoredDocument& document) {
  Bytes edition;
  for (int i = 3; i >= 0; --i)
    edition.push_back(static_cast<std::byte>(document.generation >> (8 * i)));
  for (int i = 7; i >= 0; --i)
    edition.push_back(static_cast<std::byte>(document.number >> (8 * i)));
  return edition;
}

void read_edition(std::span<const std::byte, 12> edition, StoredDocument& document) {
  for (std::byte b : edition.first<4>())
    document.generation = document.generation << 8 | std::to_integer<std::uint32_t>(b);
  for (std::byte b : edition.last<8>())
    document.number = document.number << 8 | std::to_integer<std::uint64_t>(b);
}

// A macro, because prepared statements are kept by their literal, and only literals are joined at
// compile time.
#define POSTERN_NODE_COLUMNS                                                                  \
  "name, id, identity_key, role, standing, parents, direction, reason, decided_by, decided, " \
  "approval, "                                                                                \
  "first_seen, last_seen, connected, address, path, software, certificate_sha256, "           \
  "certificate_not_after, "                                                                   \
  "head_number, head, tls_key_sha256, certificate_issuer_sha256, certificate_serial, compromised"

#define POSTERN_NODE_PLACES \
  "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"

/// A row of "SELECT row, " POSTERN_NODE_COLUMNS.
Node read_node(Query& row) {
  Node node;
  node.row = row.integer(0);
  node.name = row.text(1);
  if (!row.null(2)) row.array(2, node.id.emplace().bytes);
  node.identity_key = row.blob(3);
  node.role = static_cast<Role>(row.integer(4));
  node.standing = static_cast<Standing>(row.integer(5));
  node.parents = split_names(row.text(6));
  node.direction = static_cast<Direction>(row.integer(7));
  node.reason = row.text(8);
  node.decided_by = row.text(9);
  node.decided = row.optional_time(10);
  node.approval = row.blob(11);
  node.first_seen = row.optional_time(12);
  node.last_seen = row.optional_time(13);
  node.connected = row.integer(14) != 0;
  node.address = row.text(15);
  node.path = split_names(row.text(16));
  node.software = row.text(17);
  node.certificate_sha256 = row.text(18);
  node.certificate_not_after = row.optional_time(19);
  node.head_number = row.optional_u64(20);
  node.head = row.blob(21);
  node.certificate = {row.digest(22), row.digest(23), row.text(24)};
  node.compromised = row.optional_time(25);
  return node;
}

std::vector<Node> read_nodes(Query& query) {
  std::vector<Node> nodes;
  while (query.step()) nodes.push_back(read_node(query));
  return nodes;
}

}  // namespace

Result<std::vector<Node>> SqlStore::nodes() {
  return database_->guarded("reading nodes", [&]() -> Result<std::vector<Node>> {
    Query query(
        database_->prepare("SELECT row, " POSTERN_NODE_COLUMNS " FROM node ORDER BY name, row"));
    return read_nodes(query);
  });
}

Result<std::optional<Node>> SqlStore::node(const NodeId& id) {
  return database_->guarded("reading a node", [&]() -> Result<std::optional<Node>> {
    Query query(database_->prepare("SELECT row, " POSTERN_NODE_COLUMNS
                                   " FROM node WHERE id = ? ORDER BY row DESC LIMIT 1"));
    if (!query.bind(id).step()) return std::optional<Node>();
    return read_node(query);
  });
}

Result<std::optional<Node>> SqlStore::node_by_name(std::string_view name) {
  return database_->guarded("reading a node", [&]() -> Result<std::optional<Node>> {
    Query query(database_->prepare(
        "SELECT row, " POSTERN_NODE_COLUMNS
        " FROM node WHERE name = ? AND standing <> ? ORDER BY standing <> ?, row LIMIT 1"));
    if (!query.bind(name, kRemoved, kApproved).step()) return std::optional<Node>();
    return read_node(query);
  });
}

Result<std::vector<Node>> SqlStore::nodes_named(std::string_view name) {
  return database_->guarded("reading nodes", [&]() -> Result<std::vector<Node>> {
    Query query(database_->prepare("SELECT row, " POSTERN_NODE_COLUMNS
                                   " FROM node WHERE name = ? ORDER BY row"));
    query.bind(name);
    return read_nodes(query);
  });
}

Result<Node> SqlStore::save_node(const Node& node, const std::optional<AuditEntry>& audit,
                                 std::span<const StoredDocument> documents) {
  const std::string doing = fmt::format("saving node {} (its name or id may be taken)", node.name);
  return database_->transaction(doing, [&]() -> Result<Node> {
    const auto put = [&](Query& query) -> Query& {
      return query.bind(node.name, node.id, node.identity_key, static_cast<int>(node.role),
                        static_cast<int>(node.standing), join_names(node.parents),
                        static_cast<int>(node.direction), node.reason, node.decided_by,
                        node.decided, node.approval, node.first_seen, node.last_seen,
                        node.connected, node.address, join_names(node.path), node.software,
                        node.certificate_sha256, node.certificate_not_after, node.head_number,
                        node.head, node.certificate.tls_key, node.certificate.issuer,
                        node.certificate.serial, node.compromised);
    };
    Node saved = node;
    if (node.row == 0) {
      Query query(database_->prepare("INSERT INTO node (" POSTERN_NODE_COLUMNS
                                     ") VALUES (" POSTERN_NODE_PLACES ") RETURNING row"));
      saved.row = only_row(put(query)).integer(0);
      query.step();  // to its end: only then the statement is done
    } else {
      Query query(database_->prepare("UPDATE node SET (" POSTERN_NODE_COLUMNS
                                     ") = (" POSTERN_NODE_PLACES ") WHERE row = ? RETURNING row"));
      if (!put(query).bind(node.row).step())
        return fail(Errc::invalid, "node {} has no row {}", node.name, node.row);
      query.step();
    }
    if (audit) write_audit(*audit);
    for (const StoredDocument& document : documents)
      if (auto written = write_document(document); !written)
        return std::unexpected(written.error());
    return saved;
  });
}

Result<> SqlStore::erase_node(std::int64_t row, const AuditEntry& audit) {
  return database_->transaction("erasing a node", [&]() -> Result<> {
    Query known(database_->prepare("SELECT 1 FROM node WHERE row = ?"));
    if (!known.bind(row).step()) return fail(Errc::invalid, "there is no node in row {}", row);
    database_->run("DELETE FROM node WHERE row = ?", row);
    write_audit(audit);
    return {};
  });
}

Result<std::size_t> SqlStore::seen(std::span<const Seen> seen) {
  if (seen.empty()) return std::size_t{0};
  return database_->transaction("noting what was seen", [&]() -> Result<std::size_t> {
    std::size_t noted = 0;
    for (const Seen& one : seen) noted += see(one) ? 1 : 0;
    return noted;
  });
}

bool SqlStore::see(const Seen& seen) {
  Query known(database_->prepare("SELECT row, " POSTERN_NODE_COLUMNS
                                 " FROM node WHERE id = ? AND standing <> ?"));
  if (!known.bind(seen.id, kRemoved).step()) return false;
  Node node = read_node(known);
  if (!note_seen(node, seen)) return false;
  database_->run(
      "UPDATE node SET first_seen = ?, last_seen = ?, connected = ?, address = ?, path = ?,"
      " software = ?, certificate_sha256 = ?, certificate_not_after = ?, head_number = ?, head = ?,"
      " tls_key_sha256 = ?, certificate_issuer_sha256 = ?, certificate_serial = ? WHERE row = ?",
      node.first_seen, node.last_seen, node.connected, node.address, join_names(node.path),
      node.software, node.certificate_sha256, node.certificate_not_after, node.head_number,
      node.head, node.certificate.tls_key, node.certificate.issuer, node.certificate.serial,
      node.row);
  for (const Seen::Sealed& sealed : seen.sealed) raise_sealed(seen, sealed);
  return true;
}

Result<std::uint64_t> SqlStore::next_document_number(std::uint32_t type) {
  return database_->transaction("taking a document number", [&]() -> Result<std::uint64_t> {
    Query query(
        database_->prepare("INSERT INTO document_number (type, newest) VALUES (?, 1)"
                           " ON CONFLICT (type) DO UPDATE SET newest = document_number.newest + 1 "
                           "RETURNING newest"));
    if (!query.bind(type).step())
      return fail(Errc::unavailable, "no number for documents of type {}", type);
    const std::uint64_t number = query.u64(0);
    query.step();  // to its end: only then the statement is done
    return number;
  });
}

Result<> SqlStore::save_document(const StoredDocument& document) {
  return database_->transaction("saving a document",
                                [&]() -> Result<> { return write_document(document); });
}

Result<> SqlStore::write_document(const StoredDocument& document) {
  // Adopted first: also an older edition's number was handed out once.
  Query taken(database_->prepare("SELECT newest FROM document_number WHERE type = ?"));
  if (!taken.bind(document.type).step() || taken.u64(0) < document.number)
    database_->run(
        "INSERT INTO document_number (type, newest) VALUES (?1, ?2)"
        " ON CONFLICT (type) DO UPDATE SET newest = ?2",
        document.type, document.number);

  const Bytes audience = document.audience ? to_bytes(document.audience->bytes) : Bytes();
  const Bytes edition = edition_of(document);
  Query known(
      database_->prepare("SELECT edition, document FROM document WHERE type = ? AND audience = ?"));
  if (known.bind(document.type, audience).step() && known.blob(0) >= edition) {
    if (known.blob(0) == edition && known.blob(1) != document.document)
      return fail(Errc::invalid,
                  "document type {} number {} of generation {} exists with other content",
                  document.type, document.number, document.generation);
    return {};
  }
  database_->run(
      "INSERT INTO document (type, audience, edition, document) VALUES (?, ?, ?, ?)"
      " ON CONFLICT (type, audience) DO UPDATE SET edition = excluded.edition,"
      " document = excluded.document",
      document.type, audience, edition, document.document);
  return {};
}

Result<std::vector<StoredDocument>> SqlStore::documents(std::uint32_t type) {
  return database_->guarded("reading documents", [&]() -> Result<std::vector<StoredDocument>> {
    Query query(database_->prepare(
        "SELECT audience, edition, document FROM document WHERE type = ? ORDER BY audience"));
    query.bind(type);
    std::vector<StoredDocument> documents;
    while (query.step()) {
      StoredDocument document{type, std::nullopt, 0, 0, query.blob(2)};
      if (!query.blob(0).empty()) query.array(0, document.audience.emplace().bytes);
      std::array<std::byte, 12> edition{};
      query.array(1, edition);
      read_edition(edition, document);
      documents.push_back(std::move(document));
    }
    return documents;
  });
}

Result<> SqlStore::audit(const AuditEntry& entry) {
  return database_->transaction("writing the audit log", [&]() -> Result<> {
    write_audit(entry);
    return {};
  });
}

void SqlStore::write_audit(const AuditEntry& entry) {
  database_->run("INSERT INTO audit (time, who, what, subject, detail) VALUES (?, ?, ?, ?, ?)",
                 entry.time, entry.who, entry.what, entry.subject, entry.detail);
  database_->run("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?",
                 static_cast<std::int64_t>(kAuditEntriesMax));
}

Result<std::vector<AuditEntry>> SqlStore::audit_log(std::size_t limit,
                                                    std::optional<std::int64_t> before) {
  return database_->guarded("reading the audit log", [&]() -> Result<std::vector<AuditEntry>> {
    Query query(database_->prepare(
        "SELECT time, who, what, subject, detail, id FROM audit WHERE id < ? ORDER BY id DESC "
        "LIMIT ?"));
    query.bind(before.value_or(std::numeric_limits<std::int64_t>::max()),
               static_cast<std::int64_t>(std::min(limit, kAuditEntriesMax)));
    std::vector<AuditEntry> entries;
    while (query.step())
      entries.push_back({query.time(0), query.text(1), query.text(2), query.text(3), query.text(4),
                         query.integer(5)});
    return entries;
  });
}

Result<std::uint32_t> SqlStore::generation() {
  return database_->guarded("reading the generation", [&]() -> Result<std::uint32_t> {
    return static_cast<std::uint32_t>(counter("generation"));
  });
}

Result<std::uint32_t> SqlStore::raise_generation(std::uint32_t at_least) {
  return database_->transaction("raising the generation", [&]() -> Result<std::uint32_t> {
    database_->run("UPDATE counter SET value = ?1 WHERE name = 'generation' AND value < ?1",
                   at_least);
    return static_cast<std::uint32_t>(counter("generation"));
  });
}

Result<std::optional<std::string>> SqlStore::setting(std::string_view key) {
  return database_->guarded("reading a setting", [&]() -> Result<std::optional<std::string>> {
    Query query(database_->prepare("SELECT value FROM setting WHERE key = ?"));
    if (!query.bind(key).step()) return std::optional<std::string>();
    return query.text(0);
  });
}

Result<> SqlStore::set_setting(std::string_view key, std::string_view value) {
  return database_->transaction("saving a setting", [&]() -> Result<> {
    database_->run(
        "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = "
        "excluded.value",
        key, value);
    return {};
  });
}

}  // namespace postern::store
