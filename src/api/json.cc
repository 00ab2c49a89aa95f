#include "api/json.h"

#include <cmath>

namespace postern::api {
namespace {

namespace json = boost::json;

constexpr std::string_view kProblemPrefix = "urn:postern:problem:";

json::value text_or_null(const std::string& text) {
  if (text.empty()) return nullptr;
  return json::value(text);
}

json::value time_or_null(const std::optional<WallTime>& time) {
  if (!time) return nullptr;
  return json::value(to_rfc3339(*time));
}

template <typename T>
json::value number_or_null(const std::optional<T>& number) {
  if (!number) return nullptr;
  return json::value(*number);
}

json::array texts(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& text : list) out.emplace_back(text);
  return out;
}

json::array range(const SequenceRange& range) { return {range.first, range.last}; }

std::string_view connection_of(const NodeSummary& node) {
  if (node.connected) return "connected";
  return node.last_seen ? "disconnected" : "never connected";
}

json::object stream_to_json(const StreamView& stream) {
  json::array applied, gaps;
  for (const SequenceRange& one : stream.applied) applied.push_back(range(one));
  for (const StreamView::Gap& gap : stream.gaps)
    gaps.push_back({{"first", gap.range.first}, {"last", gap.range.last}, {"reason", gap.reason}});
  return {{"lane", stream.lane},
          {"epoch", {{"ordinal", stream.epoch_ordinal}, {"random", stream.epoch_random}}},
          {"sealed", stream.sealed},
          {"applied", std::move(applied)},
          {"gaps", std::move(gaps)}};
}

// JSON has no infinity and no not-a-number.
json::value number_of(const ValueView& value) {
  if (!std::isfinite(value.value)) return nullptr;
  if (value.integer && std::abs(value.value) < 9.0e18)
    return json::value(static_cast<std::int64_t>(value.value));
  return json::value(value.value);
}

/// A JSON object that is kept as text.
json::value object_in(const std::string& text) {
  json::error_code failed;
  json::value object = json::parse(text, failed);
  if (failed) return json::object();
  return object;
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::agent:
      return "agent";
    case Role::gateway:
      return "gateway";
    case Role::server:
      return "server";
  }
  return "?";
}

std::string_view to_string(Health health) {
  switch (health) {
    case Health::healthy:
      return "healthy";
    case Health::warning:
      return "warning";
    case Health::critical:
      return "critical";
    case Health::unknown:
      return "unknown";
  }
  return "?";
}

std::string_view to_string(Standing standing) {
  switch (standing) {
    case Standing::pending:
      return "pending";
    case Standing::approved:
      return "approved";
    case Standing::rejected:
      return "rejected";
    case Standing::removed:
      return "removed";
  }
  return "?";
}

std::string_view to_string(Direction direction) {
  return direction == Direction::child_dials ? "child-dials" : "parent-dials";
}

std::string_view to_string(LossView::Kind kind) {
  switch (kind) {
    case LossView::Kind::gap:
      return "gap";
    case LossView::Kind::refused:
      return "refused";
    case LossView::Kind::released:
      return "released";
    case LossView::Kind::notice:
      return "notice";
    case LossView::Kind::hole:
      return "hole";
  }
  return "?";
}

std::string_view to_string(Scope scope) {
  switch (scope) {
    case Scope::read_only:
      return "read-only";
    case Scope::operate:
      return "operator";
    case Scope::administrate:
      return "administrator";
  }
  return "?";
}

std::optional<Scope> scope_from(std::string_view text) {
  for (const Scope scope : {Scope::read_only, Scope::operate, Scope::administrate})
    if (text == to_string(scope)) return scope;
  return std::nullopt;
}

std::optional<Role> role_from(std::string_view text) {
  for (Role role : {Role::agent, Role::gateway, Role::server})
    if (to_string(role) == text) return role;
  return std::nullopt;
}

std::optional<Direction> direction_from(std::string_view text) {
  for (Direction direction : {Direction::child_dials, Direction::parent_dials})
    if (to_string(direction) == text) return direction;
  return std::nullopt;
}

