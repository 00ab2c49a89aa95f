// The tokens by which machines join (docs/formats/join.md).

#include "node/join_token.h"
#include "server/service.h"

namespace postern {
namespace {

using api::Answer;
using api::problem;

std::unexpected<api::ApiError> failed(const Error& error) {
  return std::unexpected(api::problem_of(error));
}

api::JoinTokenView view_of(const store::JoinToken& token, std::uint32_t generation) {
  return {token.id,           static_cast<api::Role>(static_cast<int>(token.role) - 1),
          token.name_pattern, token.parents,
          token.approves,     token.uses_max,
          token.uses,         token.created_by,
          token.created,      token.expires,
          token.revoked,      token.generation != generation};
}

}  // namespace

Answer<api::NewJoinToken> ServerService::create_join_token(const api::Caller& caller,
                                                           const api::JoinTokenRequest& request) {
  if (auto wrong = check_parents(request.parents)) return std::unexpected(*wrong);
  auto generation = store_.generation();
  if (!generation) return failed(generation.error());
  node::JoinToken secret;
  secret.group = about_.group;
  secret.root_sha256 = about_.root.fingerprint();
  for (const Certificate& anchor : about_.anchors.certificates())
    secret.anchors_sha256.push_back(anchor.fingerprint());
  if (secret.anchors_sha256.size() > node::kJoinAnchorsMax)
    secret.anchors_sha256.resize(node::kJoinAnchorsMax);
  secret.role = static_cast<node::Role>(static_cast<int>(request.role) + 1);
  secret.expires = clock_.wall() + request.lifetime;
  for (const std::string& address : request.addresses) {
    if (auto parent = parse_parent(address); !parent)
      return std::unexpected(problem(api::kProblemUnprocessable, parent.error().message));
    secret.addresses.push_back(address);
  }
  if (request.addresses.empty())
    for (const std::string& address : about_.addresses) {
      const std::string entry = fmt::format("{}={}", about_.name, address);
      secret.addresses.push_back(address.starts_with(about_.name) ? address : entry);
    }
  random_.fill(secret.seed);
  const PrivateKey key = secret.key();

  store::JoinToken token;
  token.id = node::join_token_id(key.public_key());
  token.key = to_bytes(key.public_key().spki());
  token.role = static_cast<store::Role>(secret.role);
  token.name_pattern = request.name_pattern;
  token.parents = request.parents;
  token.approves = request.approves;
  token.uses_max = request.uses_max;
  token.created_by = caller.name;
  token.created = clock_.wall();
  token.expires = secret.expires;
  token.generation = *generation;
  const store::AuditEntry audit{
      token.created, caller.name, "join token created", token.id,
      fmt::format("{} {}, {} use{}, until {}{}", to_string(secret.role), token.name_pattern,
                  token.uses_max, token.uses_max == 1 ? "" : "s", to_rfc3339(token.expires),
                  token.approves ? "" : ", waits in Pending")};
  if (auto added = store_.add_join_token(token, audit); !added) return failed(added.error());
  changes_.emplace_back("token", token.id);
  return api::NewJoinToken{view_of(token, *generation), node::join_token_text(secret)};
}

Answer<std::vector<api::JoinTokenView>> ServerService::join_tokens() {
  auto generation = store_.generation();
  if (!generation) return failed(generation.error());
  auto tokens = store_.join_tokens();
  if (!tokens) return failed(tokens.error());
  std::vector<api::JoinTokenView> views;
  for (const store::JoinToken& token : *tokens) views.push_back(view_of(token, *generation));
  return views;
}

Answer<api::JoinTokenView> ServerService::revoke_join_token(const api::Caller& caller,
                                                            std::string_view id) {
  const WallTime now = clock_.wall();
  auto revoked = store_.revoke_join_token(
      id, now, {now, caller.name, "join token revoked", std::string(id), ""});
  if (!revoked) return failed(revoked.error());
  auto token = store_.join_token(id);
  if (!token) return failed(token.error());
  auto generation = store_.generation();
  if (!generation) return failed(generation.error());
  if (!*revoked || !*token)
    return std::unexpected(problem(
        api::kProblemNotFound,
        *token
            ? fmt::format("the join token {} was revoked at {}", id, to_rfc3339(*(*token)->revoked))
            : fmt::format("there is no join token {}; see: postern token list", id)));
  changes_.emplace_back("token", std::string(id));
  return view_of(**token, *generation);
}

}  // namespace postern
