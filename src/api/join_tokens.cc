// Tokens by which machines join.

#include <fmt/format.h>

#include "api/exchange.h"
#include "api/json.h"

namespace postern::api {
namespace {

constexpr std::size_t kWordBytesMax = 32;
constexpr std::size_t kAddressesMax = 8;

}  // namespace

Answer<Reply> list_join_tokens(Exchange& exchange) {
  auto tokens = exchange.service.join_tokens();
  if (!tokens) return std::unexpected(tokens.error());
  Reply reply;
  reply.json = list_to_json(*tokens);
  return reply;
}

Answer<Reply> create_join_token(Exchange& exchange) {
  auto members = Members::of_body(exchange.request);
  if (!members) return std::unexpected(members.error());
  JoinTokenRequest request;
  const std::string role = members->required_text("role", kWordBytesMax);
  if (const auto known = role_from(role); known && *known != Role::server)
    request.role = *known;
  else
    members->object_to(fmt::format("'role' is '{}', it must be agent or gateway", role));
  if (const auto name = members->optional_text("name", kNamePatternBytesMax); !name.empty())
    request.name_pattern = name;
  request.parents = members->fqdns("parents", 0);
  request.approves = !members->optional_flag("pending");
  if (const auto uses = members->optional_count("uses_max", 1, kJoinUsesMax))
    request.uses_max = *uses;
  if (const auto seconds = members->optional_count(
          "lifetime_seconds", static_cast<std::uint32_t>(kJoinLifetimeMin.count()),
          static_cast<std::uint32_t>(kJoinLifetimeMax.count())))
    request.lifetime = std::chrono::seconds(*seconds);
  request.addresses = members->optional_texts("addresses", kAddressesMax, kJoinAddressBytesMax);
  if (auto done = members->done(); !done) return std::unexpected(done.error());
  auto created = exchange.service.create_join_token(exchange.caller, request);
  if (!created) return std::unexpected(created.error());
  Reply reply;
  reply.status = 201;
  reply.location = "/api/v1/join-tokens/" + created->view.id;
  reply.json = to_json(*created);
  return reply;
}

Answer<Reply> revoke_join_token(Exchange& exchange) {
  auto revoked = exchange.service.revoke_join_token(exchange.caller, exchange.id);
  if (!revoked) return std::unexpected(revoked.error());
  Reply reply;
  reply.json = to_json(*revoked);
  return reply;
}

}  // namespace postern::api
