#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/certificate_mark.h"
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
  std::int64_t row = 0;  // the store's own key; 0 before it is saved
  std::string name;      // lower-case FQDN; see save_node() for who may share it
  std::optional<NodeId> id;
  Bytes identity_key;  // SPKI; empty while the id is unknown
  Role role = Role::agent;
  Standing standing = Standing::pending;
  std::vector<std::string> parents;  // allowed parents; empty: any
  Direction direction = Direction::child_dials;
  std::string reason;  // why it is pending or rejected, in words ("not approved yet", "clash: ...")
  std::string decided_by;  // who approved, rejected or removed it
  std::optional<WallTime> decided;
  /// Since when its identity key may be in other hands: what that has signed and is not applied
  /// counts no more (rule T3). Never taken back.
  std::optional<WallTime> compromised;
  Bytes approval;  // the signed approval document, as sent
  // What was seen of it:
  std::optional<WallTime> first_seen, last_seen;
  bool connected = false;
  std::string address;            // as its parent saw it
  std::vector<std::string> path;  // names from its parent up to the server, nearest first
  std::string software;
  std::string certificate_sha256;  // hex, leaf certificate
  std::optional<WallTime> certificate_not_after;
  CertificateMark certificate;  // of the same; empty: not known
  std::optional<std::uint64_t> head_number;
  Bytes head;  // newest signed head, as sent
  bool operator==(const Node&) const = default;
};

struct StreamRow {
  wire::StreamKey stream;
  std::uint64_t sealed = 0;  // highest known: from heads and from batches
  std::vector<wire::Interval> applied;
  std::vector<wire::Interval> gaps;  // by the origin's gap records, less what arrived anyway
  /// The reason of each of `gaps`: of the record that covers its first batch.
  std::vector<wire::GapRecord::Reason> gap_reasons;
};

/// Batches of a stream that are neither applied nor gone, although something behind them is known.
struct Hole {
  wire::StreamKey stream;
  std::uint64_t first = 0, last = 0;
  std::optional<Digest> before, at_last;  // of first-1 and of last, where they are known
  bool operator==(const Hole&) const = default;
};

/// One line of the loss ledger (rule D5).
struct Loss {
  enum class Kind : std::uint8_t {
    gap,       // final: the origin's signed word that it does not exist any more
    refused,   // final: refused for good, kept raw, without effect (rule D11)
    released,  // at risk: the origin has given its copy up, the only one is at `where`
    notice,    // open: a hop does not have it any more; the origin is asked
    hole       // open: nobody has explained it yet
  };
  Kind kind = Kind::gap;
  wire::StreamKey stream;
  std::uint64_t first = 0, last = 0;
  std::optional<WallTime> noted;                  // when we learned of it
  std::optional<WallTime> first_time, last_time;  // of the records, as far as known
  std::optional<std::uint64_t> records, bytes;    // as far as known
  std::string reason;                             // in words
  std::string where;                              // node or path, "" when nobody is named
  bool operator==(const Loss&) const = default;
};

/// One condition that somebody should look at; one row a cause, however often it is raised.
struct Alert {
  std::int64_t id = 0;
  std::string cause;     // unique among open ones: "hole <stream> <first>"
  std::string severity;  // "warning", "critical"
  std::optional<NodeId> node;
  std::string words;
  WallTime raised{}, last{};
  std::uint64_t count = 1;
  std::optional<WallTime> closed;
  std::string closed_by;  // the operator who closed it; "" when its condition ended
  /// Closed by an operator, and its condition has not ended since: not to be raised for it again.
  /// Known as long as the closed alert is kept (kClosedAlertsMax).
  bool muted = false;
  bool operator==(const Alert&) const = default;
};

/// What one look at all conditions found.
struct AlertChanges {
  std::vector<Alert> raise;        // new; of one that is open already only what it says is changed
  std::vector<Alert> again;        // met once more: counted; raised when none is open
  std::vector<Alert> change;       // other words or severity, not counted; only when it is open
  std::vector<std::string> close;  // causes whose condition has ended: not muted any more either
  bool empty() const { return raise.empty() && again.empty() && change.empty() && close.empty(); }
};

