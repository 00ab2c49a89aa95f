#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/time.h"
#include "base/clock.h"

namespace postern::cli {

using api::parse_rfc3339;

/// "12 s ago, 08:15:00Z"; beyond a day "3 d ago, 2026-01-31". A time ahead of `now` is "just now".
std::string ago(WallTime then, WallTime now);

/// "364 d", "5 h", "expired": how long a certificate still lives.
std::string left(WallTime end, WallTime now);

/// "850 ms", "12 s", "5 min", "3 h", "12 d": one unit, rounded down.
std::string span_words(std::chrono::milliseconds span);

}  // namespace postern::cli
