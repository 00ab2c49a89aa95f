#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace postern {

/// "Sat, 31 Jan 2026 08:15:00 GMT", as the header Date says it.
std::string http_date(WallTime time);
/// The other way round, to the second; nothing when it is not in that form.
std::optional<WallTime> parse_http_date(std::string_view text);

}  // namespace postern
