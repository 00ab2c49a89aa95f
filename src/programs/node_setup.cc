#include "programs/node_setup.h"

#include <fmt/format.h>
#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>

#include "base/quantity.h"
#include "net/http_client.h"
#include "node/setup.h"

extern char** environ;

namespace postern {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTokenFileBytesMax = 64u << 10;
constexpr const char* kSystemdRuns = "/run/systemd/system";
constexpr const char* kUnitFolders[] = {"/lib/systemd/system", "/etc/systemd/system"};

/// The FQDN that this machine gives itself, or "".
std::string own_name() {
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) return {};
  const std::string name = host;
  if (name.find('.') != std::string::npos) return name;
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host, nullptr, &hints, &found) != 0) return name;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, ::freeaddrinfo);
  return all->ai_canonname != nullptr ? all->ai_canonname : name;
}

/// One line from the terminal, which does not show it.
std::string ask_hidden(const std::string& question) {
  termios before{};
  const bool hides = ::tcgetattr(STDIN_FILENO, &before) == 0;
  if (hides) {
    termios quiet = before;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
  }
  fmt::print(stderr, "{}", question);
  std::string line;
  std::getline(std::cin, line);
  if (hides) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  fmt::print(stderr, "\n");
  return line;
}

bool has_unit(const std::string& unit) {
  std::error_code ignored;
  if (!fs::exists(kSystemdRuns, ignored)) return false;
  for (const char* folder : kUnitFolders)
    if (fs::exists(fs::path(folder) / unit, ignored)) return true;
  return false;
}

bool start_unit(const std::string& unit) {
  std::string program = "systemctl", verb = "restart", name = unit;
  char* arguments[] = {program.data(), verb.data(), name.data(), nullptr};
  pid_t child = 0;
  int status = 0;
  return ::posix_spawnp(&child, program.c_str(), nullptr, nullptr, arguments, environ) == 0 &&
         ::waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace

NodeSetup::NodeSetup(CLI::App& app, std::string program, NodeRole role)
    : program_(std::move(program)), role_(role) {
  const std::string short_role = role_ == NodeRole::agent ? "agent" : "gateway";
  state_ = "/var/lib/postern/" + short_role;
  verb_ = app.add_subcommand("setup",
                             "Join a management group with a token, and write the configuration");
  verb_
      ->add_option("--token-file", token_file_,
                   "file with the line that `postern token create` printed, - for standard input; "
                   "without it, it is asked for")
      ->type_name("FILE");
  verb_->add_option("--name", name_, "the FQDN of this machine; default: what it calls itself")
      ->type_name("FQDN");
  verb_
      ->add_option("--parent", parents_,
                   "gateway or management server to ask and to report to, NAME[:PORT] or "
                   "NAME=ADDRESS[:PORT]; default: as the token says")
      ->type_name("NAME,NAME")
      ->delimiter(',');
  if (role_ == NodeRole::gateway)
    verb_->add_option("--listen", listen_, "where its children connect; default 0.0.0.0:5723")
        ->type_name("IP:PORT");
  verb_->add_option("--state", state_, "state folder; default " + state_)->type_name("DIR");
  verb_->add_option("--wait", wait_, "how long to go on asking when nobody answers; default 2m")
      ->type_name("DURATION");
  verb_->add_flag("--no-start", no_start_, "do not start the service");
}

int NodeSetup::say_failure(const std::string& words) const {
  fmt::print(stderr, "{} setup: {}\n", program_, words);
  return 1;
}

Result<std::string> NodeSetup::token() const {
  if (!token_file_ && ::isatty(STDIN_FILENO) != 0) return ask_hidden("join token: ");
  if (!token_file_)
    return fail(Errc::invalid,
                "a join token is needed: --token-file FILE; an administrator makes it on the "
                "management server with: postern token create");
  std::string line;
  if (*token_file_ == "-") {
    std::getline(std::cin, line);
    return line;
  }
  PosixDisk disk;
  auto text = disk.read_file(*token_file_, kTokenFileBytesMax);
  if (!text) return std::unexpected(text.error());
  if (auto status = disk.status(*token_file_); status && (status->mode & 0077) != 0)
    fmt::print(stderr, "{}: others can read this secret; chmod 600 {}\n", *token_file_,
               *token_file_);
  return to_string(ByteView(*text));
}

int NodeSetup::run(const std::string& config) {
  const auto wait = parse_duration(wait_);
  if (!wait) {
    say_failure(fmt::format("--wait: {}", wait.error().message));
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);  // who hangs up is an error of the connection
  auto line = token();
  if (!line) return say_failure(line.error().message);
  PosixDisk disk;
  const SystemClock clock;
  SystemRandom random;
  node::Setup setup({disk, clock, random,
                     [](const Endpoint& dial, const HttpRequest& request) {
                       return http_over_unverified_tls(dial.host, dial.port, request);
                     },
                     [](Duration pause) { std::this_thread::sleep_for(pause); }, own_name,
                     [](const std::string& words) { fmt::print(stderr, "  {}\n", words); }});
  const auto done = setup.run({role_, *line, name_, parents_, config, state_, listen_, *wait});
  wipe(*line);
  if (!done) return say_failure(done.error().message);

  if (done->was_member)
    fmt::print("{} is a member of the management group {} already, with a certificate until {}.\n",
               done->name, done->group, to_rfc3339(done->certificate_not_after));
  else
    fmt::print(
        "{} joined the management group {} over {}: {}. Its certificate is valid until {}.\n",
        done->name, done->group, done->over,
        done->approved ? "approved"
                       : "it waits for approval (postern pending approve " + done->name + ")",
        to_rfc3339(done->certificate_not_after));
  const auto ahead = std::chrono::round<std::chrono::seconds>(done->ahead);
  if (std::chrono::abs(ahead) > std::chrono::minutes(1))
    fmt::print(stderr, "The clock of this machine is {} s {}; set it right.\n",
               std::chrono::abs(ahead).count(), ahead.count() > 0 ? "behind" : "ahead");
  fmt::print("{} is {}.\n", config, done->config_written ? "written" : "as it was");
  if (!no_start_ && has_unit(program_ + ".service")) {
    if (!start_unit(program_ + ".service"))
      return say_failure(
          fmt::format("the service does not start; see: systemctl status {}", program_));
    fmt::print("{} runs.\n", program_);
  } else {
    fmt::print("Start it: {} run --config {}\n", program_, config);
  }
  return 0;
}

}  // namespace postern