json::object to_json(const NodeSummary& node) {
  return {{"name", node.name},
          {"id", text_or_null(node.id)},
          {"role", to_string(node.role)},
          {"standing", to_string(node.standing)},
          {"connection", connection_of(node)},
          {"connected", node.connected},
          {"health", to_string(node.health)},
          {"via", text_or_null(node.via)},
          {"first_seen", time_or_null(node.first_seen)},
          {"last_seen", time_or_null(node.last_seen)},
          {"parents", texts(node.parents)},
          {"direction", to_string(node.direction)},
          {"path", texts(node.path)},
          {"address", text_or_null(node.address)},
          {"addresses", texts(node.addresses)},
          {"os", text_or_null(node.os)},
          {"kernel", text_or_null(node.kernel)},
          {"architecture", text_or_null(node.architecture)},
          {"cpus", number_or_null(node.cpus)},
          {"memory_bytes", number_or_null(node.memory_bytes)},
          {"software", text_or_null(node.software)},
          {"certificate_sha256", text_or_null(node.certificate_sha256)},
          {"certificate_not_after", time_or_null(node.certificate_not_after)},
          {"reason", text_or_null(node.reason)},
          {"decided_by", text_or_null(node.decided_by)},
          {"decided", time_or_null(node.decided)}};
}

json::object to_json(const NodeDetail& detail) {
  json::object out = to_json(detail.node);
  json::array streams, values;
  for (const StreamView& stream : detail.streams) streams.push_back(stream_to_json(stream));
  for (const ValueView& value : detail.values) values.push_back(to_json(value));
  out["streams"] = std::move(streams);
  out["values"] = std::move(values);
  return out;
}

json::object to_json(const ValueView& value) {
  return {{"metric", value.metric},
          {"unit", value.unit},
          {"attributes", object_in(value.attributes)},
          {"value", number_of(value)},
          {"time", to_rfc3339(value.time)}};
}

json::object to_json(const EntityView& entity) {
  return {{"type", entity.type},
          {"id", object_in(entity.id)},
          {"attributes", object_in(entity.attributes)},
          {"time", to_rfc3339(entity.time)}};
}

json::object to_json(const EventView& event) {
  return {{"time", to_rfc3339(event.time)},
          {"observed", time_or_null(event.observed)},
          {"severity", text_or_null(event.severity)},
          {"severity_text", text_or_null(event.severity_text)},
          {"name", text_or_null(event.name)},
          {"body", event.body},
          {"attributes", object_in(event.attributes)}};
}

json::object to_json(const TopologyNode& node) {
  return {{"name", node.name},
          {"role", to_string(node.role)},
          {"standing", to_string(node.standing)},
          {"parent", text_or_null(node.parent)},
          {"connected", node.connected},
          {"health", to_string(node.health)},
          {"via", text_or_null(node.via)},
          {"last_seen", time_or_null(node.last_seen)},
          {"path", texts(node.path)},
          {"lag_ms", number_or_null(node.lag_ms)},
          {"queue_batches", number_or_null(node.queue_batches)},
          {"queue_bytes", number_or_null(node.queue_bytes)},
          {"queue_oldest", time_or_null(node.queue_oldest)},
          {"certificate_not_after", time_or_null(node.certificate_not_after)}};
}

json::object to_json(const PendingView& pending) {
  return {{"name", pending.name},
          {"id", text_or_null(pending.id)},
          {"role", to_string(pending.role)},
          {"reason", text_or_null(pending.reason)},
          {"certificate_sha256", text_or_null(pending.certificate_sha256)},
          {"address", text_or_null(pending.address)},
          {"path", texts(pending.path)},
          {"first_seen", time_or_null(pending.first_seen)},
          {"last_seen", time_or_null(pending.last_seen)}};
}

json::object to_json(const Approved& approved) {
  json::object out = to_json(approved.node);
  out["already_approved"] = approved.already_approved;
  return out;
}

json::object to_json(const SignedCertificate& certificate) {
  return {{"chain", certificate.chain_pem},
          {"subject", certificate.subject},
          {"serial", certificate.serial},
          {"not_after", to_rfc3339(certificate.not_after)}};
}

