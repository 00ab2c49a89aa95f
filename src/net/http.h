#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace postern {

inline constexpr std::size_t kHttpHeaderBytesMax = 8u << 10;     // more: 431
inline constexpr std::size_t kHttpBodyBytesMax = 64u << 10;      // of a request; more: 413
inline constexpr std::size_t kHttpResponseBytesMax = 64u << 20;  // that our client takes
inline constexpr Duration kHttpRequestTimeMax = std::chrono::seconds(10);  // first byte to last
inline constexpr Duration kHttpIdleTimeMax = std::chrono::seconds(10);     // between requests
inline constexpr Duration kHttpAnswerTimeMax =
    std::chrono::seconds(60);                          // for the product, and to send
inline constexpr std::size_t kHttpRequestsMax = 1000;  // on one connection

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

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  HttpHeaders headers;  // further ones; Content-Length and Connection are net's
};

/// Answers one request. May be called later, on the core loop; only the first call counts, and none
/// at all within kHttpAnswerTimeMax closes the connection.
using Respond = std::function<void(HttpResponse)>;
/// Called on the core loop.
using HttpHandler = std::function<void(HttpRequest request, Respond respond)>;

}  // namespace postern
