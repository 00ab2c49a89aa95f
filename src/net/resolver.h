#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace postern {

/// The IP addresses that this machine's resolver has for `host`, in its order, each once; at most
/// kAddressesMax (dialer.h). Blocks for at most `timeout`, never on a loop: a thread that waits for
/// a name server for longer is left behind. `invalid` when there is no such name, `unavailable`
/// when nobody says so or not in time.
Result<std::vector<std::string>> addresses_of(const std::string& host, Duration timeout);

/// What this machine's resolver calls the address; nothing when it has no name, or not in time.
std::optional<std::string> name_of_address(const std::string& address, Duration timeout);

}  // namespace postern
