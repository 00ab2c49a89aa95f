#include <fmt/format.h>

#include <charconv>

#include "api/exchange.h"
#include "api/json.h"

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

}  // namespace

Answer<Reply> list_gateways(Exchange& exchange) {
  return reply_of(exchange.service.inventory(Role::gateway));
}
Answer<Reply> list_agents(Exchange& exchange) {
  return reply_of(exchange.service.inventory(Role::agent));
}
Answer<Reply> show_gateway(Exchange& exchange) { return show(exchange, Role::gateway); }
Answer<Reply> show_agent(Exchange& exchange) { return show(exchange, Role::agent); }
Answer<Reply> show_node(Exchange& exchange) { return show(exchange, std::nullopt); }

Answer<Reply> list_nodes(Exchange& exchange) {
  std::optional<Role> role;
  if (const auto found = exchange.query.find("role"); found != exchange.query.end()) {
    role = role_from(found->second);
    if (!role)
      return refuse(
          kProblemInvalid,
          fmt::format("role is '{}', it must be agent, gateway or server", found->second));
  }
  return reply_of(exchange.service.inventory(role));
}

Answer<Reply> show_topology(Exchange& exchange) { return reply_of(exchange.service.topology()); }

Answer<Reply> list_servers(Exchange& exchange) { return reply_of(exchange.service.servers()); }

Answer<std::size_t> limit_of(const Exchange& exchange, std::size_t otherwise, std::size_t max) {
  const auto found = exchange.query.find("limit");
  if (found == exchange.query.end()) return otherwise;
  const std::string& text = found->second;
  std::size_t limit = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (failed != std::errc() || end != text.data() + text.size() || limit == 0 || limit > max)
    return refuse(kProblemInvalid,
                  fmt::format("limit is '{}', it must be a number from 1 to {}", text, max));
  return limit;
}

Answer<Reply> list_audit(Exchange& exchange) {
  const auto limit = limit_of(exchange, kAuditLimitDefault, kAuditLimitMax);
  if (!limit) return std::unexpected(limit.error());
  return reply_of(exchange.service.audit(*limit));
}

}  // namespace postern::api