/// A trace probe that arrived (batch.md#B27).
struct TraceRow {
  Bytes id;  // kProbeIdBytes
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  WallTime sealed{}, arrived{};
  std::vector<wire::Stamp> stamps;
  bool operator==(const TraceRow&) const = default;
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
  /// Of a batch that was sealed again (batch.md#B28): what it was first.
  struct FirstSealed {
    wire::StreamKey stream;
    std::uint64_t sequence = 0;
    Digest hash{};
  };
  std::optional<FirstSealed> first_sealed;
  std::vector<LatestValue> values;
  std::vector<Entity> entities;
  std::optional<wire::GapRecord> gap;
  std::optional<wire::EpochOpening> opening;
  std::optional<wire::ReleaseRecord> release;
  std::optional<Bytes> probe;  // its id; the stamps stand in the message
  /// Set: it has no effect, and the ledger says that it was refused for good, and why (rule D11).
  std::string refused;
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
  no_effect,     // applied, but its content took effect before, as another batch (batch.md#B28)
  duplicate,     // this very batch is applied already
  equivocation,  // another hash is known for this sequence, or for its predecessor (rule D1): kept
                 // aside
  too_many_holes,  // would need more than kIntervalsPerStreamMax intervals: not yet (rule D4)
  too_many_epochs  // would be the first of an epoch beyond kEpochsPerNodeMax: not yet
};

/// Intervals of a stream, applied and gaps together. The last place is kept for the lowest hole.
inline constexpr std::size_t kIntervalsPerStreamMax = 1024;
/// Epochs of a node. A node opens one when its folder is new or was set back (rule D1): more are a
/// folder that is set back for ever, and would fill the store.
inline constexpr std::size_t kEpochsPerNodeMax = 1024;
/// Beyond these the rows of a node that were set longest ago go, by (epoch, sequence).
inline constexpr std::size_t kLatestValuesPerNodeMax = 65'536;
inline constexpr std::size_t kEntitiesPerNodeMax = 16'384;
inline constexpr std::size_t kEquivocationsMax = 1000;      // kept aside, newest
inline constexpr std::size_t kAuditEntriesMax = 1'000'000;  // newest
inline constexpr std::size_t kNoticesMax = 10'000;          // of hops, newest
inline constexpr std::size_t kReleasesPerStreamMax = 1024;  // newest
inline constexpr std::size_t kRefusedMax = 10'000;          // of the ledger, newest
inline constexpr std::size_t kClosedAlertsMax = 10'000;     // newest
inline constexpr std::size_t kTracesMax = 1000;             // newest
inline constexpr std::size_t kApiTokensMax = 1000;          // not revoked and not expired
inline constexpr std::size_t kApiTokensOverMax = 1000;      // revoked or expired, newest
inline constexpr std::size_t kJoinTokensMax = 1000;         // not revoked and not expired
inline constexpr std::size_t kJoinTokensOverMax = 1000;     // revoked or expired, newest

struct AuditEntry {
  WallTime time{};
  std::string who, what, subject, detail;
  std::int64_t row = 0;  // rises with each entry; the store's own, ignored when writing
};

/// What may be asked of the API with a token, lowest first; see api/service.h.
enum class Scope : std::uint8_t { read_only = 1, operate = 2, administrate = 3 };

/// A token of the API. Its secret is never kept, only the digest of it.
struct ApiToken {
  std::string id;  // lower-case hex; names it in lists and logs, and is part of the token
  Digest secret_sha256{};
  std::string label;  // what it is for, in its maker's words
  Scope scope = Scope::read_only;
  std::string created_by;
  WallTime created{};
  std::optional<WallTime> expires, last_used, revoked;
  bool operator==(const ApiToken&) const = default;
};

/// What lets machines join (docs/formats/join.md). Its secret is never kept, only the public key.
struct JoinToken {
  std::string id;  // lower-case hex, of the key
  Bytes key;       // SPKI
  Role role = Role::agent;
  std::string name_pattern;          // '*' stands for any characters
  std::vector<std::string> parents;  // that its nodes are approved for; empty: any
  bool approves = true;              // false: its nodes wait in Pending
  std::uint32_t uses_max = 1;
  std::string created_by;
  WallTime created{}, expires{};
  std::optional<WallTime> revoked;
  std::uint32_t generation = 1;  // of the store that it was made in
  std::uint32_t uses = 0;        // by so many identity keys; the store's to count
  bool operator==(const JoinToken&) const = default;
};

