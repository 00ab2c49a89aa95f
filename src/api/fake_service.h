#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "api/service.h"

namespace postern::api {

/// A management group in memory, for tests: one server, and whatever they put in. It records who
/// changed what in `audit_log`.
class FakeService final : public Service {
 public:
  std::vector<NodeSummary> nodes{server_node()};
  std::vector<PendingView> waiting;
  std::vector<StreamView> streams;
  std::vector<ValueView> values;
  std::vector<EntityView> entity_list;
  Observations<ValueView> series_page;
  Observations<EventView> event_page;
  SeriesQuery last_series;
  EventQuery last_events;
  std::vector<TopologyNode> tree;
  std::vector<AuditView> audit_log;  // newest first
  std::vector<LossView> loss_list;
  LossQuery last_query;
  ChangeQuery last_changes;
  std::vector<AlertView> alert_list;
  std::vector<TokenView> token_list;  // newest first
  std::vector<JoinTokenView> join_token_list;
  JoinTokenRequest last_join_token;
  std::vector<TraceView> traces;   // answers to come, the last one stays
  std::optional<ApiError> broken;  // what every call answers, when set
  GatewayApproval last_gateway;
  SigningRequest last_request;
  RevocationRequest last_revocation;
  std::vector<RevocationView> revoked_list;  // newest first
  AuthorityView authority_view;
  WallTime now = wall_from_ms(1'800'000'000'000);

  static NodeSummary server_node() {
    NodeSummary server;
    server.name = "ms1.home.example";
    server.role = Role::server;
    server.standing = Standing::approved;
    server.connected = true;
    server.last_seen = wall_from_ms(1'800'000'000'000);
    return server;
  }

  static NodeSummary agent_node(const char* name) {
    NodeSummary agent;
    agent.name = name;
    agent.standing = Standing::approved;
    return agent;
  }

  Answer<Approved> approve_gateway(const Caller& caller, const GatewayApproval& approval) override {
    last_gateway = approval;
    for (const std::string& parent : approval.parents) {
      const NodeSummary* known = find(parent);
      if (known == nullptr || known->role == Role::agent)
        return refused(kProblemUnknownParent, parent + " is not part of the management group");
    }
    if (approval.direction == Direction::parent_dials)
      return refused(kProblemDirection,
                     "connections initiated by the management server are not available in this "
                     "version; the wish is recorded; approve without the switch to let the "
                     "gateway dial");
    return approve(caller, approval.name, Role::gateway, approval.parents);
  }
  Answer<Approved> approve_agent(const Caller& caller, const AgentApproval& approval) override {
    return approve(caller, approval.name, Role::agent, approval.parents);
  }
  Answer<NodeSummary> remove_node(const Caller& caller, Role role, std::string_view node) override {
    if (broken) return std::unexpected(*broken);
    const NodeSummary* known = find(node);
    if (known == nullptr || known->role != role) return unknown(node);
    NodeSummary removed = *known;
    std::erase_if(nodes, [&](const NodeSummary& one) { return one.name == removed.name; });
    removed.standing = Standing::removed;
    record(caller, "remove", removed.name);
    return removed;
  }

  Answer<std::vector<PendingView>> pending() override { return answer(waiting); }
  Answer<Approved> approve_pending(const Caller& caller, std::string_view node) override {
    auto found = take_waiting(node);
    if (!found) return std::unexpected(found.error());
    return approve(caller, found->name, found->role, {});
  }
  Answer<PendingView> reject_pending(const Caller& caller, std::string_view node) override {
    auto found = take_waiting(node);
    if (found) record(caller, "reject", found->name);
    return found;
  }

  Answer<std::vector<NodeSummary>> inventory(const NodeQuery& query) override {
    auto list = nodes;
    std::ranges::sort(list, {}, [](const NodeSummary& node) { return place_of(node); });
    std::erase_if(list, [&](const NodeSummary& node) {
      return (query.role && node.role != *query.role) ||
             (query.connected && node.connected != *query.connected) ||
             (!query.name.empty() && !matches_pattern(query.name, node.name)) ||
             place_of(node) <= query.after;
    });
    if (list.size() > query.limit) list.resize(query.limit);
    return answer(list);
  }
  Answer<NodeDetail> node(std::string_view name) override {
    if (broken) return std::unexpected(*broken);
    const NodeSummary* known = find(name);
    if (known == nullptr) return unknown(name);
    return NodeDetail{*known, streams, values};
  }
  Answer<std::vector<TopologyNode>> topology() override {
    if (!tree.empty()) return answer(tree);
    std::vector<TopologyNode> all;
    for (const NodeSummary& node : nodes) {
      TopologyNode one;
      one.name = node.name;
      one.role = node.role;
      one.standing = node.standing;
      one.parent = node.parents.empty() ? "" : node.parents.front();
      one.connected = node.connected;
      one.last_seen = node.last_seen;
      all.push_back(std::move(one));
    }
    return answer(all);
  }

