#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/node_id.h"
#include "base/result.h"
#include "wire/batch.h"
#include "wire/coverage.h"

namespace postern::store {

enum class Role : std::uint8_t { agent = 1, gateway = 2, server = 3 };
enum class Standing : std::uint8_t { pending, approved, rejected, removed };
enum class Direction : std::uint8_t { child_dials = 0, parent_dials = 1 };

/// One node of the management group as the registry knows it. A node that was approved by name
/// before it ever came has no id yet.
struct Node {
  std::int64_t row = 0;             // the store's own key; 0 before it is saved
  std::string name;                 // lower-case FQDN, unique among nodes that are not `removed`
  std::optional<NodeId> id;
  Bytes identity_key;               // SPKI; empty while the id is unknown
  Role role = Role::agent;
  Standing standing = Standing::pending;
  std::vector<std::string> parents; // allowed parents; empty: any
  Direction direction = Direction::child_dials;
  std::string reason;               // why it is pending or rejected, in words ("not approved yet", "clash: ...")
  std::string decided_by;           // who approved, rejected or removed it
  std::optional<WallTime> decided;
  Bytes approval;                   // the signed approval document, as sent
  // What was seen of it:
  std::optional<WallTime> first_seen, last_seen;
  bool connected = false;
  std::string address;              // as its parent saw it
  std::vector<std::string> path;    // names from its parent up to the server, nearest first
  std::string software;
  std::string certificate_sha256;   // hex, leaf certificate
  std::optional<WallTime> certificate_not_after;
  std::optional<std::uint64_t> head_number;
  Bytes head;                       // newest signed head, as sent
  bool operator==(const Node&) const = default;
};

struct StreamRow {
  wire::StreamKey stream;
  std::uint64_t sealed = 0;                   // highest known: from heads and from batches
  std::vector<wire::Interval> applied;
  std::vector<wire::Interval> gaps;           // by the origin's gap records
};

struct LatestValue {
  std::string metric, unit;
  std::string attributes;  // JSON object with sorted keys
  double value = 0;
  bool integer = false;
  WallTime time{};
  bool operator==(const LatestValue&) const = default;
};

struct Entity {
  std::string type;
  std::string id;          // JSON object with sorted keys
  std::string attributes;  // JSON object with sorted keys
  WallTime time{};
  bool operator==(const Entity&) const = default;
};

/// What a batch changes besides its own mark in the applied set; decoded by the caller.
struct Effects {
  std::vector<LatestValue> values;
  std::vector<Entity> entities;
  std::optional<wire::GapRecord> gap;
  std::optional<wire::EpochOpening> opening;
};

struct Apply {
  wire::BatchHeader header;
  Digest hash{};
  SharedBytes message;  // stamps and batch, archived as it came
  Effects effects;
  WallTime arrived{};
};

enum class Outcome : std::uint8_t {
  applied,
  duplicate,     // this very batch is applied already
  equivocation,  // another hash is known for this sequence, or for its predecessor (rule D1): kept aside
  too_many_holes // would need more than kIntervalsPerStreamMax intervals: not yet (rule D4)
};

inline constexpr std::size_t kIntervalsPerStreamMax = 1024;

struct AuditEntry {
  WallTime time{};
  std::string who, what, subject, detail;
};

struct ArchivedBatch {
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  WallTime arrived{};
  SharedBytes message;
};

struct StoredDocument {
  std::uint32_t type = 0;
  std::optional<NodeId> audience;
  std::uint32_t generation = 0;
  std::uint64_t number = 0;
  Bytes document;  // Signed, as sent
};

/// The management server's memory. Blocking; belongs to one thread (the store thread) for life.
/// What a call returned for is durable. Two implementations must pass store_conformance.h.
class Store {
 public:
  virtual ~Store() = default;

  /// Commits all of them in ONE transaction: archive, applied set, projections, ledger (rule D4).
  /// One outcome per batch, in order. On error nothing of it happened. The caller has verified
  /// signatures and payload hashes. Effects follow (epoch ordinal, sequence), never arrival (B50).
  virtual Result<std::vector<Outcome>> apply(std::span<const Apply> batches) = 0;
  /// What is applied of a stream; no intervals when it is unknown.
  virtual Result<wire::Coverage> applied(const wire::StreamKey& stream) = 0;
  virtual Result<std::vector<StreamRow>> streams(const NodeId& node) = 0;
  virtual Result<std::vector<ArchivedBatch>> archive(const NodeId& node, std::size_t limit) = 0;  // newest first
  /// Deletes archived batches older than `age` or beyond `bytes_max` in total, oldest first, at most
  /// `limit` rows a call; returns how many went. Never touches applied sets or projections.
  virtual Result<std::size_t> trim_archive(WallTime older_than, std::uint64_t bytes_max, std::size_t limit) = 0;

  virtual Result<std::vector<LatestValue>> latest(const NodeId& node) = 0;
  virtual Result<std::vector<Entity>> entities(const NodeId& node) = 0;

  virtual Result<std::vector<Node>> nodes() = 0;
  virtual Result<std::optional<Node>> node(const NodeId& id) = 0;            // any standing; the newest row
  virtual Result<std::optional<Node>> node_by_name(std::string_view name) = 0;  // not removed; approved first
  virtual Result<std::vector<Node>> nodes_named(std::string_view name) = 0;  // all, for clashes
  /// Inserts (row 0) or replaces the row. Returns it with its row number. `invalid` when name or id collide.
  virtual Result<Node> save_node(const Node& node, const std::optional<AuditEntry>& audit) = 0;
  virtual Result<> erase_node(std::int64_t row, const AuditEntry& audit) = 0;
  /// A head: keeps it when its number is higher than the known one; raises `sealed` of its streams.
  struct Seen {
    NodeId id;
    WallTime time{};
    std::optional<bool> connected;
    std::optional<std::string> address;
    std::optional<std::vector<std::string>> path;
    std::optional<std::string> software;
    std::optional<std::string> certificate_sha256;
    std::optional<WallTime> certificate_not_after;
    std::optional<std::uint64_t> head_number;
    Bytes head;
    std::vector<std::pair<wire::StreamKey, std::uint64_t>> sealed;
  };
  virtual Result<> seen(std::span<const Seen> seen) = 0;  // one transaction; unknown ids are skipped

  /// Documents: numbers are handed out here, per type, and never twice.
  virtual Result<std::uint64_t> next_document_number(std::uint32_t type) = 0;
  virtual Result<> save_document(const StoredDocument& document) = 0;
  virtual Result<std::vector<StoredDocument>> documents(std::uint32_t type) = 0;  // newest of each audience

  virtual Result<> audit(const AuditEntry& entry) = 0;
  virtual Result<std::vector<AuditEntry>> audit_log(std::size_t limit) = 0;  // newest first

  /// Rises by one each time the store was restored or lost commits (rule D10); 1 at first.
  virtual Result<std::uint32_t> generation() = 0;
  /// Small values of the server itself ("group.name", ...).
  virtual Result<std::optional<std::string>> setting(std::string_view key) = 0;
  virtual Result<> set_setting(std::string_view key, std::string_view value) = 0;
};

/// SQLite: WAL, synchronous=FULL, foreign keys; checkpoints on close and by wal_checkpoint(PASSIVE)
/// between transactions, off the commit path. Makes or migrates the schema; refuses a newer one.
Result<std::unique_ptr<Store>> open_sqlite(const std::string& path);

}  // namespace postern::store
