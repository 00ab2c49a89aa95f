#pragma once

#include <optional>

#include "base/worker.h"
#include "node/sampler.h"
#include "probe/host_metrics.h"
#include "probe/inventory.h"

namespace postern::node {

/// Observes this machine, on a worker of its own because a broken disk may hang it.
class HostSampler final : public Sampler {
 public:
  HostSampler(Loop& core, const Log& log, const Self& self, Duration interval, OwnHealth own_health,
              Done done, std::unique_ptr<Worker> worker);
  ~HostSampler() override;
  HostSampler(const HostSampler&) = delete;
  HostSampler& operator=(const HostSampler&) = delete;
  void set_interval(Duration interval) override;
  void state_all() override {
    worker_->post([this] { last_inventory_ = std::nullopt; });
  }

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

  std::unique_ptr<Worker> worker_;  // last: its tasks use everything above
};

class HostSamplers final : public Samplers {
 public:
  explicit HostSamplers(Workers& workers) : workers_(workers) {}
  std::unique_ptr<Sampler> start(Loop& core, const Log& log, const Self& self, Duration interval,
                                 Sampler::OwnHealth own_health, Sampler::Done done) override;

 private:
  Workers& workers_;
};

}  // namespace postern::node
