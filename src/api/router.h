#pragma once

#include "api/service.h"
#include "net/http.h"

namespace postern::api {

inline constexpr std::size_t kTargetBytesMax = 2048;
inline constexpr std::size_t kBodyBytesMax = 64 << 10;
inline constexpr std::size_t kJsonDepthMax = 8;
inline constexpr std::size_t kParentsMax = 16;  // of one node
inline constexpr std::size_t kCsrBytesMax = 16 << 10;

/// Answers one request under /api/v1 (docs/api/openapi.yaml). Every refusal is
/// application/problem+json; no input throws or aborts. It keeps no state and runs where the
/// service runs, because it calls it: on one thread at a time.
///
/// Only administrators may change things; whoever may open the socket may read.
HttpResponse handle(const HttpRequest& request, const Caller& caller, Service& service);

}  // namespace postern::api
