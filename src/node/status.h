#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/measurement.h"
#include "net/http.h"
#include "net/unix_http.h"
#include "node/children.h"
#include "node/node.h"

namespace postern::node {

/// What a node says of itself over HTTP:
///   /livez    that it lives, to everybody: one word
///   /readyz   that it delivers, or why it does not (503)
///   /metrics  its own measurements, for Prometheus
/// The last two only to those it knows: `trusted` (rule C6); to others they are not there.
struct Status {
  std::function<std::string()> not_ready;  // why it delivers nothing now; empty when it delivers
  std::function<std::vector<Measurement>()> health;
};
/// What the port for children has seen. `children` may be null.
std::vector<Measurement> port_health(const Children* children, WallTime now, WallTime start);

HttpResponse status_page(const HttpRequest& request, bool trusted, const Status& status);

/// status_page() on STATE_DIR/status.sock, for whoever may open it: user and group of the program.
Result<std::unique_ptr<UnixHttpServer>> listen_for_status(const Surroundings& around,
                                                          const std::filesystem::path& state_dir,
                                                          Status status);

}  // namespace postern::node
