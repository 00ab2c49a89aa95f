#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/log.h"
#include "model/payload.h"
#include "net/loop.h"
#include "node/self.h"

namespace postern::node {

/// Observes something every interval and hands payloads to the core loop, beginning at once.
/// Belongs to the core loop; after it ended, nothing is handed over any more.
///
/// An interface, so that a simulation can make up what is observed.
class Sampler {
 public:
  struct Sample {
    std::vector<Payload> metrics;
    std::vector<Payload> inventory;  // when it changed, and once an hour
  };
  /// Called on the core loop, never inside Samplers::start().
  using Done = std::function<void(Sample)>;
  /// What the node says of itself, asked on the core loop before each sample.
  using OwnHealth = std::function<std::vector<Measurement>()>;

  virtual ~Sampler() = default;
  virtual void set_interval(Duration interval) = 0;
  /// The next sample states everything, changed or not: what was stated before is lost.
  virtual void state_all() = 0;
};

/// Where samplers come from. It and what start() is given outlive them.
class Samplers {
 public:
  virtual ~Samplers() = default;
  virtual std::unique_ptr<Sampler> start(Loop& core, const Log& log, const Self& self,
                                         Duration interval, Sampler::OwnHealth own_health,
                                         Sampler::Done done) = 0;
};

}  // namespace postern::node
