#include <algorithm>

#include "cli/session.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

std::string left_words(Session& session, const json::value& item,
                       const std::optional<WallTime>& end) {
  if (!text_of(item, "revoked").empty()) return "revoked";
  return end ? left(*end, session.world.clock.wall()) : "-";
}

/// Whoever is not of the group's own authority is known by the fingerprint of his name alone.
std::string issuer_of(const json::value& item) {
  const std::string issuer = text_of(item, "issuer");
  if (!issuer.empty()) return issuer.substr(issuer.starts_with("CN=") ? 3 : 0);
  return text_of(item, "serial").empty() ? "-" : "another CA";
}

/// Who will be without a certificate if nobody does anything, and why.
std::string forecast(const json::value& answer) {
  std::string text;
  for (const json::value& item : list_of(answer, "items"))
    if (text_of(item, "renewal") == "will-miss")
      text += fmt::format("{} will miss its renewal: {}\n", text_of(item, "node"),
                          printable(text_of(item, "renewal_words")));
  return text.empty() ? text : "\n" + text;
}

/// Whose certificate ends next stands first; those of which none is known come last.
std::string certificates_table(Session& session, const json::value& answer) {
  struct Row {
    std::optional<WallTime> end;
    const json::value* item;
  };
  std::vector<Row> rows;
  for (const json::value& item : list_of(answer, "items"))
    rows.push_back({parse_rfc3339(text_of(item, "not_after")), &item});
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    if (a.end != b.end) return a.end && (!b.end || *a.end < *b.end);
    return text_of(*a.item, "node") < text_of(*b.item, "node");
  });
  Table table({"NODE", "ROLE", "LEFT", "VALID UNTIL", "RENEWAL", "ISSUER", "KEY", "SEEN THROUGH",
               "LAST SEEN"});
  for (const auto& [end, item] : rows) {
    std::string path;
    for (const json::value& hop : list_of(*item, "path"))
      if (hop.is_string()) path += (path.empty() ? "" : ", ") + std::string(hop.as_string());
    table.add({text_of(*item, "node"), text_of(*item, "role"), left_words(session, *item, end),
               or_dash(text_of(*item, "not_after")), text_of(*item, "renewal"), issuer_of(*item),
               or_dash(text_of(*item, "key")), or_dash(path), when(session, *item, "last_seen")});
  }
  if (table.empty()) return "No node has shown a certificate yet.\n";
  return table.text(session.world.columns) + forecast(answer);
}

std::string revoked_words(Session&, const json::value& answer) {
  std::string text;
  for (const json::value& one : list_of(answer, "items")) {
    const std::string node = text_of(one, "node");
    text += fmt::format("The certificate{} with serial {} {} revoked ({}).\n",
                        node.empty() ? "" : " of " + node, or_dash(text_of(one, "serial")),
                        flag_of(answer, "already_revoked") ? "was already" : "is",
                        text_of(one, "reason"));
    if (!node.empty() && flag_of(answer, "identity_revoked"))
      text += fmt::format(
          "The identity of {} is revoked with it: what it has signed and is not applied yet is "
          "kept "
          "aside, see postern loss list --node {}. Set the machine up anew with an empty state "
          "folder, then: postern pending approve {}\n",
          node, node, node);
    else if (!node.empty())
      text += fmt::format(
          "{} stays approved, and comes back with a new one: postern cert request --name {}, "
          "postern cert sign, postern cert import\n",
          node, node);
  }
  return text;
}

}  // namespace

int revoke_certificate(Session& session) {
  json::object body{{"certificate", session.options.name}};
  if (!session.options.reason.empty()) body["reason"] = session.options.reason;
  return print(session, session.client->post("/api/v1/revocations", body), revoked_words);
}

int renew_certificate(Session& session) {
  const auto allowed = session.client->post(
      fmt::format("/api/v1/nodes/{}/renewal", path_segment(session.options.name)));
  return print(session, allowed, [](Session&, const json::value& answer) {
    return fmt::format(
        "{} may renew its certificate until {}, also when it has ended; it asks by itself.\n",
        text_of(answer, "node"), text_of(answer, "until"));
  });
}

int list_certificates(Session& session) {
  return draw(session, "/api/v1/certificates", certificates_table);
}

}  // namespace postern::cli
