#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/http.h"

/// What the management server can be asked, as plain values. The router (api/router.h) turns HTTP
/// into these calls and back; the management server implements them.
namespace postern::api {

enum class Role : std::uint8_t { agent, gateway, server };
enum class Standing : std::uint8_t { pending, approved, rejected, removed };
enum class Direction : std::uint8_t { child_dials, parent_dials };

/// The worst of the alerts that are open about a node, in this order; unknown: nobody can tell.
enum class Health : std::uint8_t { healthy, warning, critical, unknown };

/// What a caller may do, lowest first: each may do what those before it may.
enum class Scope : std::uint8_t {
  read_only,
  operate,      // close alerts, trace: what is done while on call and changes no trust
  administrate  // approve, remove, sign, hand out tokens
};

/// Who asks. On the Unix socket: the peer's credentials, see api/caller.h; over HTTPS: a token.
struct Caller {
  std::uint32_t uid = 0;  // of the Unix socket
  std::uint32_t gid = 0;
  std::string name;  // for the audit list; never empty
  Scope scope = Scope::read_only;
};

/// Why a call failed, as the client will read it (RFC 9457).
struct ApiError {
  int status = 500;    // HTTP
  std::string type;    // "not-found": the last part of the problem's type URI; see kProblem...
  std::string title;   // the same for every problem of this type
  std::string detail;  // this one: the thing, the value, the limit and the way out
  bool operator==(const ApiError&) const = default;
};

template <typename T>
using Answer = std::expected<T, ApiError>;

// The types that clients may depend on.
inline constexpr std::string_view kProblemInvalid = "invalid";                   // 400
inline constexpr std::string_view kProblemUnauthenticated = "unauthenticated";   // 401
inline constexpr std::string_view kProblemDenied = "denied";                     // 403
inline constexpr std::string_view kProblemNotFound = "not-found";                // 404
inline constexpr std::string_view kProblemMethod = "method-not-allowed";         // 405
inline constexpr std::string_view kProblemConflict = "conflict";                 // 409
inline constexpr std::string_view kProblemPrecondition = "precondition-failed";  // 412
inline constexpr std::string_view kProblemTooLarge = "too-large";                // 413
inline constexpr std::string_view kProblemMediaType = "unsupported-media-type";  // 415
inline constexpr std::string_view kProblemUnprocessable = "unprocessable";       // 422
inline constexpr std::string_view kProblemExhausted = "exhausted";               // 429
inline constexpr std::string_view kProblemInternal = "internal";                 // 500
inline constexpr std::string_view kProblemNotAvailable = "not-available";        // 501
inline constexpr std::string_view kProblemUnavailable = "unavailable";           // 503
inline constexpr std::string_view kProblemStorageFull = "storage-full";          // 507
// More precise ones; clients that do not know them go by the status.
inline constexpr std::string_view kProblemUnknownParent =
    "unknown-parent";  // 422: a named parent is neither a server of the group nor an approved
                       // gateway
inline constexpr std::string_view kProblemDirection =
    "direction-not-available";  // 501: see GatewayApproval::direction

/// A problem of one of the types above; the status and title go with it.
ApiError problem(std::string_view type, std::string detail);
/// invalid 422, denied 403, unavailable 503, exhausted 429, corrupt 500.
ApiError problem_of(const Error& error);

/// A node for lists: the Discovered Inventory shows these.
struct NodeSummary {
  std::string name;  // lower-case FQDN
  std::string id;    // node id in hex; "" while it never connected
  Role role = Role::agent;
  Standing standing = Standing::pending;
  bool connected = false;
  Health health = Health::unknown;
  std::string via;  // the gateway it was last seen through, when that one is lost: hence unknown
  std::optional<WallTime> first_seen, last_seen;  // last_seen empty: never connected
  std::vector<std::string> parents;               // allowed ones in order; empty: any
  Direction direction = Direction::child_dials;
  std::vector<std::string> path;       // names from its present parent up to the server
  std::string address;                 // as its parent sees it
  std::vector<std::string> addresses;  // its own, by its inventory
  std::string os;                      // "Debian GNU/Linux 12 (bookworm)"; "" while unknown
  std::string kernel;
  std::string architecture;
  std::optional<std::uint32_t> cpus;
  std::optional<std::uint64_t> memory_bytes;
  std::string software;            // version of Postern it runs
  std::string certificate_sha256;  // hex
  std::optional<WallTime> certificate_not_after;
  std::string certificate_serial;   // hex; "" while unknown
  std::string certificate_revoked;  // the reason, when it counts no more
  std::string certificate_issuer;   // "" when it is not the group's own authority, or unknown
  std::string certificate_key;      // "EC P-256"; "" while unknown
  std::string renewal = "unknown";  // by-itself, due, will-miss, by-hand, expired, revoked
  std::string renewal_words;        // when, or why not
  std::string reason;               // why it is pending or rejected, in words
  std::string decided_by;           // who approved or rejected it
  std::optional<WallTime> decided;
};

/// Which nodes of the inventory, in the order of (name, id).
struct NodeQuery {
  std::optional<Role> role;
  std::optional<bool> connected;
  std::string name;   // a pattern: '*' stands for any characters; empty: all
  std::string after;  // a place_of(): only what comes behind it
  std::size_t limit = 0;
};
inline constexpr std::size_t kNodesLimitDefault = 1000;
inline constexpr std::size_t kNodesLimitMax = 1000;

/// Where a node stands in the inventory: unique, and ordered as the inventory is.
std::string place_of(std::string_view name, std::string_view id);
std::string place_of(const NodeSummary& node);
/// Whether `name` matches a pattern in which '*' stands for any characters, also none.
bool matches_pattern(std::string_view pattern, std::string_view name);

struct SequenceRange {
  std::uint64_t first = 0, last = 0;
  bool operator==(const SequenceRange&) const = default;
};

/// From outside, completeness is: `applied` and `gaps` together cover 1 to `sealed`.
struct StreamView {
  struct Gap {
    SequenceRange range;
    std::string reason;
  };
  std::string lane;  // state, event, metric
  std::uint32_t epoch_ordinal = 0;
  std::string epoch_random;  // 16 hex digits
  std::uint64_t sealed = 0;  // highest number known to exist
  std::vector<SequenceRange> applied;
  std::vector<Gap> gaps;
};

struct ValueView {
  std::string metric, unit;
  std::string attributes;  // a JSON object as text
  double value = 0;
  bool integer = false;
  WallTime time{};
};

struct NodeDetail {
  NodeSummary node;
  std::vector<StreamView> streams;
  std::vector<ValueView> values;
};

/// What a node says of something that is there: its host, a file system, a collector.
struct EntityView {
  std::string type;            // "host"
  std::string id, attributes;  // JSON objects as text
  WallTime time{};
};

/// Which observations of a node, newest first.
struct ObservationQuery {
  std::optional<WallTime> since, until;  // made from then to then
  std::string after;                     // Observations::next of the page before; "": first
  std::size_t limit = 0;
};
struct SeriesQuery : ObservationQuery {
  std::string metric;  // exactly this one; empty: all
};
struct EventQuery : ObservationQuery {
  std::int32_t severity_min = 0;  // OpenTelemetry's number
  std::string contains;           // in the body
};
inline constexpr std::size_t kObservationsLimitDefault = 1000;
inline constexpr std::size_t kObservationsLimitMax = 10'000;

struct EventView {
  WallTime time{};                   // when it happened, else when it was read
  std::optional<WallTime> observed;  // when it was read
  std::string severity;              // trace, debug, info, warn, error, fatal; "": not known
  std::string severity_text;         // as its source says it
  std::string name;                  // mostly empty
  std::string body;
  std::string attributes;  // a JSON object as text
};

/// A batch that is archived as its node sealed it, and cannot be read.
struct UnreadableBatch {
  std::uint32_t epoch_ordinal = 0;
  std::string epoch_random;  // 16 hex digits
  std::uint64_t sequence = 0;
  std::string reason;
};

/// A page of observations. It may end early, even without items: reading is bounded.
template <typename Item>
struct Observations {
  std::vector<Item> items;
  std::string next;  // empty: this was the last page
  std::vector<UnreadableBatch> unreadable;
  std::uint64_t not_shown = 0;  // records of kinds that are archived and not shown
};

/// One node of the tree. `parent` is the one it is attached to now, else the first it is approved
/// for; "" for a server. What is not known stays empty.
struct TopologyNode {
  std::string name;
  Role role = Role::agent;
  Standing standing = Standing::pending;
  std::string parent;
  bool connected = false;
  std::optional<WallTime> last_seen;
  Health health = Health::unknown;
  std::string via;
  std::vector<std::string> path;
  std::optional<std::int64_t> lag_ms;          // of the newest batch, from sealing to applied
  std::optional<std::uint64_t> queue_batches;  // sealed and not applied
  std::optional<std::uint64_t> queue_bytes;
  std::optional<WallTime> queue_oldest;  // when its oldest waiting batch was sealed
  std::optional<WallTime> certificate_not_after;
};

struct PendingView {
  std::string name;
  std::string id;           // node id in hex
  Role role = Role::agent;  // the one it asks for
  std::string reason;
  std::string certificate_sha256;
  std::string address;            // source, as its would-be parent sees it
  std::vector<std::string> path;  // over whom it knocked
  std::optional<WallTime> first_seen, last_seen;
};

struct GatewayApproval {
  std::string name;                  // lower-case FQDN, checked by the router
  std::vector<std::string> parents;  // primary first, then failover; lower-case FQDNs, never empty
  /// This version refuses parent_dials with kProblemDirection after it has recorded the wish in
  /// the registry: "connections initiated by the management server are not available in this
  /// version; the wish is recorded; approve without the switch to let the gateway dial".
  Direction direction = Direction::child_dials;
  std::string site;  // "" or the seed's /SiteName, kept as a label
};

struct AgentApproval {
  std::string name;
  std::vector<std::string> parents;  // empty: any
};

struct Approved {
  NodeSummary node;
  bool already_approved = false;  // nothing changed; approving twice does no harm
};

struct SigningRequest {
  std::string csr_pem;
  std::optional<std::uint32_t> days;  // of validity; empty: the server's default
};

struct SignedCertificate {
  std::string chain_pem;  // leaf first, then intermediates and the issuing root
  std::string subject;
  std::string serial;  // hex
  WallTime not_after{};
};

/// Why a certificate counts no more, with the codes of document.md#G13.
enum class RevocationReason : std::uint8_t { compromised = 3, retired = 4, superseded = 5 };

struct RevocationRequest {
  std::string certificate;  // a node's name or id: the one that it uses; or a serial number
  RevocationReason reason = RevocationReason::superseded;
};

struct RevocationView {
  std::string node;    // "" when no node is known to use it
  std::string serial;  // hex; "" while it is not known
  RevocationReason reason = RevocationReason::superseded;
  std::optional<WallTime> not_after;
  std::string decided_by;
  WallTime decided{};
};

struct Revoked {
  std::vector<RevocationView> revocations;
  bool already_revoked = false;  // nothing changed; revoking twice does no harm
  /// The node's identity is revoked, too: what it has signed and is not applied is refused.
  bool identity_revoked = false;
};

/// How far the change from one CA of the group to the next has come.
enum class RolloverPhase : std::uint8_t {
  none,       // no change is under way
  spreading,  // the next one is being made known; the one before still signs
  renewing,   // the next one signs; the one before is still trusted
};

struct AuthorityView {
  enum class Standing : std::uint8_t { signing, next, former, outside };
  struct Anchor {
    std::string subject, serial, sha256;
    WallTime not_after{};
    Standing standing = Standing::outside;  // outside: of another CA than the group's own
  };
  struct Waiting {
    std::string name;
    Role role = Role::agent;
    bool connected = false;
    std::optional<WallTime> last_seen;
    std::string reason;
  };
  RolloverPhase phase = RolloverPhase::none;
  std::vector<Anchor> anchors;
  std::string issuer;  // who signs nodes' certificates now: the issuing authority, or the root
  WallTime issuer_not_after{};
  std::size_t nodes = 0;          // approved ones that have come at least once
  std::size_t nodes_to_come = 0;  // approved, and never seen
  std::vector<Waiting> waiting;   // of `nodes`, those that the next step waits for, by name
};

/// An administrator's word that a node may renew a certificate that has ended.
struct RenewalAllowed {
  std::string node;  // name
  WallTime until{};
};

struct GroupView {
  std::string name;
  std::string id;                           // node id of the group root in hex
  std::string root_sha256;                  // fingerprint of the root's public key in hex
  std::vector<std::string> servers;         // names
  std::vector<std::string> addresses;       // host:port where nodes may dial
  std::vector<std::string> anchors_sha256;  // fingerprints of the trusted CAs in hex
};

struct ServerView {
  std::string name;
  std::string id;
  bool this_server = false;
  std::string listen;  // IP:port of the channel
  std::string software;
  std::optional<WallTime> started;
  std::uint32_t generation = 0;  // of the store (rule D10)
  std::optional<WallTime> certificate_not_after;
};

struct AuditView {
  WallTime time{};
  std::string who, what, subject, detail;
  std::int64_t row = 0;  // rises with each entry
};

/// A token of the API, without its secret.
struct TokenView {
  std::string id;  // hex, the first part of the token
  std::string label;
  Scope scope = Scope::read_only;
  std::string created_by;
  WallTime created{};
  std::optional<WallTime> expires, last_used, revoked;
};
struct TokenRequest {
  Scope scope = Scope::read_only;
  std::string label;
  std::optional<std::uint32_t> days;  // its life; none: until it is revoked
};
struct NewToken {
  TokenView view;
  std::string token;  // the secret: shown this once
};
inline constexpr std::size_t kTokenLabelBytesMax = 128;
inline constexpr std::uint32_t kTokenDaysMax = 3650;

/// A token by which machines join (docs/formats/join.md), without its secret.
struct JoinTokenView {
  std::string id;  // hex
  Role role = Role::agent;
  std::string name_pattern;          // '*' stands for any characters
  std::vector<std::string> parents;  // that its nodes are approved for; empty: any
  bool approves = true;              // false: its nodes wait in Pending
  std::uint32_t uses_max = 1, uses = 0;
  std::string created_by;
  WallTime created{}, expires{};
  std::optional<WallTime> revoked;
  bool outdated = false;  // made before the store was set back: it opens nothing any more
};
struct JoinTokenRequest {
  Role role = Role::agent;  // not server
  std::string name_pattern = "*";
  std::vector<std::string> parents;
  bool approves = true;
  std::uint32_t uses_max = 1;
  std::chrono::seconds lifetime = std::chrono::hours(24);
  std::vector<std::string> addresses;  // whom to ask first; empty: this group's servers
};
struct NewJoinToken {
  JoinTokenView view;
  std::string token;  // the secret: shown this once
};
inline constexpr std::uint32_t kJoinUsesMax = 100'000;
inline constexpr std::chrono::seconds kJoinLifetimeMin = std::chrono::minutes(1);
inline constexpr std::chrono::seconds kJoinLifetimeMax = std::chrono::hours(24 * 365);
inline constexpr std::size_t kJoinAddressBytesMax = 300;
inline constexpr std::size_t kNamePatternBytesMax = 253;

/// One line of the loss ledger (rule D5).
struct LossView {
  /// gap and refused are final; released: at risk, the only copy is at `where`; notice: a node on
  /// the way has lost it and its origin is asked; hole: nobody has explained it yet.
  enum class Kind : std::uint8_t { gap, refused, released, notice, hole };
  Kind kind = Kind::gap;
  std::string node;     // name, or its id when the name is not known
  std::string node_id;  // hex
  std::string lane;
  std::uint32_t epoch_ordinal = 0;
  std::string epoch_random;  // 16 hex digits
  SequenceRange range;
  std::optional<WallTime> noted;                  // when the server learned of it
  std::optional<WallTime> first_time, last_time;  // of the records, as far as known
  std::optional<std::uint64_t> records, bytes;    // as far as known
  std::string reason;                             // in words
  std::string where;                              // the node or path that is named; "": none
};

struct LossQuery {
  std::optional<std::string> node;  // name or id
  std::optional<WallTime> since;    // noted then or later; holes that are open now always
  std::size_t limit = 0;
};

inline constexpr std::size_t kLossLimitDefault = 1000;
inline constexpr std::size_t kLossLimitMax = 10'000;

/// A condition that somebody should look at; one a cause, however often it is met.
struct AlertView {
  std::int64_t id = 0;
  std::string cause;
  std::string severity;  // warning, critical
  std::string node;      // name; "": it is about no node
  std::string node_id;   // hex; likewise
  std::string words;
  WallTime raised{}, last{};  // first and latest time
  std::uint64_t count = 1;    // how often
  std::optional<WallTime> closed;
  std::string closed_by;  // who; "": its condition ended
};

inline constexpr std::size_t kAlertLimitDefault = 1000;
inline constexpr std::size_t kAlertLimitMax = 1000;

struct TraceStarted {
  std::string id;  // 32 hex digits
  std::string node;
};

/// One hop of a probe: `name` received it from `from`.
struct TraceHop {
  std::string from, name;
  WallTime received{};  // by the clock of `name`
  std::int64_t wait_ms =
      0;  // since it was sealed, or received by `from`; clocks differ: may be < 0
};

struct TraceView {
  std::string id, node;
  bool arrived = false;
  std::optional<WallTime> asked;   // empty: by an earlier life of this server
  std::optional<WallTime> sealed;  // from here on: of one that arrived
  std::vector<TraceHop> hops;      // in order; the last is this server
  std::optional<std::int64_t> total_ms;
};

inline constexpr std::size_t kAuditLimitDefault = 100;
inline constexpr std::size_t kAuditLimitMax = 1000;

/// Which changes a client wants to hear of, as they happen.
struct ChangeQuery {
  std::set<std::string> kinds;  // of kChangeKinds; empty: all but values
  std::string last_id;          // the last event it heard, "" for none
};
inline constexpr std::string_view kChangeKinds[] = {"node", "pending", "alert",
                                                    "loss", "values",  "token"};

/// Blocking; called by one thread at a time. What a changing call returned for is durable and in
/// the audit list under caller.name. The router has checked the caller's right to change things,
/// and that names are lower-case FQDNs; `node` below is a name or a node id of 32 hex digits.
class Service {
 public:
  virtual ~Service() = default;

