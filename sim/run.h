#pragma once

#include <optional>
#include <string>

#include "sim/certificates.h"
#include "sim/faults.h"
#include "sim/oracle.h"
#include "sim/trace.h"

namespace postern::sim {

/// What came out of one run.
struct Outcome {
  std::optional<Oracle::Broken> broken;
  std::uint64_t digest = 0;
  std::uint64_t events = 0;
  std::size_t promised = 0;  // batches that had to arrive
  Duration virtual_time{};
};

struct Options {
  std::vector<Faults::Kind> only;  // empty: as the seed says
  std::vector<Faults::Kind> without;
  bool faults = true;
};

/// "kill", "power", ... or "none". False: there is no such fault.
bool take_only(std::string_view name, Options& options);
bool take_without(std::string_view name, Options& options);

/// One group, from its first start to the last check, all of it decided by the seed.
Outcome run(std::uint64_t seed, const Options& options, Certificates& certificates, Trace& trace,
            Coverage& coverage);

}  // namespace postern::sim
