#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace postern {

/// "250ms", "30s", "5m", "2h", "7d". A number without a unit is `invalid`: it says which units
/// exist.
Result<Duration> parse_duration(std::string_view text);
std::string format_duration(Duration d);  // the largest unit that divides it: "90s", "5m"

/// "4096", "64KiB", "10MiB", "2GiB", "1TiB"; also KB MB GB TB, powers of 1000.
Result<std::uint64_t> parse_bytes(std::string_view text);
std::string format_bytes(std::uint64_t bytes);  // "10.0 GiB"

}  // namespace postern
