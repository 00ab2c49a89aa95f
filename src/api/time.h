#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"

namespace postern::api {

/// "2026-01-31T08:15:00Z", with or without a fraction of a second (milliseconds count, the rest is
/// dropped); nothing for anything else.
std::optional<WallTime> parse_rfc3339(std::string_view text);

}  // namespace postern::api
