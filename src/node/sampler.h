#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/worker.h"
#include "model/payload.h"
#include "net/loop.h"
#include "node/self.h"
#include "probe/host_metrics.h"
#include "probe/inventory.h"

namespace postern::node {

/// Observes the machine every interval, on a thread of its own because a broken disk may hang it,
/// and hands payloads to the core loop. Belongs to the core loop.
class Sampler {
 public:
  struct Sample {
    std::vector<Payload> metrics;
    std::vector<Payload> inventory;  // when it changed, and once an hour
  };
  using Done = std::function<void(Sample)>;
  /// What the node says of itself, asked on the core loop before each sample.
  using OwnHealth = std::function<std::vector<Measurement>()>;

  Sampler(Loop& core, const Log& log, const Self& self, Duration interval, OwnHealth own_health,
          Done done);
  ~Sampler();
  void set_interval(Duration interval);

 private:
  void begin();
  Sample collect(std::vector<Measurement> own_health);  // on the worker

  Loop& core_;
  const Log& log_;
  const Self& self_;
  Duration interval_;
  OwnHealth own_health_;
  Done done_;
  bool under_way_ = false;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // shared with posts that may come late
  Loop::Timer timer_;

  // The worker's alone:
  SystemSource source_;
  HostMetrics host_;
  Resource resource_;
  std::optional<EntityState> last_inventory_;
  TimePoint inventory_due_{};
  std::vector<Problem> last_problems_;

  Worker worker_;  // last: its thread uses everything above
};

}  // namespace postern::node