  /// Into the inventory at once, as never connected when it never was. Problems:
  /// kProblemUnknownParent, kProblemDirection, kProblemConflict (the name is known in another role:
  /// remove that first).
  virtual Answer<Approved> approve_gateway(const Caller&, const GatewayApproval&) = 0;
  virtual Answer<Approved> approve_agent(const Caller&, const AgentApproval&) = 0;
  /// Ends its connections on every hop and closes its streams. kProblemNotFound unless a node
  /// of this role has the name or id.
  virtual Answer<NodeSummary> remove_node(const Caller&, Role role, std::string_view node) = 0;

  virtual Answer<std::vector<PendingView>> pending() = 0;
  /// In the role it asked for, with the parent over which it knocked as its only one.
  /// kProblemConflict when several wait under this name: the detail lists their node ids.
  virtual Answer<Approved> approve_pending(const Caller&, std::string_view node) = 0;
  virtual Answer<PendingView> reject_pending(const Caller&, std::string_view node) = 0;

  /// Nodes that are not pending, rejected or removed.
  virtual Answer<std::vector<NodeSummary>> inventory(const NodeQuery& query) = 0;
  virtual Answer<NodeDetail> node(std::string_view node) = 0;
  /// The newest state of each thing that the node tells of.
  virtual Answer<std::vector<EntityView>> entities(std::string_view node) = 0;
  /// From the archive, as long as that keeps it.
  virtual Answer<Observations<ValueView>> series(std::string_view node, const SeriesQuery&) = 0;
  virtual Answer<Observations<EventView>> events(std::string_view node, const EventQuery&) = 0;
  /// Servers first, then every approved node, in no order.
  virtual Answer<std::vector<TopologyNode>> topology() = 0;

