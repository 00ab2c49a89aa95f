#pragma once

#include <filesystem>

#include "base/result.h"
#include "identity/check.h"
#include "net/http.h"

namespace postern {

/// One request, one response, over a Unix socket; blocks for at most `timeout`. For the operator's
/// tool, not for a loop. `denied` when the socket's mode keeps us out, `unavailable` when nobody
/// listens or answers in time; a response of any status is a success.
Result<HttpResponse> http_over_unix(const std::filesystem::path& path, const HttpRequest& request,
                                    Duration timeout = std::chrono::seconds(30));

/// The same over TLS 1.3 to `dial`, a name or an address. The other side's certificate must lead to
/// `anchors` and name `name`; we show none. `denied` with the reason when it does not.
Result<HttpResponse> http_over_tls(const std::string& name, const std::string& dial,
                                   std::uint16_t port, const Anchors& anchors,
                                   const HttpRequest& request,
                                   Duration timeout = std::chrono::seconds(30));

/// The same to whoever answers there: nobody is verified. For requests that hold no secret and
/// answers that are signed (docs/formats/join.md#J10).
Result<HttpResponse> http_over_unverified_tls(const std::string& dial, std::uint16_t port,
                                              const HttpRequest& request,
                                              Duration timeout = std::chrono::seconds(30));

}  // namespace postern
