// Tokens of the API: who may ask over HTTPS, and what.

#include <fmt/format.h>

#include "api/exchange.h"
#include "api/json.h"

namespace postern::api {
namespace {

constexpr std::size_t kRoleBytesMax = 32;

}  // namespace

Answer<Reply> list_tokens(Exchange& exchange) {
  auto tokens = exchange.service.tokens();
  if (!tokens) return std::unexpected(tokens.error());
  Reply reply;
  reply.json = list_to_json(*tokens);
  return reply;
}

Answer<Reply> create_token(Exchange& exchange) {
  auto members = Members::of_body(exchange.request);
  if (!members) return std::unexpected(members.error());
  TokenRequest request;
  const std::string role = members->required_text("role", kRoleBytesMax);
  if (const auto scope = scope_from(role))
    request.scope = *scope;
  else
    members->object_to(
        fmt::format("'role' is '{}', it must be read-only, operator or administrator", role));
  request.label = members->optional_text("label", kTokenLabelBytesMax);
  request.days = members->optional_count("days", 1, kTokenDaysMax);
  if (auto done = members->done(); !done) return std::unexpected(done.error());
  auto created = exchange.service.create_token(exchange.caller, request);
  if (!created) return std::unexpected(created.error());
  Reply reply;
  reply.status = 201;
  reply.location = "/api/v1/tokens/" + created->view.id;
  reply.json = to_json(*created);
  return reply;
}

Answer<Reply> revoke_token(Exchange& exchange) {
  auto revoked = exchange.service.revoke_token(exchange.caller, exchange.id);
  if (!revoked) return std::unexpected(revoked.error());
  Reply reply;
  reply.json = to_json(*revoked);
  return reply;
}

}  // namespace postern::api
