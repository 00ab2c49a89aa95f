#pragma once

namespace postern::api {

/// docs/api/openapi.yaml as it was at build time.
extern const char* const kOpenApi;

}  // namespace postern::api