std::string_view to_string(RevocationReason reason) {
  return reason == RevocationReason::compromised ? "compromised"
         : reason == RevocationReason::retired   ? "retired"
                                                 : "superseded";
}

std::optional<RevocationReason> revocation_reason_from(std::string_view text) {
  for (const auto reason :
       {RevocationReason::compromised, RevocationReason::retired, RevocationReason::superseded})
    if (text == to_string(reason)) return reason;
  return std::nullopt;
}

json::object to_json(const RevocationView& revocation) {
  return {
      {"node", text_or_null(revocation.node)},  {"serial", text_or_null(revocation.serial)},
      {"reason", to_string(revocation.reason)}, {"not_after", time_or_null(revocation.not_after)},
      {"decided_by", revocation.decided_by},    {"decided", to_rfc3339(revocation.decided)}};
}

json::object to_json(const Revoked& revoked) {
  json::array items;
  for (const RevocationView& one : revoked.revocations) items.push_back(to_json(one));
  return {{"items", std::move(items)},
          {"already_revoked", revoked.already_revoked},
          {"identity_revoked", revoked.identity_revoked}};
}

json::object to_json(const AuthorityView& authority) {
  constexpr std::string_view kPhases[] = {"none", "spreading", "renewing"};
  constexpr std::string_view kStandings[] = {"signing", "next", "former", "outside"};
  json::array anchors, waiting;
  for (const auto& anchor : authority.anchors)
    anchors.push_back(json::object{{"subject", anchor.subject},
                                   {"serial", anchor.serial},
                                   {"sha256", anchor.sha256},
                                   {"not_after", to_rfc3339(anchor.not_after)},
                                   {"standing", kStandings[static_cast<int>(anchor.standing)]}});
  for (const auto& node : authority.waiting)
    waiting.push_back(json::object{{"name", node.name},
                                   {"role", to_string(node.role)},
                                   {"connected", node.connected},
                                   {"last_seen", time_or_null(node.last_seen)},
                                   {"reason", node.reason}});
  return {{"phase", kPhases[static_cast<int>(authority.phase)]},
          {"issuer", authority.issuer},
          {"issuer_not_after", to_rfc3339(authority.issuer_not_after)},
          {"anchors", std::move(anchors)},
          {"nodes", authority.nodes},
          {"nodes_to_come", authority.nodes_to_come},
          {"waiting", std::move(waiting)}};
}

json::object to_json(const GroupView& group) {
  return {{"name", group.name},
          {"id", group.id},
          {"root_sha256", group.root_sha256},
          {"servers", texts(group.servers)},
          {"addresses", texts(group.addresses)},
          {"anchors_sha256", texts(group.anchors_sha256)}};
}

json::object to_json(const ServerView& server) {
  return {{"name", server.name},
          {"id", text_or_null(server.id)},
          {"this_server", server.this_server},
          {"listen", text_or_null(server.listen)},
          {"software", text_or_null(server.software)},
          {"started", time_or_null(server.started)},
          {"generation", server.generation},
          {"certificate_not_after", time_or_null(server.certificate_not_after)}};
}

json::object to_json(const AuditView& entry) {
  return {{"time", to_rfc3339(entry.time)},
          {"who", entry.who},
          {"what", entry.what},
          {"subject", entry.subject},
          {"detail", entry.detail}};
}

json::object to_json(const JoinTokenView& token) {
  return {{"id", token.id},
          {"role", to_string(token.role)},
          {"name", token.name_pattern},
          {"parents", json::array(token.parents.begin(), token.parents.end())},
          {"pending", !token.approves},
          {"uses_max", token.uses_max},
          {"uses", token.uses},
          {"created_by", token.created_by},
          {"created", to_rfc3339(token.created)},
          {"expires", to_rfc3339(token.expires)},
          {"revoked", time_or_null(token.revoked)},
          {"outdated", token.outdated}};
}

json::object to_json(const NewJoinToken& token) {
  json::object out = to_json(token.view);
  out["token"] = token.token;
  return out;
}

