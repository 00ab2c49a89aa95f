#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "store/store.h"

namespace postern::store {

/// Store in memory, for simulation and tests: plain maps of values, and the same decisions as every
/// other store. Deterministic: equal calls give equal answers and an equal state. Every change is
/// whole: what can fail is asked before anything is changed.
///
/// Several stores may work on the same memory (view()): two servers on one database. The memory
/// lives as long as the last of them; all of them belong to one thread.
class MemoryStore final : public Store {
 public:
  MemoryStore();
  ~MemoryStore() override;

  /// Another store on the same memory. It fails by a hook of its own.
  std::unique_ptr<MemoryStore> view() const;
  /// A store on a copy of the memory as it is now; archived messages are shared, not copied.
  std::unique_ptr<MemoryStore> copy() const;
  /// The memory becomes what `backup` holds, for all views: commits are lost, a backup is restored.
  void restore(const MemoryStore& backup);

  /// Asked before each change with what is about to be done ("applying batches", ...), and before
  /// each latest value with "latest value NAME"; an error fails the whole call, which then changed
  /// nothing. Also asked by reads, as "reading ...".
  using Hook = std::function<std::optional<Error>(std::string_view doing)>;
  void fail_when(Hook hook) { hook_ = std::move(hook); }

  Result<std::vector<Outcome>> apply(std::span<const Apply> batches) override;
  Result<> tidy() override;
  Result<wire::Coverage> applied(const wire::StreamKey& stream) override;
  Result<wire::Coverage> settled_coverage(const wire::StreamKey& stream) override;
  Result<std::vector<StreamRow>> streams(const NodeId& node) override;
  Result<std::vector<ArchivedBatch>> archive(const NodeId& node, std::size_t limit) override;
  Result<std::vector<PlacedBatch>> observations(const ObservationFilter& filter) override;
  Result<std::optional<ArchivedBatch>> archived(const wire::StreamKey& stream,
                                                std::uint64_t sequence) override;
  Result<std::vector<Hole>> holes(std::size_t limit) override;
  Result<std::vector<Loss>> losses(const LossFilter& filter) override;
  Result<> note_loss(const Loss& notice) override;
  Result<> close_streams(const NodeId& node, WallTime now) override;
  Result<Alert> raise_alert(const Alert& alert) override;
  Result<bool> close_alert(std::string_view cause, WallTime now, std::string_view by) override;
  Result<std::vector<Alert>> update_alerts(const AlertChanges& changes, WallTime now) override;
  Result<std::vector<Alert>> alerts(bool open_only, std::size_t limit) override;
  Result<std::optional<TraceRow>> trace(ByteView id) override;
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
  Result<> add_revocations(std::span<const Revocation> revocations,
                           std::span<const AuditEntry> audit,
                           std::span<const StoredDocument> documents,
                           std::optional<WallTime> over) override;
  Result<std::vector<Revocation>> revocations() override;
  Result<> audit(const AuditEntry& entry) override;
  Result<std::vector<AuditEntry>> audit_log(std::size_t limit,
                                            std::optional<std::int64_t> before) override;
  Result<> add_api_token(const ApiToken& token, const AuditEntry& audit) override;
  Result<bool> revoke_api_token(std::string_view id, WallTime now,
                                const AuditEntry& audit) override;
  Result<> api_token_used(std::string_view id, WallTime now) override;
  Result<std::optional<ApiToken>> api_token(std::string_view id) override;
  Result<std::vector<ApiToken>> api_tokens() override;
  Result<> add_join_token(const JoinToken& token, const AuditEntry& audit) override;
  Result<bool> revoke_join_token(std::string_view id, WallTime now,
                                 const AuditEntry& audit) override;
  Result<std::optional<JoinToken>> join_token(std::string_view id) override;
  Result<std::vector<JoinToken>> join_tokens() override;
  Result<JoinUsed> use_join_token(const JoinUse& use, const AuditEntry& audit) override;
  Result<std::uint32_t> generation() override;
  Result<std::uint32_t> raise_generation(std::uint32_t at_least) override;
  Result<std::optional<std::string>> setting(std::string_view key) override;
  Result<> set_setting(std::string_view key, std::string_view value) override;

 private:
  struct Memory;
  explicit MemoryStore(std::shared_ptr<Memory> memory);
  Result<> ask(std::string_view doing) const;
  ApiToken* find_token(std::string_view id);
  JoinToken* find_join_token(std::string_view id);

  // Shared by all views, so that the memory outlives each server that has a view.
  std::shared_ptr<Memory> memory_;
  Hook hook_;
};

}  // namespace postern::store
