// The tokens of the API, and who listens.

#include "api/json.h"
#include "api/token.h"
#include "server/service.h"

namespace postern {
namespace {

using api::Answer;
using api::problem;

std::unexpected<api::ApiError> failed(const Error& error) {
  return std::unexpected(api::problem_of(error));
}

std::unexpected<api::ApiError> unknown(std::string words) {
  return std::unexpected(problem(api::kProblemUnauthenticated, std::move(words)));
}

api::Scope scope_of(store::Scope scope) {
  return static_cast<api::Scope>(static_cast<int>(scope) - 1);
}
store::Scope scope_of(api::Scope scope) {
  return static_cast<store::Scope>(static_cast<int>(scope) + 1);
}

api::TokenView view_of(const store::ApiToken& token) {
  return {token.id,      token.label,   scope_of(token.scope), token.created_by,
          token.created, token.expires, token.last_used,       token.revoked};
}

}  // namespace

Answer<api::NewToken> ServerService::create_token(const api::Caller& caller,
                                                  const api::TokenRequest& request) {
  std::array<std::byte, api::kTokenIdBytes> id{};
  std::array<std::byte, api::kTokenSecretBytes> secret{};
  random_.fill(id);
  random_.fill(secret);
  store::ApiToken token;
  token.id = to_hex(id);
  token.secret_sha256 = sha256(secret);
  token.label = request.label;
  token.scope = scope_of(request.scope);
  token.created_by = caller.name;
  token.created = clock_.wall();
  if (request.days) token.expires = token.created + std::chrono::days(*request.days);
  const store::AuditEntry audit{token.created, caller.name, "API token created", token.id,
                                fmt::format("{}{}{}", api::to_string(request.scope),
                                            request.label.empty() ? "" : ": ", request.label)};
  if (auto added = store_.add_api_token(token, audit); !added) return failed(added.error());
  changes_.emplace_back("token", token.id);
  return api::NewToken{view_of(token), api::token_text(token.id, secret)};
}

Answer<std::vector<api::TokenView>> ServerService::tokens() {
  auto tokens = store_.api_tokens();
  if (!tokens) return failed(tokens.error());
  std::vector<api::TokenView> views;
  for (const store::ApiToken& token : *tokens) views.push_back(view_of(token));
  return views;
}

Answer<api::TokenView> ServerService::revoke_token(const api::Caller& caller, std::string_view id) {
  const WallTime now = clock_.wall();
  const store::AuditEntry audit{now, caller.name, "API token revoked", std::string(id), ""};
  auto revoked = store_.revoke_api_token(id, now, audit);
  if (!revoked) return failed(revoked.error());
  auto token = store_.api_token(id);
  if (!token) return failed(token.error());
  if (!*revoked || !*token)
    return std::unexpected(problem(
        api::kProblemNotFound,
        *token ? fmt::format("the token {} was revoked at {}", id, to_rfc3339(*(*token)->revoked))
               : fmt::format("there is no token {}; its id is what stands between the two "
                             "underscores of the token",
                             id)));
  changes_.emplace_back("token", std::string(id));
  return view_of(**token);
}

Answer<std::function<void(std::shared_ptr<HttpStream>)>> ServerService::changes(
    const api::ChangeQuery& query) {
  if (!listen_)
    return std::unexpected(
        problem(api::kProblemNotAvailable, "changes are not told by this server"));
  return [listen = listen_, query](std::shared_ptr<HttpStream> stream) {
    listen(query, std::move(stream));
  };
}

Answer<api::Caller> ServerService::caller_of_token(std::string_view text) {
  const auto parsed = api::parse_token(text);
  if (!parsed)
    return unknown(
        "an API token is needed, as \"Authorization: Bearer TOKEN\"; an administrator makes one "
        "with: "
        "postern api-token create");
  auto token = store_.api_token(parsed->id);
  if (!token) return failed(token.error());
  const WallTime now = clock_.wall();
  // One answer whether the id or the secret is wrong: who guesses learns nothing.
  if (!*token || !equal_constant_time((*token)->secret_sha256, parsed->secret_sha256))
    return unknown("this API token is not known here");
  store::ApiToken& known = **token;
  if (known.revoked)
    return unknown(
        fmt::format("the API token {} was revoked at {}", known.id, to_rfc3339(*known.revoked)));
  if (known.expires && *known.expires <= now)
    return unknown(
        fmt::format("the API token {} expired at {}; an administrator makes a new one with: "
                    "postern api-token create",
                    known.id, to_rfc3339(*known.expires)));
  // That it could not be noted keeps nobody out.
  if (!known.last_used || now - *known.last_used >= kTokenUseNotedEvery)
    (void)store_.api_token_used(known.id, now);
  return api::Caller{
      0, 0, fmt::format("token {}{}{}", known.id, known.label.empty() ? "" : " ", known.label),
      scope_of(known.scope)};
}

}  // namespace postern
