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
/// What a caller may do is its scope's matter. GET answers carry an ETag, and If-None-Match is
/// honoured; an operation that changes what somebody has looked at understands If-Match.
HttpResponse handle(const HttpRequest& request, const Caller& caller, Service& service);

/// A refusal before there is a caller.
HttpResponse response_of(const ApiError& error);

}  // namespace postern::api
