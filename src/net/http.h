#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace postern {

inline constexpr std::size_t kHttpHeaderBytesMax = 8u << 10;           // more: 431
inline constexpr std::size_t kHttpBodyBytesMax = 64u << 10;            // of a request; more: 413
inline constexpr std::size_t kHttpResponseHeaderBytesMax = 16u << 10;  // that our client takes
inline constexpr std::size_t kHttpResponseBytesMax = 64u << 20;        // that our client takes
inline constexpr Duration kHttpRequestTimeMax = std::chrono::seconds(10);  // first byte to last
inline constexpr Duration kHttpIdleTimeMax = std::chrono::seconds(10);     // between requests
inline constexpr Duration kHttpAnswerTimeMax =
    std::chrono::seconds(60);                                  // for the product, and to send
inline constexpr std::size_t kHttpRequestsMax = 1000;          // on one connection
inline constexpr std::size_t kHttpStreamBehindMax = 1u << 20;  // bytes a slow client may lag

/// Who is on the other side of a Unix socket, by the kernel's word.
struct UnixPeer {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int32_t pid = 0;
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string target = "/";  // as sent: path and query
  HttpHeaders headers;       // names in lower case when received
  std::string body;
  std::string address;    // "192.0.2.1:40312" or "unix"
  bool loopback = false;  // it came from this machine (also over the Unix socket)
  std::optional<UnixPeer> unix_peer;

  std::optional<std::string_view> header(std::string_view lower_case_name) const;
};

/// A response that goes on: what is pushed is sent as it comes, until one side ends it. On the core
/// loop; letting go of it ends the response.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  /// False, now and from now on: the client is gone, or kHttpStreamBehindMax bytes behind and cut.
  virtual bool push(std::string text) = 0;
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  HttpHeaders headers;  // further ones; Content-Length and Connection are net's
  /// Set: `body` is only the beginning. Called once, on the core loop.
  std::function<void(std::shared_ptr<HttpStream>)> go_on = nullptr;
};

/// Answers one request. May be called later, on the core loop; only the first call counts, and none
/// at all within kHttpAnswerTimeMax closes the connection.
using Respond = std::function<void(HttpResponse)>;
/// Called on the core loop.
using HttpHandler = std::function<void(HttpRequest request, Respond respond)>;

}  // namespace postern
