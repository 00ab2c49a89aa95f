#include <CLI/CLI.hpp>
#include <thread>

#include "gateway/gateway.h"
#include "node/program.h"

int main(int argc, char** argv) {
  using namespace postern;
  CLI::App app{
      "The Postern gateway: takes what agents and gateways report, keeps it on disk, and hands it "
      "on."};
  app.require_subcommand(1);
  app.set_version_flag("--version", node::kSoftware);
  app.footer("Example: postern-gateway check-config --config /etc/postern/gateway.yaml");
  std::string config = "/etc/postern/gateway.yaml";
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
  const auto load = [&] { return load_node_settings(disk, config, NodeRole::gateway); };
  auto settings = load();
  if (!settings) {
    fmt::print(stderr, "postern-gateway: {}\n", settings.error().message);
    return 1;
  }
  if (check->parsed()) {
    fmt::print("{} is good\n", config);
    return 0;
  }
  return node::run_program(
      settings->log_level, std::max(1u, std::thread::hardware_concurrency()),
      [&](node::Surroundings around) -> Result<node::Running> {
        auto gateway = Gateway::open(around, *settings);
        if (!gateway) return std::unexpected(gateway.error());
        std::shared_ptr<Gateway> shared = std::move(*gateway);
        const auto reload = [&around_log = around.log, load, gateway = shared.get()] {
          if (auto again = load())
            gateway->reload(*again);
          else
            around_log.error("nothing is reloaded: {}", again.error().message);
        };
        return node::Running{shared, reload, [gateway = shared.get()](const std::string& why) {
                               gateway->stop(why);
                             }};
      });
}
