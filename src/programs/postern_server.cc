#include <CLI/CLI.hpp>
#include <thread>

#include "command/tree.h"
#include "node/program.h"
#include "server/server.h"

namespace postern {
namespace {

int init(const InitRequest& request) {
  PosixDisk disk;
  const SystemClock clock;
  SystemRandom random;
  auto root = init_group(request, disk, clock, random);
  if (!root) {
    fmt::print(stderr, "postern-server: {}\n", root.error().message);
    return 1;
  }
  fmt::print(
      "The management group {} is made.\n"
      "  group root    {}\n"
      "  state         {}\n"
      "  configuration {}\n"
      "Keep {} offline: the server runs without it.\n"
      "Next: postern-server run --config {}\n",
      request.group, *root, request.state_dir.string(), request.config.string(),
      (request.state_dir / "group-root.key").string(), request.config.string());
  return 0;
}

int server_main(int argc, char** argv) {
  CLI::App app{
      "The Postern management server: applies what the group reports, and decides who belongs to "
      "it.",
      "postern-server"};
  app.require_subcommand(1);
  app.set_version_flag("--version", node::kSoftware);
  app.footer("Example:\n  postern-server init --group demo --name ms.home.example");
  std::string config = "/etc/postern/server.yaml";
  auto* run =
      app.add_subcommand("run", "Run until SIGTERM; SIGHUP reloads configuration and certificate");
  auto* check = app.add_subcommand("check-config",
                                   "Say what is wrong with the configuration; exit status 0 or 1");
  auto* make = app.add_subcommand(
      "init", "Make a management group: configuration, built-in CA, group root, own certificate");
  for (CLI::App* verb : {run, check, make})
    verb->add_option("--config", config, "Configuration file; default " + config)
        ->type_name("FILE");
  run->footer("Example:\n  postern-server run --config " + config);
  check->footer("Example:\n  postern-server check-config --config " + config);
  make->footer(
      "Example:\n  postern-server init --group HOME --name ms.home.example --listen "
      "0.0.0.0:5723");
  InitRequest request;
  make->add_option("--group", request.group, "Name of the management group")
      ->type_name("GROUP")
      ->required();
  make->add_option("--name", request.name, "This server's fully qualified domain name")
      ->type_name("FQDN")
      ->required();
  make->add_option("--state", request.state_dir,
                   "State folder; default " + request.state_dir.string())
      ->type_name("DIR");
  make->add_option("--listen", request.listen, "The one port; default " + request.listen)
      ->type_name("IP:PORT");
  make->add_option("--store", request.store, "The database; default: in the state folder")
      ->type_name("sqlite:/PATH");
  const std::string hidden = command::answer_hidden(app, {argv + 1, argv + argc});
  if (!hidden.empty()) {
    fmt::print("{}", hidden);
    return 0;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (make->parsed()) {
    request.config = config;
    return init(request);
  }

  PosixDisk disk;
  const auto load = [&] { return load_server_settings(disk, config); };
  auto settings = load();
  if (!settings) {
    fmt::print(stderr, "postern-server: {}\n", settings.error().message);
    return 1;
  }
  if (check->parsed()) {
    fmt::print("{} is good\n", config);
    return 0;
  }
  return node::run_program(
      settings->log_level, std::max(1u, std::thread::hardware_concurrency()), settings->state_dir,
      [&](node::Surroundings around) -> Result<node::Running> {
        auto server = Server::open(around, *settings);
        if (!server) return std::unexpected(server.error());
        std::shared_ptr<Server> shared = std::move(*server);
        const auto reload = [&log = around.log, load, server = shared.get()] {
          if (auto again = load())
            server->reload(*again);
          else
            log.error("nothing is reloaded: {}", again.error().message);
        };
        return node::Running{shared, reload,
                             [server = shared.get()](const std::string& why) { server->stop(why); },
                             [server = shared.get()] { return server->status_words(); }};
      });
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) { return postern::server_main(argc, argv); }
