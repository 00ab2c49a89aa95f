#include "node/hook_runner.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/quantity.h"

namespace postern::node {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int kLookEveryMs = 50;  // whether it has ended, or must
constexpr unsigned kWritableByOthers = S_IWGRP | S_IWOTH;

Result<> check_owner(const fs::path& path, const struct stat& status,
                     std::optional<unsigned> also_owner) {
  if (status.st_uid != 0 && status.st_uid != ::geteuid() && status.st_uid != also_owner)
    return fail(Errc::denied,
                "{} belongs to user {}, who could change what runs; chown it to root or to the "
                "user of this program",
                path.string(), status.st_uid);
  const bool sticky_folder = S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0;
  if ((status.st_mode & kWritableByOthers) != 0 && !sticky_folder)
    return fail(Errc::denied, "{} has mode {:04o}: others may write there; chmod go-w {}",
                path.string(), status.st_mode & 07777u, path.string());
  return {};
}

/// The path itself and every folder above it.
Result<> check_way(fs::path path, std::optional<unsigned> also_owner) {
  for (;; path = path.parent_path()) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0)
      return fail(Errc::denied, "{}: {}", path.string(), std::strerror(errno));
    if (auto safe = check_owner(path, status, also_owner); !safe) return safe;
    if (path == path.parent_path()) return {};
  }
}

/// Lines as they may stand in a log, as much as there is room for.
class Lines {
 public:
  explicit Lines(const std::function<void(std::string_view)>& say) : say_(say) {}
  ~Lines() { end_line(); }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  void take(std::string_view bytes) {
    for (const char c : bytes) {
      if (++taken_ > kHookOutputBytesMax) {
        end_line();
        if (!std::exchange(full_, true))
          say_(fmt::format("(more than {} are not shown)", format_bytes(kHookOutputBytesMax)));
        return;
      }
      if (c == '\n' || line_.size() == kHookLineBytesMax) end_line();
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && byte != 0x7f) line_ += c;
    }
  }

 private:
  void end_line() {
    if (!line_.empty()) say_(line_);
    line_.clear();
  }

  const std::function<void(std::string_view)>& say_;
  std::string line_;
  std::size_t taken_ = 0;
  bool full_ = false;
};

/// Both ends of a pipe; what is still open is closed.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  void close_end(std::size_t end) {
    if (ends.at(end) >= 0) ::close(std::exchange(ends.at(end), -1));
  }
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

Result<pid_t> begin(const HookRun& run, int output) {
  std::vector<std::string> arguments = run.command;
  std::vector<std::string> environment{std::string("PATH=") + kPath};
  for (const auto& [name, value] : run.environment)
    environment.push_back(fmt::format("{}={}", name, value));

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  sigdelset(&all, SIGKILL);
  sigdelset(&all, SIGSTOP);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, run.command.front().c_str(), &files, &attributes,
                                   pointers(arguments).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0)
    return fail(Errc::unavailable, "{} cannot be run: {}", run.command.front(),
                std::strerror(failed));
  return child;
}

void read_what_is_there(int from, Lines& lines) {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    lines.take({buffer.data(), static_cast<std::size_t>(got)});
  }
}

Result<> verdict(const std::string& program, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status))
    return fail(Errc::unavailable, "{} ended with exit status {}", program, WEXITSTATUS(status));
  return fail(Errc::unavailable, "{} was ended by signal {}", program, WTERMSIG(status));
}

}  // namespace

Result<> check_hook_program(const fs::path& program, std::optional<unsigned> also_owner) {
  if (!program.is_absolute())
    return fail(Errc::denied, "'{}' is not an absolute path", program.string());
  std::error_code failed;
  const fs::path real = fs::canonical(program, failed);
  struct stat status {};
  if (failed || ::stat(real.c_str(), &status) != 0)
    return fail(Errc::denied, "{}: {}", program.string(),
                failed ? failed.message() : std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail(Errc::denied, "{} is not a file", program.string());
  if ((status.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0 || ::access(real.c_str(), X_OK) != 0)
    return fail(Errc::denied, "{} is not executable; chmod +x {}", program.string(),
                program.string());
  if (auto safe = check_way(real, also_owner); !safe) return safe;
  // A link in a folder where others write would be theirs to turn.
  return check_way(program.parent_path(), also_owner);
}

Result<> run_hook(const HookRun& run, const Clock& clock, const std::atomic<bool>& stop,
                  const std::function<void(std::string_view line)>& say) {
  const std::string& program = run.command.front();
  Pipe pipe;
  if (::pipe2(pipe.ends.data(), O_CLOEXEC | O_NONBLOCK) != 0)
    return fail(Errc::unavailable, "{} cannot be run: {}", program, std::strerror(errno));
  ::fcntl(pipe.ends[1], F_SETFL, 0);  // the child's end blocks, as it expects
  const TimePoint end = clock.now() + run.time_max;
  const auto child = begin(run, pipe.ends[1]);
  if (!child) return std::unexpected(child.error());
  pipe.close_end(1);

  Lines lines(say);
  bool killed = false;
  for (;;) {
    siginfo_t over{};
    ::waitid(P_PID, static_cast<id_t>(*child), &over, WEXITED | WNOHANG | WNOWAIT);
    if (over.si_pid != 0) break;
    killed = stop || clock.now() >= end;
    // Not reaped yet, so the group's number is nobody else's.
    if (killed) ::kill(-*child, SIGKILL);
    pollfd ready{pipe.ends[0], POLLIN, 0};
    ::poll(&ready, 1, kLookEveryMs);
    if ((ready.revents & POLLIN) != 0) {
      read_what_is_there(pipe.ends[0], lines);
    } else if ((ready.revents & (POLLHUP | POLLERR)) != 0) {
      ::poll(nullptr, 0, kLookEveryMs);  // it has closed its output and goes on
    }
  }
  ::kill(-*child, SIGKILL);  // what it left behind
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  read_what_is_there(pipe.ends[0], lines);
  if (killed && stop) return fail(Errc::unavailable, "{} was stopped with this program", program);
  if (killed)
    return fail(Errc::unavailable, "{} had not ended after {} and was killed", program,
                format_duration(run.time_max));
  return verdict(program, status);
}

}  // namespace postern::node
