#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "model/measurement.h"
#include "probe/source.h"

namespace postern {

/// Why something could not be observed.
struct Problem {
  std::string collector;  // "memory"
  Error error;
  bool operator==(const Problem&) const = default;
};

struct Collected {
  std::vector<Measurement> measurements;
  std::vector<Problem> problems;
};

/// Ticks of all processors since boot, one entry a CPU mode (see cpu.cc for their order).
inline constexpr std::size_t kCpuModes = 7;
using CpuTicks = std::array<std::uint64_t, kCpuModes>;

/// Observes the machine: processors, load, memory, swap, file systems, disks, network, uptime,
/// processes, under OpenTelemetry's names. A collector that fails is a problem in the result and
/// the others go on. One owner, one thread, which may block on a broken disk.
class HostMetrics {
 public:
  HostMetrics(const Source& source, const Clock& clock) : source_(source), clock_(clock) {}
  HostMetrics(const HostMetrics&) = delete;
  HostMetrics& operator=(const HostMetrics&) = delete;

  /// Everything as of now. system.cpu.utilization is over the time since the last call, so the
  /// first call has none.
  Collected collect();

 private:
  const Source& source_;
  const Clock& clock_;
  std::optional<WallTime> boot_;  // read once: the kernel's word moves when the clock is set
  std::optional<CpuTicks> last_cpu_;
};

}  // namespace postern
