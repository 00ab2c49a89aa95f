#include <fmt/format.h>

#include "base/quantity.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

std::string state_of(Session& session, const json::value& token) {
  if (!text_of(token, "revoked").empty()) return "revoked";
  const auto end = parse_rfc3339(text_of(token, "expires"));
  if (!end) return "valid";
  return *end <= session.world.clock.wall() ? "expired" : left(*end, session.world.clock.wall());
}

std::string tokens_table(Session& session, const json::value& answer) {
  Table table({"ID", "ROLE", "LABEL", "MADE BY", "MADE", "LAST USED", "STATE"});
  for (const json::value& token : list_of(answer, "items"))
    table.add({text_of(token, "id"), text_of(token, "role"), or_dash(text_of(token, "label")),
               text_of(token, "created_by"), when(session, token, "created"),
               when(session, token, "last_used"), state_of(session, token)});
  return table.empty() ? "There are no tokens; make one with: postern api-token create\n"
                       : table.text(session.world.columns);
}

std::string join_state_of(Session& session, const json::value& token) {
  if (token.at("outdated").as_bool()) return "outdated";
  const std::string state = state_of(session, token);
  const bool used_up =
      count_of(token, "uses").value_or(0) >= count_of(token, "uses_max").value_or(1);
  return used_up && state != "revoked" && state != "expired" ? "used up" : state;
}

std::string join_tokens_table(Session& session, const json::value& answer) {
  Table table({"ID", "ROLE", "NAMES", "USED", "NODES ARE", "MADE BY", "MADE", "STATE"});
  for (const json::value& token : list_of(answer, "items"))
    table.add({text_of(token, "id"), text_of(token, "role"), text_of(token, "name"),
               fmt::format("{} of {}", count_of(token, "uses").value_or(0),
                           count_of(token, "uses_max").value_or(1)),
               token.at("pending").as_bool() ? "pending" : "approved", text_of(token, "created_by"),
               when(session, token, "created"), join_state_of(session, token)});
  return table.empty() ? "There are no join tokens; make one with: postern token create\n"
                       : table.text(session.world.columns);
}

std::string revoked_words(Session&, const json::value& token) {
  return fmt::format("The token {} is revoked.\n", text_of(token, "id"));
}

/// With --out the secret is in the file and nowhere else.
int keep(Session& session, json::value token, const char* kind) {
  const std::string file = *session.options.out_file, secret = text_of(token, "token") + '\n';
  if (auto written = session.world.disk.write_file(file, as_bytes(secret), 0600); !written)
    return say_failure(
        session,
        fmt::format("{}. The token {} was made and nobody has it: revoke it with "
                    "`postern {} revoke {}`",
                    written.error().message, text_of(token, "id"), kind, text_of(token, "id")));
  token.as_object().erase("token");
  return print(session, token, [](Session& s, const json::value& made) {
    return fmt::format("The token {} ({}) is in {}.\n", text_of(made, "id"), text_of(made, "role"),
                       *s.options.out_file);
  });
}

}  // namespace

int create_token(Session& session) {
  json::object body{{"role", session.options.scope}};
  if (!session.options.label.empty()) body["label"] = session.options.label;
  if (session.options.days) body["days"] = *session.options.days;
  auto made = session.client->post("/api/v1/tokens", body);
  if (made && session.options.out_file) return keep(session, std::move(*made), "api-token");
  return print(session, made,
               [](Session&, const json::value& token) { return text_of(token, "token") + '\n'; });
}

int create_join_token(Session& session) {
  const Options& options = session.options;
  json::object body{{"role", *options.role}};
  if (!options.name_pattern.empty()) body["name"] = options.name_pattern;
  if (options.uses) body["uses_max"] = *options.uses;
  if (!options.expires.empty()) {
    const auto life = parse_duration(options.expires);
    if (!life) {
      say_failure(session, fmt::format("--expires: {}", life.error().message));
      return kExitUsage;
    }
    body["lifetime_seconds"] = std::chrono::ceil<std::chrono::seconds>(*life).count();
  }
  if (!options.parents.empty())
    body["parents"] = json::array(options.parents.begin(), options.parents.end());
  if (!options.addresses.empty())
    body["addresses"] = json::array(options.addresses.begin(), options.addresses.end());
  if (options.pending) body["pending"] = true;
  auto made = session.client->post("/api/v1/join-tokens", body);
  if (made && options.out_file) return keep(session, std::move(*made), "token");
  return print(session, made,
               [](Session&, const json::value& token) { return text_of(token, "token") + '\n'; });
}

int list_join_tokens(Session& session) {
  return draw(session, "/api/v1/join-tokens", join_tokens_table);
}

int revoke_join_token(Session& session) {
  return print(
      session,
      session.client->remove("/api/v1/join-tokens/" + path_segment(session.options.token_id)),
      revoked_words);
}

int list_tokens(Session& session) { return draw(session, "/api/v1/tokens", tokens_table); }

int revoke_token(Session& session) {
  return print(session,
               session.client->remove("/api/v1/tokens/" + path_segment(session.options.token_id)),
               revoked_words);
}

}  // namespace postern::cli