  /// The loss ledger, newest first, holes in front.
  virtual Answer<std::vector<LossView>> losses(const LossQuery&) = 0;
  virtual Answer<std::vector<AlertView>> alerts(bool open_only) = 0;  // newest first
  virtual Answer<AlertView> alert(std::int64_t id) = 0;
  /// What takes over the response: it pushes Server-Sent Events. kProblemExhausted when too many
  /// listen already.
  virtual Answer<std::function<void(std::shared_ptr<HttpStream>)>> changes(
      const ChangeQuery& query) = 0;

  /// Closing a closed one changes nothing.
  virtual Answer<AlertView> close_alert(const Caller&, std::int64_t id) = 0;

  /// Asks the node to seal a probe, which travels like any batch. kProblemConflict when it is not
  /// an approved one that has ever connected, or is this server; kProblemExhausted when it was
  /// asked a moment ago, or too many are under way.
  virtual Answer<TraceStarted> trace(const Caller&, std::string_view node) = 0;
  virtual Answer<TraceView> trace_result(std::string_view id) = 0;

  virtual Answer<SignedCertificate> sign_certificate(const Caller&, const SigningRequest&) = 0;

  /// Ends every connection that shows it, on every hop; the node stays. kProblemNotFound without
  /// such a node, kProblemConflict when it is this server's own, kProblemExhausted when the deny
  /// list is full.
  virtual Answer<Revoked> revoke_certificate(const Caller&, const RevocationRequest&) = 0;
  virtual Answer<std::vector<RevocationView>>
  revocations() = 0;  // newest first, until they are over
  /// kProblemConflict when it is not an approved one that has connected before.
  virtual Answer<RenewalAllowed> allow_renewal(const Caller&, std::string_view node) = 0;