/// A node asks with a token, perhaps again.
struct JoinUse {
  std::string token;
  NodeId node;
  std::string name;
  WallTime time{};
  std::int64_t number = 0;  // join.md#J11
};
struct JoinUsed {
  enum class Verdict { counted, again, replayed, used_up };
  Verdict verdict = Verdict::counted;
  std::int64_t number = 0;  // the highest one known of this node
};

struct ArchivedBatch {
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  WallTime arrived{};
  SharedBytes message;
};

/// Where a batch of observations stands among those of its node and lane: by the time of its newest
/// record, then by arrival.
struct ArchivePlace {
  WallTime last{};
  std::int64_t row = 0;
  auto operator<=>(const ArchivePlace&) const = default;
};
struct PlacedBatch {
  ArchivePlace place;
  ArchivedBatch batch;
};

/// A batch that was not taken because its hash, or the one it names for its predecessor, is not the
/// one we hold (batch.md#B14).
struct Equivocation {
  wire::StreamKey stream;
  std::uint64_t sequence = 0;  // of the batch put aside
  Digest hash{};
  std::uint64_t disputed = 0;  // the batch that has two hashes: this one or a neighbour
  Digest known{}, claimed{};
  WallTime arrived{};
  SharedBytes message;
};

/// A certificate that counts no more, although it has not ended (document.md#G13).
struct Revocation {
  enum class Reason : std::uint8_t { compromised = 3, retired = 4, superseded = 5 };
  CertificateMark certificate;
  std::string name;  // of the node that used it; "" when none is known
  Reason reason = Reason::superseded;
  std::optional<WallTime> not_after;  // of the certificate, as far as known
  std::string decided_by;
  WallTime decided{};
  bool operator==(const Revocation&) const = default;
};

struct StoredDocument {
  std::uint32_t type = 0;
  std::optional<NodeId> audience;
  std::uint32_t generation = 0;
  std::uint64_t number = 0;
  Bytes document;  // Signed, as sent
};

/// The management server's memory. Blocking; belongs to one thread (the store thread) for life.
/// What a call returned for is durable. All implementations must pass store_conformance_test.cc.
class Store {
 public:
  virtual ~Store() = default;

  /// Commits all of them in ONE transaction: archive, applied set, projections, ledger (rule D4).
  /// One outcome per batch, in order. On error nothing of it happened. The caller has verified
  /// signatures and payload hashes, and that a gap's stream belongs to its batch's node (B22).
  /// Effects follow (epoch, sequence), never arrival (B50). Of a batch and those that it was sealed
  /// again in, the first to come has its effect, under the number of the first to be sealed; that
  /// is known as long as the archive keeps it. A duplicate changes nothing.
  /// Whether a batch that comes again is the same is known as long as the archive keeps it, and at
  /// the edges of intervals for ever; otherwise it counts as duplicate. A gap record that disagrees
  /// with what is held makes its batch `equivocation`; one too many makes it `too_many_holes`.
  /// A batch that comes although a gap covers it is applied: it is simply not gone.
  virtual Result<std::vector<Outcome>> apply(std::span<const Apply> batches) = 0;
  /// Work that must not delay an answer (SQLite: the checkpoint). The store thread calls it when
  /// the outcomes have been handed on; cheap when nothing is due.
  virtual Result<> tidy() = 0;
  /// What is applied of a stream; no intervals when it is unknown.
  virtual Result<wire::Coverage> applied(const wire::StreamKey& stream) = 0;
  /// What may be called settled: applied and gaps together, touching ones merged (B40).
  virtual Result<wire::Coverage> settled_coverage(const wire::StreamKey& stream) = 0;
  virtual Result<std::vector<StreamRow>> streams(const NodeId& node) = 0;
  virtual Result<std::vector<ArchivedBatch>> archive(const NodeId& node,
                                                     std::size_t limit) = 0;  // newest first
  /// One batch as it came, while the archive keeps it.
  virtual Result<std::optional<ArchivedBatch>> archived(const wire::StreamKey& stream,
                                                        std::uint64_t sequence) = 0;
  /// What a node observed: batches of the lane `metric` or `event` that had an effect, newest place
  /// first. Those that repeat another one (batch.md#B28) or are refused for good are left out.
  struct ObservationFilter {
    NodeId node;
    wire::Lane lane = wire::Lane::metric;
    std::optional<WallTime> since, until;  // batches with no record from then to then are left out
    std::optional<ArchivePlace> from;      // this one and those behind it
    std::size_t limit = 0;
  };
  virtual Result<std::vector<PlacedBatch>> observations(const ObservationFilter& filter) = 0;
  /// Streams with holes, lowest stream first: at most `limit` holes, the lowest of each first.
  virtual Result<std::vector<Hole>> holes(std::size_t limit) = 0;
  /// The loss ledger, newest first: gaps, refused, released and not settled yet, notices about what
  /// is still a hole. Holes without any word are the caller's to add.
  struct LossFilter {
    std::optional<NodeId> node;
    std::optional<WallTime> since;  // noted then or later
    std::size_t limit = 1000;
  };
  virtual Result<std::vector<Loss>> losses(const LossFilter& filter) = 0;
  /// A hop's notice (channel.md#W36), kept until its range is settled. Settles nothing.
  virtual Result<> note_loss(const Loss& notice) = 0;
  /// Closes every stream of a removed node behind what is known of it: a gap by our own word (rule
  /// D5), reason `removed`. Streams whose last hash is not known stay open.
  virtual Result<> close_streams(const NodeId& node, WallTime now) = 0;

