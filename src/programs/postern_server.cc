#include <CLI/CLI.hpp>
#include <thread>

#include "command/tree.h"
#include "node/certificate_hook.h"
#include "node/program.h"
#include "server/authority_tool.h"
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
      "Keep {} offline: the server runs without it. So it does without the key of its CA:\n"
      "postern-server ca export FILE --passphrase-file FILE --remove\n"
      "Next: postern-server run --config {}\n",
      request.group, *root, request.state_dir.string(), request.config.string(),
      (request.state_dir / "group-root.key").string(), request.config.string());
  return 0;
}

/// The verbs of `postern-server ca`.
class AuthorityVerbs {
 public:
  explicit AuthorityVerbs(CLI::App& app)
      : group_(app.add_subcommand("ca",
                                  "The built-in certificate authority: its root and who "
                                  "issues under it")) {
    group_->require_subcommand(1);
    group_->footer("Example:\n  postern-server ca show");
    show_ = add("show", "Root, where its key is, who issues, and until when", "show");
    export_ = add("export", "Write the root, encrypted with a passphrase, into a file",
                  "export corp-ca.pem --passphrase-file phrase --remove");
    import_ = add("import", "Put the root's key back onto this server",
                  "import corp-ca.pem --passphrase-file phrase");
    issue_ = add("issue-intermediate",
                 "Have the root make the next certificate authority that signs for nodes",
                 "issue-intermediate --root corp-ca.pem --passphrase-file phrase");
    for (CLI::App* verb : {export_, import_})
      verb->add_option("FILE", request_.file, "The file with the root")->type_name("")->required();
    issue_->add_option("--root", request_.file, "What export wrote; default: the key here")
        ->type_name("FILE");
    for (CLI::App* verb : {export_, import_, issue_})
      verb->add_option("--passphrase-file", request_.passphrase_file,
                       "File of mode 0600 with the passphrase, in one line")
          ->type_name("FILE");
    export_->add_flag("--remove", request_.remove, "Then take the key off this server");
  }
  bool parsed() const { return group_->parsed(); }

  int run() {
    PosixDisk disk;
    const SystemClock clock;
    SystemRandom random;
    if (!state_.empty()) {
      request_.state_dir = state_;
    } else {
      const auto settings = load_server_settings(disk, config_);
      if (!settings) return said(std::unexpected(settings.error()));
      request_.state_dir = settings->state_dir;
    }
    if (show_->parsed()) return said(show_authority(request_, disk, clock));
    if (export_->parsed()) return said(export_authority(request_, disk));
    if (import_->parsed()) return said(import_authority(request_, disk));
    return said(issue_intermediate(request_, disk, clock, random));
  }

 private:
  CLI::App* add(const char* name, const char* what, const std::string& example) {
    CLI::App* verb = group_->add_subcommand(name, what);
    verb->add_option("--config", config_, "Configuration file; default " + config_)
        ->type_name("FILE");
    verb->add_option("--state", state_, "State folder; default: what the configuration says")
        ->type_name("DIR");
    verb->footer("Example:\n  postern-server ca " + example);
    return verb;
  }
  static int said(const Result<std::string>& outcome) {
    if (outcome)
      fmt::print("{}", *outcome);
    else
      fmt::print(stderr, "postern-server ca: {}\n", outcome.error().message);
    return outcome ? 0 : 1;
  }

  CLI::App* group_;
  CLI::App *show_ = nullptr, *export_ = nullptr, *import_ = nullptr, *issue_ = nullptr;
  std::string config_ = "/etc/postern/server.yaml", state_;
  AuthorityRequest request_;
};

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
  AuthorityVerbs authority(app);
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
  make->add_option("--store", request.store,
                   "The database, sqlite:/PATH or postgresql://USER@HOST/DATABASE; default: SQLite "
                   "in the state folder")
      ->type_name("URL");
  make->add_option("--store-password-file", request.store_password_file,
                   "File with the password of a PostgreSQL store in its first line, of mode 0600")
      ->type_name("FILE");
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
  if (authority.parsed()) return authority.run();
  if (make->parsed()) {
    request.config = config;
    request.warn = [](const std::string& words) {
      fmt::print(stderr, "postern-server: {}\n", words);
    };
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
    if (auto hook = node::check_hook(settings->certificates, settings->state_dir); !hook) {
      fmt::print(stderr, "postern-server: {}: {}\n", config, hook.error().message);
      return 1;
    }
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
