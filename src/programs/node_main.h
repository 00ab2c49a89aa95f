#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "command/tree.h"
#include "node/certificate_hook.h"
#include "node/program.h"
#include "node/status.h"
#include "programs/node_setup.h"

namespace postern {

/// What an agent's and a gateway's command line differ in.
struct NodeMain {
  std::string program;      // "postern-agent"
  std::string description;  // first line of --help
  std::string config;       // default configuration file
  NodeRole role = NodeRole::agent;
  std::size_t threads = 0;  // loops for connections besides the core loop
};

/// `setup`, `run` and `check-config` of a node. Product is Agent or Gateway: open(), reload(),
/// stop().
template <typename Product>
int node_main(int argc, char** argv, const NodeMain& what) {
  CLI::App app{what.description, what.program};
  app.require_subcommand(1);
  app.set_version_flag("--version", node::kSoftware);
  app.footer("Example:\n  " + what.program + " check-config --config " + what.config);
  std::string config = what.config;
  auto* run =
      app.add_subcommand("run", "Run until SIGTERM; SIGHUP reloads configuration and certificate");
  auto* check = app.add_subcommand("check-config",
                                   "Say what is wrong with the configuration; exit status 0 or 1");
  NodeSetup setup(app, what.program, what.role);
  for (CLI::App* verb : {setup.verb(), run, check}) {
    verb->add_option("--config", config, "Configuration file; default " + what.config)
        ->type_name("FILE");
    verb->footer("Example:\n  " + what.program + " " + verb->get_name() + " --config " + config);
  }
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

  if (setup.parsed()) return setup.run(config);
  PosixDisk disk;
  const auto load = [&] { return load_node_settings(disk, config, what.role); };
  auto settings = load();
  if (!settings) {
    fmt::print(stderr, "{}: {}\n", what.program, settings.error().message);
    return 1;
  }
  if (check->parsed()) {
    if (auto hook = node::check_hook(settings->certificates, settings->state_dir); !hook) {
      fmt::print(stderr, "{}: {}: {}\n", what.program, config, hook.error().message);
      return 1;
    }
    fmt::print("{} is good\n", config);
    return 0;
  }
  return node::run_program(
      settings->log_level, what.threads, settings->state_dir,
      [&](node::Surroundings around) -> Result<node::Running> {
        auto opened = Product::open(around, *settings);
        if (!opened) return std::unexpected(opened.error());
        std::shared_ptr<Product> product = std::move(*opened);
        auto status = node::listen_for_status(around, settings->state_dir, product->status());
        if (!status) around.log.warning("no status over HTTP: {}", status.error().message);
        const auto reload = [&log = around.log, load, product = product.get()] {
          if (auto again = load())
            product->reload(*again);
          else
            log.error("nothing is reloaded: {}", again.error().message);
        };
        struct Both {
          std::shared_ptr<Product> product;
          std::unique_ptr<UnixHttpServer> status;  // ends first
        };
        auto both = std::make_shared<Both>(product, status ? std::move(*status) : nullptr);
        return node::Running{
            both, reload, [product = product.get()](const std::string& why) { product->stop(why); },
            [product = product.get()] { return product->status_words(); }};
      });
}

}  // namespace postern
