#include "cli/seed_tools.h"
#include "cli/session.h"

namespace postern::cli {
namespace {

struct Entry {
  std::string_view name;
  Verb verb;
  bool asks_server = true;
};

constexpr Entry kVerbs[] = {
    {"gateway approve", approve_gateway},
    {"gateway remove", remove_gateway},
    {"gateway list", list_gateways},
    {"gateway show", show_gateway},
    {"agent approve", approve_agent},
    {"agent remove", remove_agent},
    {"agent list", list_agents},
    {"agent show", show_agent},
    {"pending list", list_pending},
    {"pending approve", approve_pending},
    {"pending reject", reject_pending},
    {"inventory", show_inventory},
    {"topology", show_topology},
    {"server list", list_servers},
    {"server show", show_server},
    {"loss list", list_losses},
    {"alert list", list_alerts},
    {"alert show", show_alert},
    {"alert close", close_alert},
    {"trace", trace_node},
    {"cert request", request_certificate, false},
    {"cert sign", sign_certificate},
    {"cert list", list_certificates},
    {"cert revoke", revoke_certificate},
    {"cert renew", renew_certificate},
    {"cert import", import_certificate, false},
    {"cert show", show_certificate, false},
    {"cert verify", verify_certificate, false},
    {"ca show", show_authority},
    {"ca roll", roll_authority},
    {"ca switch", switch_authority},
    {"ca finish", finish_authority},
    {"group export", export_group},
    {"group show", show_group},
    {"token create", create_join_token},
    {"token list", list_join_tokens},
    {"token revoke", revoke_join_token},
    {"api-token create", create_token},
    {"api-token list", list_tokens},
    {"api-token revoke", revoke_token},
    {"spool ls", list_spool, false},
    {"spool verify", verify_spool, false},
    {"spool export", export_spool, false},
    {"doctor", examine_machine, false},
    {"complete-names", complete_names},
};

int run_verb(const Options& options, World& world) {
  for (const Entry& entry : kVerbs) {
    if (entry.name != options.verb) continue;
    Session session{world, options, std::nullopt};
    if (entry.asks_server) {
      auto client = Client::open(options, world);
      if (!client) {
        say_failure(session, client.error().message);
        return kExitUsage;
      }
      session.client.emplace(std::move(*client));
    }
    return entry.verb(session);
  }
  world.err << "postern: the verb '" << options.verb << "' does nothing in this build\n";
  return kExitFailed;
}

}  // namespace

int run(const std::vector<std::string>& arguments, World& world) {
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (const auto tool = seed_tool_named(arguments.front())) return tool(rest, world);
  const CommandLine line = parse_command_line(rest);
  if (!line.exit) return run_verb(line.options, world);
  (*line.exit == kExitDone ? world.out : world.err) << line.text;
  return *line.exit;
}

}  // namespace postern::cli