  virtual Answer<AuthorityView> authority() = 0;
  /// Makes the next CA and lets the whole group know it; nothing more when that was done.
  virtual Answer<AuthorityView> roll_authority(const Caller&) = 0;
  /// The next CA signs from now on, and every certificate is renewed by it. kProblemConflict while
  /// nodes do not know it, unless they are to be left behind.
  virtual Answer<AuthorityView> switch_authority(const Caller&, bool leave_behind) = 0;
  /// Nobody trusts the former CA any more. kProblemConflict while nodes use certificates of it,
  /// likewise.
  virtual Answer<AuthorityView> finish_authority(const Caller&, bool leave_behind) = 0;

  virtual Answer<GroupView> group() = 0;
  virtual Answer<std::string> group_file() = 0;  // what `postern group export` writes
  virtual Answer<std::vector<ServerView>> servers() = 0;
  /// Newest first; with `before`, only rows below it.
  virtual Answer<std::vector<AuditView>> audit(std::size_t limit,
                                               std::optional<std::int64_t> before) = 0;

  virtual Answer<NewToken> create_token(const Caller&, const TokenRequest&) = 0;
  virtual Answer<std::vector<TokenView>> tokens() = 0;  // newest first, also those that are over
  /// Takes effect with the next request. kProblemNotFound also when it is revoked already.
  virtual Answer<TokenView> revoke_token(const Caller&, std::string_view id) = 0;

  virtual Answer<NewJoinToken> create_join_token(const Caller&, const JoinTokenRequest&) = 0;
  virtual Answer<std::vector<JoinTokenView>> join_tokens() = 0;  // newest first
  /// Nobody joins with it any more; who did stays. kProblemNotFound also when it is revoked.
  virtual Answer<JoinTokenView> revoke_join_token(const Caller&, std::string_view id) = 0;
};

}  // namespace postern::api
