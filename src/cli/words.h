#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace postern::cli {

/// "2026-01-31T08:15:00Z", with or without a fraction of a second; nothing for anything else.
std::optional<WallTime> parse_rfc3339(std::string_view text);

/// "12 s ago, 08:15:00Z"; beyond a day "3 d ago, 2026-01-31". A time ahead of `now` is "just now".
std::string ago(WallTime then, WallTime now);

/// "364 d", "5 h", "expired": how long a certificate still lives.
std::string left(WallTime end, WallTime now);

/// "850 ms", "12 s", "5 min", "3 h", "12 d": one unit, rounded down.
std::string span_words(std::chrono::milliseconds span);

}  // namespace postern::cli
