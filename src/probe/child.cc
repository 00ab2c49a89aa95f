// A program of the system that answers a question, bounded in time and bytes.

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "probe/source.h"

namespace postern {
namespace {

using Steady = std::chrono::steady_clock;

/// What a child starts with: nothing of ours but the pipe, no blocked signals, the language "C".
class Start {
 public:
  explicit Start(int out) {
    ::posix_spawn_file_actions_init(&files_);
    ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files_, out, STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&files_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Start() {
    ::posix_spawn_file_actions_destroy(&files_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

  /// 0 or an errno.
  int run(pid_t& child, const std::vector<std::string>& command) {
    std::vector<std::string> words = command;
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::array<std::string, 2> environment = {"LC_ALL=C", "PATH=/usr/bin:/bin"};
    std::array<char*, 3> pointers = {environment[0].data(), environment[1].data(), nullptr};
    return ::posix_spawn(&child, arguments[0], &files_, &attributes_, arguments.data(),
                         pointers.data());
  }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

/// Until the end of `in`; why it was not reached, else empty.
std::string read_until_end(int in, Steady::time_point deadline, std::string& text) {
  std::array<char, 16u << 10> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): read into
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now());
    if (left.count() <= 0) return "did not answer in time";
    pollfd ready{in, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(left.count())) <= 0) continue;
    const ssize_t n = ::read(in, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::strerror(errno);
    if (n == 0) return "";
    text.append(buffer.data(), static_cast<std::size_t>(n));
    if (text.size() > kSourceFileBytesMax)
      return fmt::format("wrote more than {} bytes", kSourceFileBytesMax);
  }
}

}  // namespace

Result<std::string> SystemSource::run(const std::vector<std::string>& command,
                                      Duration time_max) const {
  const auto deadline = Steady::now() + time_max;
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
    return fail(Errc::unavailable, "pipe: {}", std::strerror(errno));
  pid_t child = -1;
  const int failed = Start(pipe[1]).run(child, command);
  ::close(pipe[1]);
  std::string text, why;
  if (failed == 0) why = read_until_end(pipe[0], deadline, text);
  ::close(pipe[0]);
  if (failed != 0) return fail(Errc::unavailable, "{}: {}", command[0], std::strerror(failed));

  if (!why.empty()) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!why.empty()) return fail(Errc::unavailable, "{} {}", command[0], why);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(Errc::unavailable, "{} failed ({} {})", command[0],
                WIFEXITED(status) ? "status" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  return text;
}

}  // namespace postern
