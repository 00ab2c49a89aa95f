#pragma once

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
};

/// The frame of a long-running program: clock, disk, log, loops, signals. Calls `open` once, then
/// works until SIGTERM or SIGINT; SIGHUP reloads. `threads`: loops for connections besides the core
/// loop. Returns the exit status; what failed at the start stands in the log.
int run_program(Level level, std::size_t threads,
                const std::function<Result<Running>(Surroundings)>& open);

}  // namespace postern::node
