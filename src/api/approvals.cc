#include <fmt/format.h>

#include <algorithm>

#include "api/exchange.h"
#include "api/json.h"

namespace postern::api {
namespace {

constexpr std::size_t kSiteBytesMax = 256;
constexpr std::size_t kWordBytesMax = 32;

// 201 the first time, 200 when nothing changed.
Answer<Reply> reply_of(Answer<Approved> approved, const char* collection) {
  if (!approved) return std::unexpected(approved.error());
  Reply reply;
  reply.status = approved->already_approved ? 200 : 201;
  reply.location = fmt::format("/api/v1/{}/{}", collection, approved->node.name);
  reply.json = to_json(*approved);
  return reply;
}

void check_parents(Members& members, const std::string& name,
                   const std::vector<std::string>& parents) {
  if (std::ranges::find(parents, name) != parents.end())
    members.object_to(fmt::format("'parents': {} cannot be its own parent", name));
}

Answer<Reply> remove(Exchange& exchange, Role role) {
  auto removed = exchange.service.remove_node(exchange.caller, role, exchange.node);
  if (!removed) return std::unexpected(removed.error());
  Reply reply;
  reply.json = to_json(*removed);
  return reply;
}

}  // namespace

Answer<Reply> approve_gateway(Exchange& exchange) {
  auto members = Members::of_body(exchange.request);
  if (!members) return std::unexpected(members.error());
  GatewayApproval approval;
  approval.name = members->required_fqdn("name");
  approval.parents = members->fqdns("parents", 1);
  approval.site = members->optional_text("site", kSiteBytesMax);
  const std::string direction = members->optional_text("direction", kWordBytesMax);
  if (const auto known = direction_from(direction))
    approval.direction = *known;
  else if (!direction.empty())
    members->object_to(
        fmt::format("'direction' is '{}', it must be child-dials or parent-dials", direction));
  check_parents(*members, approval.name, approval.parents);
  if (auto done = members->done(); !done) return std::unexpected(done.error());
  return reply_of(exchange.service.approve_gateway(exchange.caller, approval), "gateways");
}

Answer<Reply> approve_agent(Exchange& exchange) {
  auto members = Members::of_body(exchange.request);
  if (!members) return std::unexpected(members.error());
  AgentApproval approval;
  approval.name = members->required_fqdn("name");
  approval.parents = members->fqdns("parents", 0);
  check_parents(*members, approval.name, approval.parents);
  if (auto done = members->done(); !done) return std::unexpected(done.error());
  return reply_of(exchange.service.approve_agent(exchange.caller, approval), "agents");
}

Answer<Reply> remove_gateway(Exchange& exchange) { return remove(exchange, Role::gateway); }
Answer<Reply> remove_agent(Exchange& exchange) { return remove(exchange, Role::agent); }

Answer<Reply> list_pending(Exchange& exchange) {
  auto pending = exchange.service.pending();
  if (!pending) return std::unexpected(pending.error());
  Reply reply;
  reply.json = list_to_json(*pending);
  return reply;
}

Answer<Reply> show_pending(Exchange& exchange) {
  auto pending = exchange.service.pending();
  if (!pending) return std::unexpected(pending.error());
  std::erase_if(*pending, [&](const PendingView& one) {
    return one.name != exchange.node && one.id != exchange.node;
  });
  if (pending->empty())
    return refuse(kProblemNotFound, fmt::format("{} does not wait for approval", exchange.node));
  if (pending->size() > 1)
    return refuse(kProblemConflict, fmt::format("several nodes wait under the name {}; name one by "
                                                "its id, as the list of pending nodes shows it",
                                                exchange.node));
  Reply reply;
  reply.json = to_json(pending->front());
  return reply;
}

Answer<Reply> show_approval(Exchange& exchange) {
  auto detail = exchange.service.node(exchange.node);
  if (!detail) return std::unexpected(detail.error());
  Reply reply;
  reply.json = approval_to_json(detail->node);
  return reply;
}

Answer<Reply> approve_pending(Exchange& exchange) {
  return reply_of(exchange.service.approve_pending(exchange.caller, exchange.node), "nodes");
}

Answer<Reply> reject_pending(Exchange& exchange) {
  auto rejected = exchange.service.reject_pending(exchange.caller, exchange.node);
  if (!rejected) return std::unexpected(rejected.error());
  Reply reply;
  reply.json = to_json(*rejected);
  return reply;
}

}  // namespace postern::api
