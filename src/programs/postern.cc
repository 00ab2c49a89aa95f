#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <thread>

#include "cli/table.h"

#include "cli/world.h"
#include "net/http_client.h"

namespace {

std::size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/// What was drawn has been flushed; nothing else is under way that could be lost.
void end_on_interrupt() {
  for (const int number : {SIGINT, SIGTERM})
    ::signal(number, [](int) { ::_exit(postern::cli::kExitDone); });
}

}  // namespace

int main(int count, char** arguments) {
  ::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, not a silent death
  const postern::SystemClock clock;
  postern::PosixDisk disk;
  postern::doctor::RealOutside outside;
  postern::cli::World world{
      .out = std::cout,
      .err = std::cerr,
      .clock = clock,
      .disk = disk,
      .environment = [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());
        if (value == nullptr) return std::nullopt;
        return value;
      },
      .send =
          [](const postern::cli::ServerAddress& to, const postern::HttpRequest& request) {
            return to.anchors
                       ? postern::http_over_tls(to.host, to.dial, to.port, *to.anchors, request)
                       : postern::http_over_unix(to.unix_path, request);
          },
      .pause =
          [](std::chrono::seconds time) {
            std::this_thread::sleep_for(time);
            return true;
          },
      .on_watch = end_on_interrupt,
      .outside = &outside,
      .columns = postern::cli::screen_columns(
          std::getenv("COLUMNS") == nullptr ? std::nullopt
                                            : std::optional<std::string>(std::getenv("COLUMNS")),
          terminal_columns()),
      .terminal = ::isatty(STDOUT_FILENO) == 1,
  };
  if (count < 1) return postern::cli::kExitUsage;
  return postern::cli::run({arguments, arguments + count}, world);
}
