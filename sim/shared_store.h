#pragma once

#include <memory>

#include "sim/oracle.h"
#include "store/store.h"

namespace postern::sim {

/// One server's connection to the store that all servers of the run share; tells the oracle what
/// was committed. It holds no state: it ends with its server, the store stays.
class SharedStore final : public store::Store {
 public:
  SharedStore(store::Store& store, Oracle& oracle) : store_(store), oracle_(oracle) {}

  Result<std::vector<store::Outcome>> apply(std::span<const store::Apply> batches) override;

  Result<> tidy() override { return store_.tidy(); }
  Result<wire::Coverage> applied(const wire::StreamKey& stream) override {
    return store_.applied(stream);
  }
  Result<wire::Coverage> settled_coverage(const wire::StreamKey& stream) override {
    return store_.settled_coverage(stream);
  }
  Result<std::vector<store::StreamRow>> streams(const NodeId& node) override {
    return store_.streams(node);
  }
  Result<std::vector<store::ArchivedBatch>> archive(const NodeId& node,
                                                    std::size_t limit) override {
    return store_.archive(node, limit);
  }
  Result<std::optional<store::ArchivedBatch>> archived(const wire::StreamKey& stream,
                                                       std::uint64_t sequence) override {
    return store_.archived(stream, sequence);
  }
  Result<std::vector<store::PlacedBatch>> observations(const ObservationFilter& filter) override {
    return store_.observations(filter);
  }
  Result<std::vector<store::Hole>> holes(std::size_t limit) override { return store_.holes(limit); }
  Result<std::vector<store::Loss>> losses(const LossFilter& filter) override {
    return store_.losses(filter);
  }
  Result<> note_loss(const store::Loss& notice) override { return store_.note_loss(notice); }
  Result<> close_streams(const NodeId& node, WallTime now) override {
    return store_.close_streams(node, now);
  }
  Result<store::Alert> raise_alert(const store::Alert& alert) override {
    return store_.raise_alert(alert);
  }
  Result<bool> close_alert(std::string_view cause, WallTime now, std::string_view by) override {
    return store_.close_alert(cause, now, by);
  }
  Result<std::vector<store::Alert>> update_alerts(const store::AlertChanges& changes,
                                                  WallTime now) override {
    return store_.update_alerts(changes, now);
  }
  Result<std::vector<store::Alert>> alerts(bool open_only, std::size_t limit) override {
    return store_.alerts(open_only, limit);
  }
  Result<std::optional<store::TraceRow>> trace(ByteView id) override { return store_.trace(id); }
  Result<std::size_t> trim_archive(WallTime older_than, std::uint64_t bytes_max,
                                   std::size_t limit) override {
    return store_.trim_archive(older_than, bytes_max, limit);
  }
  Result<std::vector<store::Equivocation>> equivocations(std::size_t limit) override {
    return store_.equivocations(limit);
  }
  Result<std::uint64_t> equivocation_count() override { return store_.equivocation_count(); }
  Result<std::vector<store::LatestValue>> latest(const NodeId& node) override {
    return store_.latest(node);
  }
  Result<std::vector<store::Entity>> entities(const NodeId& node) override {
    return store_.entities(node);
  }
  Result<std::vector<store::Node>> nodes() override { return store_.nodes(); }
  Result<std::optional<store::Node>> node(const NodeId& id) override { return store_.node(id); }
  Result<std::optional<store::Node>> node_by_name(std::string_view name) override {
    return store_.node_by_name(name);
  }
  Result<std::vector<store::Node>> nodes_named(std::string_view name) override {
    return store_.nodes_named(name);
  }
  Result<store::Node> save_node(const store::Node& node,
                                const std::optional<store::AuditEntry>& audit,
                                std::span<const store::StoredDocument> documents) override {
    return store_.save_node(node, audit, documents);
  }
  Result<> erase_node(std::int64_t row, const store::AuditEntry& audit) override {
    return store_.erase_node(row, audit);
  }
  Result<std::size_t> seen(std::span<const Seen> seen) override;
  Result<std::uint64_t> next_document_number(std::uint32_t type) override {
    return store_.next_document_number(type);
  }
  Result<> save_document(const store::StoredDocument& document) override {
    return store_.save_document(document);
  }
  Result<std::vector<store::StoredDocument>> documents(std::uint32_t type) override {
    return store_.documents(type);
  }
  Result<> add_revocations(std::span<const store::Revocation> revocations,
                           std::span<const store::AuditEntry> audit,
                           std::span<const store::StoredDocument> documents,
                           std::optional<WallTime> over) override {
    return store_.add_revocations(revocations, audit, documents, over);
  }
  Result<std::vector<store::Revocation>> revocations() override { return store_.revocations(); }
  Result<> audit(const store::AuditEntry& entry) override { return store_.audit(entry); }
  Result<std::vector<store::AuditEntry>> audit_log(std::size_t limit,
                                                   std::optional<std::int64_t> before) override {
    return store_.audit_log(limit, before);
  }
  Result<> add_api_token(const store::ApiToken& token, const store::AuditEntry& audit) override {
    return store_.add_api_token(token, audit);
  }
  Result<bool> revoke_api_token(std::string_view id, WallTime now,
                                const store::AuditEntry& audit) override {
    return store_.revoke_api_token(id, now, audit);
  }
  Result<> api_token_used(std::string_view id, WallTime now) override {
    return store_.api_token_used(id, now);
  }
  Result<std::optional<store::ApiToken>> api_token(std::string_view id) override {
    return store_.api_token(id);
  }
  Result<std::vector<store::ApiToken>> api_tokens() override { return store_.api_tokens(); }
  Result<> add_join_token(const store::JoinToken& token, const store::AuditEntry& audit) override {
    return store_.add_join_token(token, audit);
  }
  Result<bool> revoke_join_token(std::string_view id, WallTime now,
                                 const store::AuditEntry& audit) override {
    return store_.revoke_join_token(id, now, audit);
  }
  Result<std::optional<store::JoinToken>> join_token(std::string_view id) override {
    return store_.join_token(id);
  }
  Result<std::vector<store::JoinToken>> join_tokens() override { return store_.join_tokens(); }
  Result<store::JoinUsed> use_join_token(const store::JoinUse& use,
                                         const store::AuditEntry& audit) override {
    return store_.use_join_token(use, audit);
  }
  Result<std::uint32_t> generation() override { return store_.generation(); }
  Result<std::uint32_t> raise_generation(std::uint32_t at_least) override {
    oracle_.count("a new generation");
    return store_.raise_generation(at_least);
  }
  Result<std::optional<std::string>> setting(std::string_view key) override {
    return store_.setting(key);
  }
  Result<> set_setting(std::string_view key, std::string_view value) override {
    return store_.set_setting(key, value);
  }

 private:
  store::Store& store_;
  Oracle& oracle_;
};

}  // namespace postern::sim
