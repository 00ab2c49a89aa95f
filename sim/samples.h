#pragma once

#include "base/random.h"
#include "node/sampler.h"
#include "sim/events.h"
#include "sim/oracle.h"

namespace postern::sim {

/// What the nodes of a run observe: a few names, so that later values replace earlier ones, and a
/// number that is given once, so that everybody knows what became of it.
class Samples {
 public:
  Samples(Oracle& oracle, Random& random) : oracle_(oracle), random_(random) {}

  /// One round. Registers with the oracle what it hands out.
  node::Sampler::Sample take(const NodeId& node, WallTime now);
  /// Gateways and servers say little of themselves: the agents' batches are what a run is about.
  bool skips() { return stopped_ || random_.below(4) != 0; }
  std::uint64_t taken() const { return last_number_; }
  /// Nobody observes anything from here on.
  void stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }

 private:
  Oracle& oracle_;
  Random& random_;
  std::uint64_t last_number_ = 0;
  bool stopped_ = false;
};

/// The samplers of one machine.
class SimSamplers final : public node::Samplers {
 public:
  explicit SimSamplers(Samples& samples) : samples_(samples) {}
  std::unique_ptr<node::Sampler> start(Loop& core, const Log& log, const node::Self& self,
                                       const Sampling& sampling,
                                       node::Sampler::OwnHealth own_health,
                                       node::Sampler::Done done) override;

 private:
  class OneSampler;
  Samples& samples_;
};

}  // namespace postern::sim
