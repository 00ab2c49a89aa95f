#pragma once

#include <string>

#include "wire/frame.h"

namespace postern::sim {

/// A message in a few words, for the trace: "batch 3 of 1a2b/1/metric", "stored 1a2b/1/metric 1-3".
std::string describe(const wire::Message& message);

}  // namespace postern::sim