  Answer<std::vector<EntityView>> entities(std::string_view) override {
    return answer(entity_list);
  }
  Answer<Observations<ValueView>> series(std::string_view, const SeriesQuery& query) override {
    last_series = query;
    return answer(series_page);
  }
  Answer<Observations<EventView>> events(std::string_view, const EventQuery& query) override {
    last_events = query;
    return answer(event_page);
  }

  Answer<std::vector<LossView>> losses(const LossQuery& query) override {
    last_query = query;
    auto list = loss_list;
    if (query.node)
      std::erase_if(list, [&](const LossView& one) {
        return one.node != *query.node && one.node_id != *query.node;
      });
    if (list.size() > query.limit) list.resize(query.limit);
    return answer(list);
  }
  Answer<std::vector<AlertView>> alerts(bool open_only) override {
    auto list = alert_list;
    if (open_only) std::erase_if(list, [](const AlertView& one) { return one.closed.has_value(); });
    return answer(list);
  }
  Answer<AlertView> alert(std::int64_t id) override {
    for (const AlertView& one : alert_list)
      if (one.id == id) return answer(one);
    return refused(kProblemNotFound, "there is no alert " + std::to_string(id));
  }
  Answer<AlertView> close_alert(const Caller& caller, std::int64_t id) override {
    for (AlertView& one : alert_list)
      if (one.id == id && !one.closed) {
        one.closed = now;
        record(caller, "close alert", std::to_string(id));
      }
    return alert(id);
  }
  Answer<TraceStarted> trace(const Caller& caller, std::string_view node) override {
    if (broken) return std::unexpected(*broken);
    const NodeSummary* known = find(node);
    if (known == nullptr) return unknown(node);
    record(caller, "trace", known->name);
    return TraceStarted{std::string(32, 'a'), known->name};
  }
  Answer<TraceView> trace_result(std::string_view id) override {
    if (broken) return std::unexpected(*broken);
    if (traces.empty()) return refused(kProblemNotFound, "there is no trace " + std::string(id));
    TraceView next = traces.front();
    if (traces.size() > 1) traces.erase(traces.begin());
    return next;
  }

  Answer<SignedCertificate> sign_certificate(const Caller& caller,
                                             const SigningRequest& request) override {
    if (broken) return std::unexpected(*broken);
    last_request = request;
    record(caller, "sign", "certificate");
    return SignedCertificate{"-----BEGIN CERTIFICATE-----\n", "CN=gw1.dmz.example", "0a",
                             now + std::chrono::days(90)};
  }

  Answer<Revoked> revoke_certificate(const Caller& caller,
                                     const RevocationRequest& request) override {
    if (broken) return std::unexpected(*broken);
    last_revocation = request;
    const bool identity = request.reason == RevocationReason::compromised;
    const RevocationView one{request.certificate,         "0a",        request.reason,
                             now + std::chrono::days(90), caller.name, now};
    for (const RevocationView& known : revoked_list)
      if (known.node == one.node) return Revoked{{known}, true, identity};
    record(caller, "revoke", request.certificate);
    revoked_list.insert(revoked_list.begin(), one);
    return Revoked{{one}, false, identity};
  }
  Answer<std::vector<RevocationView>> revocations() override { return answer(revoked_list); }

  Answer<AuthorityView> authority() override { return answer(authority_view); }
  Answer<AuthorityView> roll_authority(const Caller& caller) override {
    return authority_step(caller, "roll", RolloverPhase::spreading, false);
  }
  Answer<AuthorityView> switch_authority(const Caller& caller, bool leave_behind) override {
    return authority_step(caller, "switch", RolloverPhase::renewing, leave_behind);
  }
  Answer<AuthorityView> finish_authority(const Caller& caller, bool leave_behind) override {
    return authority_step(caller, "finish", RolloverPhase::none, leave_behind);
  }

  Answer<GroupView> group() override {
    return answer(GroupView{
        "corp", "00ff", "aabb", {"ms1.home.example"}, {"ms1.home.example:5723"}, {"ccdd"}});
  }
  Answer<std::string> group_file() override { return answer(std::string("postern-group: 1\n")); }
  Answer<std::vector<ServerView>> servers() override {
    ServerView server;
    server.name = "ms1.home.example";
    server.this_server = true;
    server.listen = "0.0.0.0:5723";
    server.generation = 1;
    return answer(std::vector{server});
  }
  Answer<std::vector<AuditView>> audit(std::size_t limit,
                                       std::optional<std::int64_t> before) override {
    auto list = audit_log;
    if (before) std::erase_if(list, [&](const AuditView& one) { return one.row >= *before; });
    if (list.size() > limit) list.resize(limit);
    return answer(list);
  }

  Answer<std::function<void(std::shared_ptr<HttpStream>)>> changes(
      const ChangeQuery& query) override {
    last_changes = query;
    return answer(std::function<void(std::shared_ptr<HttpStream>)>(
        [](const std::shared_ptr<HttpStream>& stream) { stream->push("event: reset\n\n"); }));
  }

