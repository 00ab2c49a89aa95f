#include <fmt/format.h>

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

std::string revoked_words(Session&, const json::value& token) {
  return fmt::format("The token {} is revoked.\n", text_of(token, "id"));
}

/// With --out the secret is in the file and nowhere else.
int keep(Session& session, json::value token) {
  const std::string file = *session.options.out_file, secret = text_of(token, "token") + '\n';
  if (auto written = session.world.disk.write_file(file, as_bytes(secret), 0600); !written)
    return say_failure(
        session, fmt::format("{}. The token {} was made and nobody has it: revoke it with "
                             "`postern api-token revoke {}`",
                             written.error().message, text_of(token, "id"), text_of(token, "id")));
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
  if (made && session.options.out_file) return keep(session, std::move(*made));
  return print(session, made,
               [](Session&, const json::value& token) { return text_of(token, "token") + '\n'; });
}

int list_tokens(Session& session) { return draw(session, "/api/v1/tokens", tokens_table); }

int revoke_token(Session& session) {
  return print(session,
               session.client->remove("/api/v1/tokens/" + path_segment(session.options.token_id)),
               revoked_words);
}

}  // namespace postern::cli
