#include <fmt/format.h>

#include "cli/session.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

std::string addresses_text(const json::value& node) {
  auto addresses = texts_of(node, "addresses");
  if (addresses.empty()) return or_dash(text_of(node, "address"));
  if (addresses.size() == 1) return addresses.front();
  return fmt::format("{} +{}", addresses.front(), addresses.size() - 1);
}

// "Debian GNU/Linux 12 (bookworm)" without its nickname, so that a line fits the screen.
std::string os_text(const json::value& node) {
  std::string os = text_of(node, "os");
  return or_dash(os.substr(0, os.find(" (")));
}

std::string inventory_table(Session& session, const json::value& answer) {
  Table table({"NAME", "ROLE", "STATE", "HEALTH", "LAST SEEN", "ADDRESSES", "SYSTEM"});
  for (const json::value& node : list_of(answer, "items"))
    table.add({text_of(node, "name"), text_of(node, "role"), text_of(node, "connection"),
               or_dash(text_of(node, "health")), when(session, node, "last_seen"),
               addresses_text(node), os_text(node)});
  return table.empty() ? "There are no such nodes.\n" : table.text(session.world.columns);
}

/// Its health where that says more than its connection: a tree needs the room for names.
std::string state_of(const json::value& node) {
  std::string health = text_of(node, "health");
  if (health == "warning" || health == "critical" || !text_of(node, "via").empty()) return health;
  if (flag_of(node, "connected")) return "connected";
  return text_of(node, "last_seen").empty() ? "never connected" : "disconnected";
}

std::string lag_text(const json::value& node) {
  const auto lag = count_of(node, "lag_ms");
  return lag ? span_words(std::chrono::milliseconds(*lag)) : "-";
}

std::string queue_text(const json::value& node) {
  const auto batches = count_of(node, "queue_batches");
  return batches ? std::to_string(*batches) : "-";
}

std::string topology_table(Session& session, const json::value& answer) {
  const json::array& nodes = list_of(answer, "items");
  std::vector<TreeNode> tree;
  for (const json::value& node : nodes)
    tree.push_back({text_of(node, "name"), text_of(node, "parent")});
  Table table({"NODE", "ROLE", "STATE", "LAST SEEN", "LAG", "QUEUE", "CERTIFICATE"});
  for (const TreeLine& line : tree_lines(tree)) {
    const json::value& node = nodes[line.index];
    table.add({line.prefix + text_of(node, "name"), text_of(node, "role"), state_of(node),
               when(session, node, "last_seen"), lag_text(node), queue_text(node),
               lifetime_left(session, node)});
  }
  return table.text(session.world.columns);
}

std::string servers_table(Session& session, const json::value& answer) {
  Table table({"NAME", "THIS ONE", "LISTENS AT", "VERSION", "STARTED", "CERTIFICATE"});
  for (const json::value& server : list_of(answer, "items"))
    table.add({text_of(server, "name"), flag_of(server, "this_server") ? "yes" : "no",
               or_dash(text_of(server, "listen")), or_dash(text_of(server, "software")),
               when(session, server, "started"), lifetime_left(session, server)});
  return table.text(session.world.columns);
}

std::string server_text(Session& session, const json::value& server) {
  std::string text;
  const auto line = [&](const char* label, const std::string& value) {
    text += fmt::format("{:<13}{}\n", label, printable(or_dash(value)));
  };
  line("name", text_of(server, "name"));
  line("node id", text_of(server, "id"));
  line("this one", flag_of(server, "this_server") ? "yes" : "no");
  line("listens at", text_of(server, "listen"));
  line("Postern", text_of(server, "software"));
  line("started", when(session, server, "started"));
  const auto generation = count_of(server, "generation");
  line("generation", generation ? std::to_string(*generation) : "");
  line("certificate", fmt::format("until {} ({} left)", text_of(server, "certificate_not_after"),
                                  lifetime_left(session, server)));
  return text;
}

std::string group_text(Session&, const json::value& group) {
  return fmt::format(
      "name       {}\ngroup id   {}\nroot key   SHA-256 {}\nservers    {}\naddresses  {}\n"
      "anchors    SHA-256 {}\n",
      printable(text_of(group, "name")), text_of(group, "id"), text_of(group, "root_sha256"),
      joined(texts_of(group, "servers")), joined(texts_of(group, "addresses")),
      joined(texts_of(group, "anchors_sha256")));
}

constexpr unsigned kPublicFileMode = 0644;

}  // namespace

int list_gateways(Session& session) { return draw(session, "/api/v1/gateways", inventory_table); }
int list_agents(Session& session) { return draw(session, "/api/v1/agents", inventory_table); }

int show_inventory(Session& session) {
  std::string target = "/api/v1/nodes";
  if (session.options.role) target += "?role=" + path_segment(*session.options.role);
  return draw(session, target, inventory_table);
}

int show_topology(Session& session) { return draw(session, "/api/v1/topology", topology_table); }

int list_servers(Session& session) { return draw(session, "/api/v1/servers", servers_table); }

int show_server(Session& session) {
  return draw(session, "/api/v1/servers/" + path_segment(session.options.name), server_text);
}

int show_group(Session& session) { return draw(session, "/api/v1/group", group_text); }

int export_group(Session& session) {
  const auto text = session.client->get_text("/api/v1/group/file");
  if (!text) return say_failure(session, text.error().message);
  World& world = session.world;
  if (session.options.file == "-") {
    world.out << *text << std::flush;
    return world.out ? kExitDone : say_failure(session, "standard output cannot be written");
  }
  const auto written =
      world.disk.write_file(session.options.file, as_bytes(*text), kPublicFileMode);
  if (!written) return say_failure(session, written.error().message);
  world.out << fmt::format(
      "{} is written; it holds no secret. Carry it to new nodes, and compare the root key there "
      "with `postern group show`.\n",
      session.options.file);
  return kExitDone;
}

}  // namespace postern::cli
