#pragma once

#include <map>
#include <memory>
#include <set>

#include "store/database.h"
#include "store/store.h"
#include "store/stream_ledger.h"

namespace postern::store {

/// Store on one SQLite file. Everything that counts is in the file: no cache outlives a call.
/// sqlite_apply.cc holds what batches do, sqlite_registry.cc nodes, documents and the rest.
class SqliteStore final : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}

  Result<std::vector<Outcome>> apply(std::span<const Apply> batches) override;
  Result<> tidy() override;
  Result<wire::Coverage> applied(const wire::StreamKey& stream) override;
  Result<wire::Coverage> settled_coverage(const wire::StreamKey& stream) override;
  Result<std::vector<StreamRow>> streams(const NodeId& node) override;
  Result<std::vector<ArchivedBatch>> archive(const NodeId& node, std::size_t limit) override;
  Result<std::size_t> trim_archive(WallTime older_than, std::uint64_t bytes_max,
                                   std::size_t limit) override;
  Result<std::vector<Equivocation>> equivocations(std::size_t limit) override;
  Result<std::uint64_t> equivocation_count() override;
  Result<std::vector<LatestValue>> latest(const NodeId& node) override;
  Result<std::vector<Entity>> entities(const NodeId& node) override;

  Result<std::vector<Node>> nodes() override;
  Result<std::optional<Node>> node(const NodeId& id) override;
  Result<std::optional<Node>> node_by_name(std::string_view name) override;
  Result<std::vector<Node>> nodes_named(std::string_view name) override;
  Result<Node> save_node(const Node& node, const std::optional<AuditEntry>& audit,
                         std::span<const StoredDocument> documents) override;
  Result<> erase_node(std::int64_t row, const AuditEntry& audit) override;
  Result<std::size_t> seen(std::span<const Seen> seen) override;
  Result<std::uint64_t> next_document_number(std::uint32_t type) override;
  Result<> save_document(const StoredDocument& document) override;
  Result<std::vector<StoredDocument>> documents(std::uint32_t type) override;
  Result<> audit(const AuditEntry& entry) override;
  Result<std::vector<AuditEntry>> audit_log(std::size_t limit) override;
  Result<std::uint32_t> generation() override;
  Result<std::optional<std::string>> setting(std::string_view key) override;
  Result<> set_setting(std::string_view key, std::string_view value) override;

 private:
  /// A stream as it is in the file, and as this transaction leaves it.
  struct OpenStream {
    std::int64_t id = 0;
    StreamLedger before, now;
  };
  /// What one apply() has touched; written back at its end.
  struct Turn {
    std::map<wire::StreamKey, OpenStream> streams;
    std::set<NodeId> nodes_with_values, nodes_with_entities;
    std::uint64_t archived_bytes = 0;
  };

  // All of these run inside guarded() or transaction().
  OpenStream& open_stream(Turn& turn, const wire::StreamKey& key);
  std::optional<std::int64_t> stream_id(const wire::StreamKey& key);
  /// Whether this stream's epoch is known, or may still be added.
  bool has_room_for(const Turn& turn, const wire::StreamKey& key);
  StreamLedger load(std::int64_t id, const wire::StreamKey& key);
  void save(const OpenStream& stream);
  StreamLedger::Verdict judge(Turn& turn, const Apply& batch);
  Outcome apply_one(Turn& turn, const Apply& batch);
  void put_aside(const OpenStream& stream, const Apply& batch, const Contradiction& contradiction);
  void project(Turn& turn, const Apply& batch);
  void bound_projections(const Turn& turn);
  void raise_sealed(const wire::StreamKey& key, std::uint64_t sealed);
  void count(std::string_view name, std::int64_t by);
  std::uint64_t counter(std::string_view name);
  bool see(const Seen& seen);  // false: skipped
  Result<> write_document(const StoredDocument& document);
  void write_audit(const AuditEntry& entry);

  std::unique_ptr<Database> database_;
};

}  // namespace postern::store
