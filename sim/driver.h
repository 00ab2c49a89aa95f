#pragma once

#include <cstdint>

#include "sim/run.h"

namespace postern::sim {

/// What the command line asks for.
struct Wish {
  std::uint64_t seed = 1, runs = 1;
  unsigned jobs = 0;  // 0: one a core
  bool trace = false, digests = false, coverage = false, stop_at_first = false;
  Options options;
};

/// Runs seed, seed + 1, ... spread over processes, because the product's invariants abort; reports
/// on standard output, each broken promise with its seed and the last lines of its trace. Returns
/// the exit status: 0 when every promise held.
int drive(const Wish& wish);

}  // namespace postern::sim
