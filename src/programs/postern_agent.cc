#include <CLI/CLI.hpp>

#include "agent/agent.h"
#include "node/program.h"

int main(int argc, char** argv) {
  using namespace postern;
  CLI::App app{
      "The Postern agent: measures this machine and reports to a gateway or management server."};
  app.require_subcommand(1);
  app.set_version_flag("--version", node::kSoftware);
  app.footer("Example: postern-agent check-config --config /etc/postern/agent.yaml");
  std::string config = "/etc/postern/agent.yaml";
  auto* run =
      app.add_subcommand("run", "Run until SIGTERM; SIGHUP reloads configuration and certificate");
  auto* check = app.add_subcommand("check-config",
                                   "Say what is wrong with the configuration; exit status 0 or 1");
  for (CLI::App* verb : {run, check})
    verb->add_option("--config", config, "Configuration file")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  PosixDisk disk;
  const auto load = [&] { return load_node_settings(disk, config, NodeRole::agent); };
  auto settings = load();
  if (!settings) {
    fmt::print(stderr, "postern-agent: {}\n", settings.error().message);
    return 1;
  }
  if (check->parsed()) {
    fmt::print("{} is good\n", config);
    return 0;
  }
  return node::run_program(
      settings->log_level, 0, [&](node::Surroundings around) -> Result<node::Running> {
        auto agent = Agent::open(around, *settings);
        if (!agent) return std::unexpected(agent.error());
        std::shared_ptr<Agent> shared = std::move(*agent);
        const auto reload = [&around_log = around.log, load, agent = shared.get()] {
          if (auto again = load())
            agent->reload(*again);
          else
            around_log.error("nothing is reloaded: {}", again.error().message);
        };
        return node::Running{shared, reload,
                             [agent = shared.get()](const std::string& why) { agent->stop(why); }};
      });
}
