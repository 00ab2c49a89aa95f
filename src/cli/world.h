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
#include "doctor/outside.h"
#include "identity/check.h"
#include "net/http.h"

namespace postern::cli {

/// Where the management server's API is reached.
struct ServerAddress {
  std::string unix_path;  // set: on this machine, and the kernel says who we are
  std::string host;       // else over TLS; stands in its certificate
  std::string dial;       // `host`, or the address that the group file has for it
  std::uint16_t port = 0;
  std::optional<Anchors> anchors;
  std::string text() const;  // "unix:PATH", "https://HOST:PORT"
};

/// Everything outside that a command touches; main() passes the real things, tests pass fakes.
struct World {
  std::ostream& out;
  std::ostream& err;
  const Clock& clock;
  Disk& disk;
  std::function<std::optional<std::string>(const std::string& name)> environment;
  /// One request. `denied` when we may not open the socket, or do not believe the other side.
  std::function<Result<HttpResponse>(const ServerAddress&, const HttpRequest&)> send;
  /// Waits between two drawings of --watch; false when it is time to end.
  std::function<bool(std::chrono::seconds)> pause;
  /// --watch begins: from now on an interruption is its ordinary end, with kExitDone.
  std::function<void()> on_watch = [] {};
  doctor::Outside* outside = nullptr;     // null: no verb that dials nodes
  std::size_t columns = 100;              // as wide as a table may be
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
