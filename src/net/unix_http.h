#pragma once

#include <filesystem>
#include <memory>

#include "base/log.h"
#include "base/result.h"
#include "net/http.h"
#include "net/loop.h"

namespace postern {

inline constexpr std::size_t kUnixConnectionsMax = 64;  // more wait in the kernel's queue

/// HTTP/1.1 on a Unix socket; every request says by whom (SO_PEERCRED). Lives on the core loop.
/// The socket has mode 0660 from its first moment; a left-over one that nobody listens on is
/// replaced, one that somebody listens on is `unavailable`. Removed when the server ends.
class UnixHttpServer {
 public:
  /// `group`: who else may connect, by the file's group; -1 leaves ours.
  static Result<std::unique_ptr<UnixHttpServer>> listen(Loop& core, const Log& log,
                                                        const std::filesystem::path& path,
                                                        HttpHandler handler, int group = -1);
  ~UnixHttpServer();

 private:
  class Parts;
  explicit UnixHttpServer(std::shared_ptr<Parts> parts);
  std::shared_ptr<Parts> parts_;  // shared with the loop, which watches its socket
};

}  // namespace postern
