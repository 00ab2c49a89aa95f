#pragma once

#include <filesystem>

#include "base/result.h"
#include "net/http.h"

namespace postern {

/// One request, one response, over a Unix socket; blocks for at most `timeout`. For the operator's
/// tool, not for a loop. `denied` when the socket's mode keeps us out, `unavailable` when nobody
/// listens or answers in time; a response of any status is a success.
Result<HttpResponse> http_over_unix(const std::filesystem::path& path, const HttpRequest& request,
                                    Duration timeout = std::chrono::seconds(30));

}  // namespace postern
