#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "node/node.h"

namespace postern::node {

/// What a program does once it runs.
struct Running {
  std::shared_ptr<void> keeps;  // the object graph; ends before the loops do
  std::function<void()> reload;
  std::function<void(const std::string& why)> stop;
  /// How it is, in a few words, for `systemctl status`; asked on the core loop.
  std::function<std::string()> status{};
};

/// The frame of a long-running program: clock, disk, log, loops, signals. Calls `open` once, then
/// works until SIGTERM or SIGINT; SIGHUP reloads. A service manager that wants to know is told when
/// the core loop works, reloads and stops, and that it is alive. `threads`: loops for connections
/// besides the core loop. Returns the exit status; what failed at the start stands in the log.
///
/// While the disk of the `state` folder takes nothing (full, read-only, failing), `open` is tried
/// again and again, and the program stays (rule D7); any other failure ends it.
int run_program(Level level, std::size_t threads, const std::filesystem::path& state,
                const std::function<Result<Running>(Surroundings)>& open);

/// Whether a small file can not be written into `folder` now because of the disk under it.
bool disk_ails(Disk& disk, const std::filesystem::path& folder);

}  // namespace postern::node
