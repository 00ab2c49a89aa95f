#pragma once

#include <map>
#include <memory>
#include <set>
#include <tuple>

#include "store/database.h"
#include "store/store.h"
#include "store/stream_ledger.h"

namespace postern::store {

std::int64_t row_limit(std::size_t limit);  // for LIMIT
std::int64_t lane_number(wire::Lane lane);
/// The stream in columns `from` to from+3: node, epoch ordinal, epoch random, lane.
wire::StreamKey stream_in(Query& row, int from);

/// What INSERT ... RETURNING has returned.
Query& only_row(Query& query);

/// Store on a database that speaks SQL; what differs between them is in Database and its Dialect.
/// Everything that counts is in the database: no cache outlives a call.
/// sql_apply.cc holds what batches do, sql_losses.cc holes, losses, alerts and traces,
/// sql_registry.cc nodes, documents and the rest, sql_tokens.cc the API's tokens. What all stores
/// decide alike is in rules.h and stream_ledger.h.
class SqlStore final : public Store {
 public:
  explicit SqlStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}

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
  /// A stream as it is in the file, and as this transaction leaves it.
  struct OpenStream {
    std::int64_t id = 0;
    StreamLedger before, now;
  };
  /// What one apply() has touched; written back at its end.
  struct Turn {
    using RowKey = std::tuple<NodeId, std::string_view, std::string_view>;
    /// A row of a batch's effects, and its setter, which all rows of the batch share.
    template <typename Row>
    using Projected = std::map<RowKey, std::pair<const Row*, std::shared_ptr<const Bytes>>>;

    std::map<wire::StreamKey, OpenStream> streams;
    std::set<Digest> sealed_again;  // contents in the archive as batches that were sealed again
    Projected<LatestValue> values;
    Projected<Entity> entities;
    std::uint64_t archived_bytes = 0;
  };
  /// The rows of a stream.
  struct Stored {
    std::int64_t id = 0;
    wire::StreamKey key;
    std::vector<Range> ranges;
    std::vector<LedgerGap> gaps;
    std::uint64_t sealed = 0;
    std::optional<Digest> sealed_hash;
  };

  // All of these run inside guarded() or transaction().
  OpenStream& open_stream(Turn& turn, const wire::StreamKey& key);
  std::optional<std::int64_t> stream_id(const wire::StreamKey& key);
  /// Whether this stream's epoch is known, or may still be added.
  bool has_room_for(const Turn& turn, const wire::StreamKey& key);
  void open_streams(Turn& turn, std::span<const Apply> batches);
  void find_what_took_effect(Turn& turn, std::span<const Apply> batches);
  StreamLedger load(std::int64_t id, const wire::StreamKey& key);
  std::vector<StreamLedger> load_all(std::vector<Stored>& streams);
  void save(const OpenStream& stream);
  Outcome apply_one(Turn& turn, const Apply& batch);
  StreamLedger::Verdict judge_batch(Turn& turn, const Apply& batch);
  void put_aside(std::int64_t stream, std::uint64_t sequence, const Digest& hash,
                 const Contradiction& contradiction, WallTime arrived, const Bytes& message);
  bool took_effect(const Turn& turn, const Apply& batch);
  void follow(Turn& turn, const Apply& batch, bool took_effect_before);
  void write_trace(const TraceRow& row);
  std::optional<TraceRow> read_trace(ByteView id);
  void project(Turn& turn, const Apply& batch);
  void write_projections(const Turn& turn);
  void bound_projections(const Turn& turn);
  void raise_sealed(const Seen& seen, const Seen::Sealed& sealed);
  using Ledgers = std::map<wire::StreamKey, std::optional<StreamLedger>>;
  /// Null: the stream is unknown. Kept in `loaded`.
  const StreamLedger* ledger_of(Ledgers& loaded, const wire::StreamKey& key);
  std::vector<PlacedBatch> with_messages(std::vector<PlacedBatch> batches);
  void count(std::string_view name, std::int64_t by);
  std::uint64_t counter(std::string_view name);
  bool see(const Seen& seen);  // false: skipped
  Result<> write_document(const StoredDocument& document);
  void write_audit(const AuditEntry& entry);
  // Inside a transaction:
  std::optional<Alert> open_alert(std::string_view cause);
  Alert write_alert(const Alert& alert, bool count);  // `count`: when it is open already
  std::optional<Alert> end_alert(std::string_view cause, WallTime now, std::string_view by);
  void unmute_alert(std::string_view cause);

  std::unique_ptr<Database> database_;
};

}  // namespace postern::store
