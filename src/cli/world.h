#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "base/result.h"
#include "net/http.h"

namespace postern::cli {

/// Everything outside that a command touches; main() passes the real things, tests pass fakes.
struct World {
  std::ostream& out;
  std::ostream& err;
  const Clock& clock;
  Disk& disk;
  std::function<std::optional<std::string>(const std::string& name)> environment;
  /// One request over the Unix socket at `path`. `denied` when we may not open it.
  std::function<Result<HttpResponse>(const std::string& path, const HttpRequest&)> send;
  /// Waits between two drawings of --watch; false when it is time to end.
  std::function<bool(std::chrono::seconds)> pause;
  bool terminal = false;                  // `out` is one: it may be cleared
  std::string home = "/var/lib/postern";  // where the roles keep their state, by default
  std::string settings = "/etc/postern";  // where ROLE.yaml stands
};

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

/// Runs one command; arguments[0] is the name it was called by, which may be one of the seed's
/// (seed_tools.h). Returns the exit status; everything that is to be said has been said.
int run(const std::vector<std::string>& arguments, World& world);

}  // namespace postern::cli