  /// Raises the cause, or counts it once more when it is open already. Returns its row.
  virtual Result<Alert> raise_alert(const Alert& alert) = 0;
  /// An operator closes the open alert of this cause, if there is one; it is muted until
  /// update_alerts() closes the cause.
  virtual Result<bool> close_alert(std::string_view cause, WallTime now, std::string_view by) = 0;
  /// All of it in ONE transaction. Returns the alerts that it changed, as they are now.
  virtual Result<std::vector<Alert>> update_alerts(const AlertChanges& changes, WallTime now) = 0;
  virtual Result<std::vector<Alert>> alerts(bool open_only, std::size_t limit) = 0;  // newest first

  virtual Result<std::optional<TraceRow>> trace(ByteView id) = 0;

  /// Deletes archived batches in the order of their arrival, while the next one is older than
  /// `older_than` or all of them have more than `bytes_max`, at most `limit` a call; returns how
  /// many went. Never touches applied sets or projections.
  virtual Result<std::size_t> trim_archive(WallTime older_than, std::uint64_t bytes_max,
                                           std::size_t limit) = 0;

  virtual Result<std::vector<Equivocation>> equivocations(std::size_t limit) = 0;  // newest first
  virtual Result<std::uint64_t>
  equivocation_count() = 0;  // all that ever were, also those not kept

  virtual Result<std::vector<LatestValue>> latest(const NodeId& node) = 0;
  virtual Result<std::vector<Entity>> entities(const NodeId& node) = 0;

  virtual Result<std::vector<Node>> nodes() = 0;
  virtual Result<std::optional<Node>> node(const NodeId& id) = 0;  // any standing; the newest row
  virtual Result<std::optional<Node>> node_by_name(
      std::string_view name) = 0;  // not removed; approved first
  virtual Result<std::vector<Node>> nodes_named(std::string_view name) = 0;  // all, for clashes
  /// Inserts (row 0) or replaces the row, with its audit entry and the documents that say the same
  /// (see save_document()) in ONE transaction: all of it or nothing. Returns it with its row
  /// number. `invalid` when they collide: an id is unique among rows not removed; a name among
  /// approved rows and, apart from those, among rows without an id. So a pending or rejected clash
  /// stands beside the node it clashes with, which is undisturbed (rule T3).
  virtual Result<Node> save_node(const Node& node, const std::optional<AuditEntry>& audit,
                                 std::span<const StoredDocument> documents = {}) = 0;
  virtual Result<> erase_node(std::int64_t row, const AuditEntry& audit) = 0;
  /// What was seen of a node. What is not said stays; last_seen, head_number and sealed only rise;
  /// first_seen is set once. Raises `sealed` of streams whose epoch is known or still has room
  /// (kEpochsPerNodeMax).
  struct Seen {
    NodeId id;
    /// Only when the node's path, as it is known, leads through this name; else all of it is
    /// skipped.
    std::optional<std::string> through;
    std::optional<WallTime> time;  // none: it was not the node itself that was heard
    std::optional<bool> connected;
    std::optional<std::string> address;
    std::optional<std::vector<std::string>> path;
    std::optional<std::string> software;
    std::optional<std::string> certificate_sha256;
    std::optional<WallTime> certificate_not_after;
    std::optional<CertificateMark> certificate;
    /// Not higher than the known one: a head that came again, and all of it is skipped. Whoever
    /// replays it must not keep the node alive.
    std::optional<std::uint64_t> head_number;
    Bytes head;
    struct Sealed {
      wire::StreamKey stream;
      std::uint64_t sequence = 0;
      Digest hash{};  // zeros: not known
    };
    std::vector<Sealed> sealed;  // the newest one's hash is kept, for holes()
  };
  /// One transaction. Unknown ids are skipped. Returns how many were not skipped.
  virtual Result<std::size_t> seen(std::span<const Seen> seen) = 0;