  Answer<NewToken> create_token(const Caller& caller, const TokenRequest& request) override {
    if (broken) return std::unexpected(*broken);
    TokenView view{fmt::format("{:012x}", token_list.size() + 1),
                   request.label,
                   request.scope,
                   caller.name,
                   now,
                   {},
                   {},
                   {}};
    if (request.days) view.expires = now + std::chrono::days(*request.days);
    token_list.insert(token_list.begin(), view);
    record(caller, "API token created", view.id);
    return NewToken{view, "postern_" + view.id + "_" + std::string(64, 'a')};
  }
  Answer<std::vector<TokenView>> tokens() override { return answer(token_list); }
  Answer<TokenView> revoke_token(const Caller& caller, std::string_view id) override {
    for (TokenView& one : token_list)
      if (one.id == id && !one.revoked) {
        one.revoked = now;
        record(caller, "API token revoked", one.id);
        return one;
      }
    return refused(kProblemNotFound, "there is no token " + std::string(id));
  }

  Answer<RenewalAllowed> allow_renewal(const Caller& caller, std::string_view node) override {
    if (broken) return std::unexpected(*broken);
    record(caller, "renewal allowed", std::string(node));
    return RenewalAllowed{std::string(node), now + std::chrono::hours(24)};
  }

  Answer<NewJoinToken> create_join_token(const Caller& caller,
                                         const JoinTokenRequest& request) override {
    if (broken) return std::unexpected(*broken);
    last_join_token = request;
    JoinTokenView view;
    view.id = fmt::format("{:016x}", join_token_list.size() + 1);
    view.role = request.role;
    view.name_pattern = request.name_pattern;
    view.parents = request.parents;
    view.approves = request.approves;
    view.uses_max = request.uses_max;
    view.created_by = caller.name;
    view.created = now;
    view.expires = now + request.lifetime;
    join_token_list.insert(join_token_list.begin(), view);
    record(caller, "join token created", view.id);
    return NewJoinToken{view, "postern-join-1.secret"};
  }
  Answer<std::vector<JoinTokenView>> join_tokens() override { return answer(join_token_list); }
  Answer<JoinTokenView> revoke_join_token(const Caller& caller, std::string_view id) override {
    for (JoinTokenView& one : join_token_list)
      if (one.id == id && !one.revoked) {
        one.revoked = now;
        record(caller, "join token revoked", one.id);
        return one;
      }
    return refused(kProblemNotFound, "there is no join token " + std::string(id));
  }

 private:
  template <typename T>
  Answer<T> answer(T value) {
    if (broken) return std::unexpected(*broken);
    return value;
  }
  static std::unexpected<ApiError> refused(std::string_view type, std::string detail) {
    return std::unexpected(problem(type, std::move(detail)));
  }
  static std::unexpected<ApiError> unknown(std::string_view node) {
    return refused(kProblemNotFound, std::string(node) + " is not in the management group");
  }
  const NodeSummary* find(std::string_view node) const {
    for (const NodeSummary& one : nodes)
      if (one.name == node || one.id == node) return &one;
    return nullptr;
  }
  void record(const Caller& caller, const char* what, const std::string& subject) {
    audit_log.insert(audit_log.begin(), AuditView{now, caller.name, what, subject, "",
                                                  static_cast<std::int64_t>(audit_log.size()) + 1});
  }
  Answer<AuthorityView> authority_step(const Caller& caller, const char* step, RolloverPhase phase,
                                       bool leave_behind) {
    if (broken) return std::unexpected(*broken);
    if (!authority_view.waiting.empty() && !leave_behind)
      return refused(kProblemConflict, authority_view.waiting.front().name + " is not ready");
    authority_view.phase = phase;
    record(caller, step, "authority");
    return authority_view;
  }
  Answer<Approved> approve(const Caller& caller, const std::string& name, Role role,
                           const std::vector<std::string>& parents) {
    if (broken) return std::unexpected(*broken);
    if (const NodeSummary* known = find(name)) {
      if (known->role == role) return Approved{*known, true};
      return refused(kProblemConflict, name + " is registered in another role; remove it first");
    }
    NodeSummary node;
    node.name = name;
    node.role = role;
    node.standing = Standing::approved;
    node.parents = parents;
    node.decided_by = caller.name;
    node.decided = now;
    nodes.push_back(node);
    record(caller, "approve", name);
    return Approved{node, false};
  }
  Answer<PendingView> take_waiting(std::string_view node) {
    if (broken) return std::unexpected(*broken);
    const auto found = std::ranges::find_if(
        waiting, [&](const PendingView& one) { return one.name == node || one.id == node; });
    if (found == waiting.end()) return unknown(node);
    PendingView taken = *found;
    waiting.erase(found);
    return taken;
  }
};

}  // namespace postern::api
