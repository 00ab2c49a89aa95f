#pragma once

#include <memory>
#include <optional>

#include "probe/collectors.h"
#include "settings/collectors.h"

namespace postern {

/// One collector and all that it needs, so that it can be left to a thread of its own. One thread
/// at a time, which may block for as long as the machine pleases.
class Probe {
 public:
  /// `source` is shared because a call that hangs may outlive whoever asked for it.
  Probe(CollectorId id, std::shared_ptr<const Source> source, Observer observer);
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  /// Everything as of `now`. What is a share of a time (system.cpu.utilization and the like) is
  /// over the time since the last call, so the first call has none.
  Collected collect(WallTime now);

 private:
  const CollectorId id_;
  const std::shared_ptr<const Source> source_;
  const Observer observer_;
  const std::unique_ptr<Collector> collector_;
  std::optional<WallTime> boot_;  // read once: the kernel's word moves when the clock is set
};

/// Whether a call may hang or take seconds: those get a worker each, all others share one.
bool may_block(CollectorId id);

}  // namespace postern