  /// Documents: numbers are handed out here, per type, and never twice.
  virtual Result<std::uint64_t> next_document_number(std::uint32_t type) = 0;
  /// Also adopts its number, so that a restored store never hands it out again (rule D10). An older
  /// edition (generation, number) than the audience has changes nothing; the same edition with
  /// other content is `invalid`.
  virtual Result<> save_document(const StoredDocument& document) = 0;
  virtual Result<std::vector<StoredDocument>> documents(
      std::uint32_t type) = 0;  // newest of each audience

  /// Adds what is not revoked yet, with the audit entries and the documents that say the same, in
  /// ONE transaction; those whose certificate ended before `over` go. Revoked stays revoked: of a
  /// certificate that is known here already nothing is changed.
  virtual Result<> add_revocations(std::span<const Revocation> revocations,
                                   std::span<const AuditEntry> audit,
                                   std::span<const StoredDocument> documents,
                                   std::optional<WallTime> over) = 0;
  virtual Result<std::vector<Revocation>> revocations() = 0;  // oldest first

  virtual Result<> audit(const AuditEntry& entry) = 0;
  /// Newest first; with `before`, only entries whose row is lower.
  virtual Result<std::vector<AuditEntry>> audit_log(
      std::size_t limit, std::optional<std::int64_t> before = std::nullopt) = 0;

  /// Adds a token, with its audit entry, in one transaction. `exhausted` when kApiTokensMax are in
  /// use at `created`; the oldest of those that are over go beyond kApiTokensOverMax.
  virtual Result<> add_api_token(const ApiToken& token, const AuditEntry& audit) = 0;
  /// Likewise; false when there is none of this id, or it is revoked already.
  virtual Result<bool> revoke_api_token(std::string_view id, WallTime now,
                                        const AuditEntry& audit) = 0;
  virtual Result<> api_token_used(std::string_view id, WallTime now) = 0;
  virtual Result<std::optional<ApiToken>> api_token(std::string_view id) = 0;
  virtual Result<std::vector<ApiToken>> api_tokens() = 0;  // newest first, also those that are over

  /// As for tokens of the API: `exhausted` beyond kJoinTokensMax, false for none or a revoked one.
  virtual Result<> add_join_token(const JoinToken& token, const AuditEntry& audit) = 0;
  virtual Result<bool> revoke_join_token(std::string_view id, WallTime now,
                                         const AuditEntry& audit) = 0;
  virtual Result<std::optional<JoinToken>> join_token(std::string_view id) = 0;
  virtual Result<std::vector<JoinToken>> join_tokens() = 0;  // newest first
  /// Counts the node once, in one transaction with `audit`, which is written when it is counted;
  /// `invalid` when there is no such token.
  virtual Result<JoinUsed> use_join_token(const JoinUse& use, const AuditEntry& audit) = 0;

  /// Rises each time the store was restored or lost commits (rule D10); 1 at first.
  virtual Result<std::uint32_t> generation() = 0;
  /// Makes it `at_least`, if it is lower. Returns what it is now.
  virtual Result<std::uint32_t> raise_generation(std::uint32_t at_least) = 0;
  /// Small values of the server itself ("group.name", ...).
  virtual Result<std::optional<std::string>> setting(std::string_view key) = 0;
  virtual Result<> set_setting(std::string_view key, std::string_view value) = 0;
};

/// SQLite: WAL, synchronous=FULL, foreign keys. Checkpoints happen in tidy(), when the log is
/// larger than 4 MiB, never in a commit; a write does it first when nobody called tidy() for 64
/// MiB. Makes the file (0640; the folder is the caller's), makes or migrates the schema; refuses a
/// newer one.
/// ":memory:" keeps everything in memory, for tests.
Result<std::unique_ptr<Store>> open_sqlite(const std::string& path);

}  // namespace postern::store
