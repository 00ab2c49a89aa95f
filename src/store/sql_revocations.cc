// Certificates that count no more.

#include "store/sql_store.h"

namespace postern::store {

Result<> SqlStore::add_revocations(std::span<const Revocation> revocations,
                                   std::span<const AuditEntry> audit,
                                   std::span<const StoredDocument> documents,
                                   std::optional<WallTime> over) {
  return database_->transaction("revoking certificates", [&]() -> Result<> {
    for (const Revocation& one : revocations)
      database_->run(
          "INSERT INTO revocation (tls_key_sha256, issuer_sha256, serial, name, reason, not_after, "
          "decided_by, decided) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
          one.certificate.tls_key, one.certificate.issuer, one.certificate.serial, one.name,
          static_cast<int>(one.reason), one.not_after, one.decided_by, one.decided);
    if (over) database_->run("DELETE FROM revocation WHERE not_after < ?", *over);
    for (const AuditEntry& entry : audit) write_audit(entry);
    for (const StoredDocument& document : documents)
      if (auto written = write_document(document); !written) return written;
    return {};
  });
}

Result<std::vector<Revocation>> SqlStore::revocations() {
  return database_->guarded("reading revocations", [&]() -> Result<std::vector<Revocation>> {
    Query query(database_->prepare(
        "SELECT tls_key_sha256, issuer_sha256, serial, name, reason, not_after, decided_by, "
        "decided FROM revocation ORDER BY row"));
    std::vector<Revocation> all;
    while (query.step())
      all.push_back({{query.digest(0), query.digest(1), query.text(2)},
                     query.text(3),
                     static_cast<Revocation::Reason>(query.integer(4)),
                     query.optional_time(5),
                     query.text(6),
                     query.time(7)});
    return all;
  });
}

}  // namespace postern::store
