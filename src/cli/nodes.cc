#include <fmt/format.h>

#include "cli/session.h"
#include "cli/table.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

json::array array_of(const std::vector<std::string>& texts) {
  json::array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

std::string approved_words(Session&, const json::value& node) {
  const std::string name = text_of(node, "name");
  if (flag_of(node, "already_approved"))
    return fmt::format("{} was approved already; nothing changed.\n", name);
  std::string words = fmt::format("{} is approved as {}.", name, text_of(node, "role"));
  if (const auto parents = texts_of(node, "parents"); !parents.empty())
    words += fmt::format(" It may report to {}.", joined(parents));
  if (text_of(node, "connection") == "never connected")
    words += " It is in the inventory as never connected and connects by itself.";
  return words + '\n';
}

std::string removed_words(Session&, const json::value& node) {
  return fmt::format("{} is removed from the management group; its connections are ended.\n",
                     text_of(node, "name"));
}

std::string rejected_words(Session&, const json::value& node) {
  return fmt::format("{} is rejected.\n", text_of(node, "name"));
}

std::string pending_table(Session& session, const json::value& answer) {
  Table table({"NAME", "ROLE", "SOURCE", "OVER", "LAST TRY", "WHY"});
  for (const json::value& node : list_of(answer, "items"))
    table.add({text_of(node, "name"), text_of(node, "role"), or_dash(text_of(node, "address")),
               joined(texts_of(node, "path")), when(session, node, "last_seen"),
               or_dash(text_of(node, "reason"))});
  return table.empty() ? "Nobody waits for approval.\n" : table.text(session.world.columns);
}

std::string ranges_text(const json::array& ranges) {
  std::vector<std::string> texts;
  for (const json::value& range : ranges) {
    const json::array* pair = range.if_array();
    if (pair == nullptr || pair->size() != 2) continue;
    texts.push_back(json::serialize((*pair)[0]) + "-" + json::serialize((*pair)[1]));
  }
  return joined(texts);
}

std::string gaps_text(const json::array& gaps) {
  std::vector<std::string> texts;
  for (const json::value& gap : gaps)
    texts.push_back(fmt::format("{}-{} ({})", count_of(gap, "first").value_or(0),
                                count_of(gap, "last").value_or(0), text_of(gap, "reason")));
  return joined(texts);
}

std::string streams_table(Session& session, const json::value& node) {
  Table table({"STREAM", "EPOCH", "SEALED", "APPLIED", "GAPS"});
  for (const json::value& stream : list_of(node, "streams")) {
    const json::value* epoch = stream.get_object().if_contains("epoch");
    table.add({text_of(stream, "lane"),
               epoch == nullptr ? "-" : std::to_string(count_of(*epoch, "ordinal").value_or(0)),
               std::to_string(count_of(stream, "sealed").value_or(0)),
               ranges_text(list_of(stream, "applied")), gaps_text(list_of(stream, "gaps"))});
  }
  return table.empty() ? "" : "\n" + table.text(session.world.columns);
}

std::string value_text(const json::value& value) {
  const json::value* number = value.get_object().if_contains("value");
  if (number == nullptr || number->is_null()) return "-";
  if (number->is_double()) return fmt::format("{:.6g}", number->get_double());
  return json::serialize(*number);
}

std::string values_table(Session& session, const json::value& node) {
  Table table({"METRIC", "ATTRIBUTES", "VALUE", "UNIT", "MEASURED"});
  for (const json::value& value : list_of(node, "values")) {
    std::vector<std::string> attributes;
    if (const json::value* given = value.get_object().if_contains("attributes"))
      if (const json::object* members = given->if_object())
        for (const auto& member : *members)
          attributes.push_back(std::string(member.key()) + "=" +
                               (member.value().is_string()
                                    ? std::string(member.value().get_string())
                                    : json::serialize(member.value())));
    table.add({text_of(value, "metric"), joined(attributes), value_text(value),
               or_dash(text_of(value, "unit")), when(session, value, "time")});
  }
  return table.empty() ? "" : "\n" + table.text(session.world.columns);
}

std::string certificate_words(Session& session, const json::value& node) {
  if (text_of(node, "certificate_not_after").empty()) return "-";
  return fmt::format("until {} ({} left), SHA-256 {}", text_of(node, "certificate_not_after"),
                     lifetime_left(session, node),
                     text_of(node, "certificate_sha256").substr(0, 16));
}

std::string node_text(Session& session, const json::value& node) {
  std::string text;
  const auto line = [&](const char* label, const std::string& value) {
    text += fmt::format("{:<13}{}\n", label, printable(or_dash(value)));
  };
  line("name", text_of(node, "name"));
  line("node id", text_of(node, "id"));
  line("role", text_of(node, "role"));
  line("standing", text_of(node, "standing"));
  line("reason", text_of(node, "reason"));
  line("connection", text_of(node, "connection"));
  line("health", health_text(node));
  line("last seen", when(session, node, "last_seen"));
  line("parents", joined(texts_of(node, "parents")));
  line("path", joined(texts_of(node, "path")));
  line("address", text_of(node, "address"));
  line("addresses", joined(texts_of(node, "addresses")));
  line("system", text_of(node, "os"));
  line("kernel", text_of(node, "kernel") + " " + text_of(node, "architecture"));
  line("Postern", text_of(node, "software"));
  line("certificate", certificate_words(session, node));
  return text + streams_table(session, node) + values_table(session, node);
}

int approve(Session& session, const char* target, json::object body) {
  body["name"] = session.options.name;
  return print(session, session.client->post(target, body), approved_words);
}

std::string node_target(const char* collection, const Session& session) {
  return fmt::format("/api/v1/{}/{}", collection, path_segment(session.options.name));
}

}  // namespace

int approve_gateway(Session& session) {
  const Options& options = session.options;
  std::vector<std::string> parents = options.parents;
  parents.insert(parents.end(), options.failover.begin(), options.failover.end());
  json::object body;
  body["parents"] = array_of(parents);
  body["direction"] = options.parent_initiates ? "parent-dials" : "child-dials";
  return approve(session, "/api/v1/gateways", std::move(body));
}

int approve_agent(Session& session) {
  json::object body;
  body["parents"] = array_of(session.options.parents);
  return approve(session, "/api/v1/agents", std::move(body));
}

int remove_gateway(Session& session) {
  return print(session, session.client->remove(node_target("gateways", session)), removed_words);
}
int remove_agent(Session& session) {
  return print(session, session.client->remove(node_target("agents", session)), removed_words);
}
int show_gateway(Session& session) {
  return draw(session, node_target("gateways", session), node_text);
}
int show_agent(Session& session) {
  return draw(session, node_target("agents", session), node_text);
}

int list_pending(Session& session) { return draw(session, "/api/v1/pending", pending_table); }
int approve_pending(Session& session) {
  return print(session, session.client->post(node_target("pending", session) + "/approve"),
               approved_words);
}
int reject_pending(Session& session) {
  return print(session, session.client->post(node_target("pending", session) + "/reject"),
               rejected_words);
}

}  // namespace postern::cli
