#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/log.h"
#include "model/payload.h"
#include "net/loop.h"
#include "node/self.h"
#include "settings/collectors.h"

namespace postern::node {

/// Observes something at intervals and hands payloads to the core loop, beginning at once. Belongs
/// to the core loop; after it ended, nothing is handed over any more.
///
/// An interface, so that a simulation can make up what is observed.
class Sampler {
 public:
  struct Sample {
    std::vector<Payload> metrics;
    std::vector<Payload> inventory;  // entity states: those that changed, and each once an hour
  };
  /// Called on the core loop, never inside Samplers::start().
  using Done = std::function<void(Sample)>;
  /// What the node says of itself, asked on the core loop when it is due, never inside start().
  using OwnHealth = std::function<std::vector<Measurement>()>;

  virtual ~Sampler() = default;
  virtual void set(const Sampling& sampling) = 0;
  /// The next sample states everything, changed or not: what was stated before is lost.
  virtual void state_all() = 0;
  /// What it says of itself, for the node's own health: what the program takes, how its collectors
  /// do.
  virtual std::vector<Measurement> own_health() { return {}; }
};

/// Where samplers come from. It and what start() is given outlive them.
class Samplers {
 public:
  virtual ~Samplers() = default;
  virtual std::unique_ptr<Sampler> start(Loop& core, const Log& log, const Self& self,
                                         const Sampling& sampling, Sampler::OwnHealth own_health,
                                         Sampler::Done done) = 0;
};

}  // namespace postern::node