json::object to_json(const TokenView& token) {
  return {{"id", token.id},
          {"label", text_or_null(token.label)},
          {"role", to_string(token.scope)},
          {"created_by", token.created_by},
          {"created", to_rfc3339(token.created)},
          {"expires", time_or_null(token.expires)},
          {"last_used", time_or_null(token.last_used)},
          {"revoked", time_or_null(token.revoked)}};
}

json::object to_json(const NewToken& token) {
  json::object out = to_json(token.view);
  out["token"] = token.token;
  return out;
}

json::object approval_to_json(const NodeSummary& node) {
  return {{"name", node.name},
          {"id", text_or_null(node.id)},
          {"role", to_string(node.role)},
          {"standing", to_string(node.standing)},
          {"parents", texts(node.parents)},
          {"direction", to_string(node.direction)},
          {"certificate_sha256", text_or_null(node.certificate_sha256)},
          {"reason", text_or_null(node.reason)},
          {"decided_by", text_or_null(node.decided_by)},
          {"decided", time_or_null(node.decided)}};
}

json::object certificate_to_json(const NodeSummary& node) {
  return {{"node", node.name},
          {"node_id", text_or_null(node.id)},
          {"role", to_string(node.role)},
          {"sha256", text_or_null(node.certificate_sha256)},
          {"serial", text_or_null(node.certificate_serial)},
          {"revoked", text_or_null(node.certificate_revoked)},
          {"issuer", text_or_null(node.certificate_issuer)},
          {"key", text_or_null(node.certificate_key)},
          {"renewal", node.renewal},
          {"renewal_words", text_or_null(node.renewal_words)},
          {"not_after", time_or_null(node.certificate_not_after)},
          {"last_seen", time_or_null(node.last_seen)},
          {"path", texts(node.path)}};
}

json::object to_json(const LossView& loss) {
  return {{"kind", to_string(loss.kind)},
          {"node", loss.node},
          {"node_id", loss.node_id},
          {"lane", loss.lane},
          {"epoch", {{"ordinal", loss.epoch_ordinal}, {"random", loss.epoch_random}}},
          {"first", loss.range.first},
          {"last", loss.range.last},
          {"noted", time_or_null(loss.noted)},
          {"first_time", time_or_null(loss.first_time)},
          {"last_time", time_or_null(loss.last_time)},
          {"records", number_or_null(loss.records)},
          {"bytes", number_or_null(loss.bytes)},
          {"reason", text_or_null(loss.reason)},
          {"where", text_or_null(loss.where)}};
}

json::object to_json(const AlertView& alert) {
  return {{"id", alert.id},
          {"state", alert.closed ? "closed" : "open"},
          {"severity", alert.severity},
          {"cause", alert.cause},
          {"node", text_or_null(alert.node)},
          {"node_id", text_or_null(alert.node_id)},
          {"words", alert.words},
          {"raised", to_rfc3339(alert.raised)},
          {"last", to_rfc3339(alert.last)},
          {"count", alert.count},
          {"closed", time_or_null(alert.closed)},
          {"closed_by", text_or_null(alert.closed_by)}};
}

json::object to_json(const TraceStarted& started) {
  return {{"id", started.id}, {"node", started.node}};
}

json::object to_json(const TraceView& trace) {
  json::array hops;
  for (const TraceHop& hop : trace.hops)
    hops.push_back({{"from", hop.from},
                    {"name", hop.name},
                    {"received", to_rfc3339(hop.received)},
                    {"wait_ms", hop.wait_ms}});
  return {{"id", trace.id},
          {"node", trace.node},
          {"state", trace.arrived ? "arrived" : "waiting"},
          {"asked", time_or_null(trace.asked)},
          {"sealed", time_or_null(trace.sealed)},
          {"hops", std::move(hops)},
          {"total_ms", number_or_null(trace.total_ms)}};
}

json::object to_json(const ApiError& error) {
  return {{"type", std::string(kProblemPrefix) + error.type},
          {"title", error.title},
          {"status", error.status},
          {"detail", error.detail}};
}

}  // namespace postern::api
