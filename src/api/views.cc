#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "api/exchange.h"
#include "api/json.h"
#include "identity/certificate.h"

namespace postern::api {
namespace {

template <typename T>
Answer<Reply> reply_of(const Answer<std::vector<T>>& list) {
  if (!list) return std::unexpected(list.error());
  Reply reply;
  reply.json = list_to_json(*list);
  return reply;
}

Answer<Reply> show(Exchange& exchange, std::optional<Role> role) {
  auto detail = exchange.service.node(exchange.node);
  if (!detail) return std::unexpected(detail.error());
  if (role && detail->node.role != *role)
    return refuse(kProblemNotFound,
                  fmt::format("{} is no {}: it is registered as {}", exchange.node,
                              to_string(*role), to_string(detail->node.role)));
  Reply reply;
  reply.json = to_json(*detail);
  return reply;
}

/// The page that is asked for, and one more node when there is one.
Answer<std::pair<Page, std::vector<NodeSummary>>> nodes_of(Exchange& exchange,
                                                           std::optional<Role> role) {
  auto page = page_of(exchange, kNodesLimitDefault, kNodesLimitMax);
  if (!page) return std::unexpected(page.error());
  const auto connected = flag_of(exchange, "connected");
  if (!connected) return std::unexpected(connected.error());
  NodeQuery query{role, *connected, "", page->after, page->limit + 1};
  if (const auto found = exchange.query.find("name"); found != exchange.query.end())
    std::ranges::transform(found->second, std::back_inserter(query.name),
                           [](unsigned char c) { return std::tolower(c); });
  if (const auto found = exchange.query.find("role"); found != exchange.query.end()) {
    query.role = role_from(found->second);
    if (!query.role)
      return refuse(
          kProblemInvalid,
          fmt::format("role is '{}', it must be agent, gateway or server", found->second));
  }
  auto nodes = exchange.service.inventory(query);
  if (!nodes) return std::unexpected(nodes.error());
  return std::pair(std::move(*page), std::move(*nodes));
}

Answer<Reply> list(Exchange& exchange, std::optional<Role> role) {
  auto nodes = nodes_of(exchange, role);
  if (!nodes) return std::unexpected(nodes.error());
  Reply reply;
  reply.json = page_to_json(std::move(nodes->second), nodes->first,
                            [](const NodeSummary& node) { return place_of(node); });
  return reply;
}

}  // namespace

Answer<Reply> list_gateways(Exchange& exchange) { return list(exchange, Role::gateway); }
Answer<Reply> list_agents(Exchange& exchange) { return list(exchange, Role::agent); }
Answer<Reply> show_gateway(Exchange& exchange) { return show(exchange, Role::gateway); }
Answer<Reply> show_agent(Exchange& exchange) { return show(exchange, Role::agent); }
Answer<Reply> show_node(Exchange& exchange) { return show(exchange, std::nullopt); }

Answer<Reply> list_nodes(Exchange& exchange) { return list(exchange, std::nullopt); }

Answer<Reply> list_certificates(Exchange& exchange) {
  auto nodes = nodes_of(exchange, std::nullopt);
  if (!nodes) return std::unexpected(nodes.error());
  auto& [page, found] = *nodes;
  const bool more = found.size() > page.limit;
  if (more) found.resize(page.limit);
  boost::json::array items;
  for (const NodeSummary& node : found) items.push_back(certificate_to_json(node));
  Reply reply;
  reply.json = {{"items", std::move(items)},
                {"next", more ? boost::json::value(next_page(place_of(found.back()))) : nullptr}};
  return reply;
}

Answer<Reply> allow_renewal(Exchange& exchange) {
  auto allowed = exchange.service.allow_renewal(exchange.caller, exchange.node);
  if (!allowed) return std::unexpected(allowed.error());
  Reply reply;
  reply.json = {{"node", allowed->node}, {"until", to_rfc3339(allowed->until)}};
  return reply;
}

Answer<Reply> show_topology(Exchange& exchange) { return reply_of(exchange.service.topology()); }

Answer<Reply> list_servers(Exchange& exchange) { return reply_of(exchange.service.servers()); }

Answer<Reply> show_server(Exchange& exchange) {
  auto servers = exchange.service.servers();
  if (!servers) return std::unexpected(servers.error());
  const auto name = normal_fqdn(exchange.node);
  for (const ServerView& server : *servers) {
    if (server.id != exchange.node && (!name || server.name != *name)) continue;
    Reply reply;
    reply.json = to_json(server);
    return reply;
  }
  return refuse(kProblemNotFound,
                fmt::format("there is no management server {}; postern server list shows them",
                            exchange.node));
}

Answer<Reply> list_audit(Exchange& exchange) {
  const auto page = page_of(exchange, kAuditLimitDefault, kAuditLimitMax);
  if (!page) return std::unexpected(page.error());
  std::optional<std::int64_t> before;
  if (!page->after.empty()) {
    std::int64_t row = 0;
    const char* end = page->after.data() + page->after.size();
    if (std::from_chars(page->after.data(), end, row).ptr != end)
      return refuse(kProblemInvalid, "this cursor belongs to another list");
    before = row;
  }
  auto entries = exchange.service.audit(page->limit + 1, before);
  if (!entries) return std::unexpected(entries.error());
  Reply reply;
  reply.json = page_to_json(std::move(*entries), *page,
                            [](const AuditView& entry) { return std::to_string(entry.row); });
  return reply;
}

}  // namespace postern::api
