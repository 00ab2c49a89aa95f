#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/disk.h"
#include "settings/settings.h"
#include "store/store.h"

namespace postern {

/// The store that the settings name. `warn` hears what should be changed about its database, now
/// and later, on the thread that uses the store. `disk` and whatever `warn` uses outlive it.
Result<std::unique_ptr<store::Store>> open_store(const ServerSettings& settings, Disk& disk,
                                                 std::function<void(const std::string&)> warn);

}  // namespace postern
