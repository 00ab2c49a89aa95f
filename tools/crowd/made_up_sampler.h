#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/measures.h"
#include "node/sampler.h"

namespace postern {

/// Makes up what a small machine would say: a few values an interval beside the node's own health,
/// and who it is once at the start. Belongs to the core loop.
class MadeUpSampler final : public node::Sampler {
 public:
  MadeUpSampler(Loop& core, const Log& log, const node::Self& self, Duration interval,
                OwnHealth own_health, Done done)
      : core_(core),
        log_(log),
        resource_{{{"service.name", std::string("postern-agent")},
                   {"host.name", self.name},
                   {"postern.node.id", self.id.hex()}}},
        name_(self.name),
        started_(core.clock().wall()),
        interval_(interval),
        own_health_(std::move(own_health)),
        done_(std::move(done)) {
    // Spread over the interval, and not at the same moment after each start.
    arm(Duration(static_cast<Duration::rep>(self.incarnation %
                                            static_cast<std::uint64_t>(interval_.count()))));
  }

  void set(const Sampling& sampling) override { interval_ = sampling.interval; }
  void state_all() override { stated_ = false; }

 private:
  void arm(Duration delay) {
    timer_ = core_.after(delay, [this] {
      arm(interval_);
      observe();
    });
  }

  void observe() {
    const WallTime now = core_.clock().wall();
    ++rounds_;
    Measures m(now, started_);
    m.append(own_health_());
    m.gauge("system.uptime", "s", std::chrono::duration<double>(now - started_).count(), "");
    m.gauge("system.memory.limit", "By", std::int64_t{1} << 30, "");
    m.gauge("system.memory.usage", "By", std::int64_t{1 << 20} * (100 + rounds_ % 50), "");
    m.counter("system.cpu.time", "s", 0.25 * static_cast<double>(rounds_), "");
    Sample sample;
    take(encode_metrics(resource_, m.take()), sample.metrics);
    if (!std::exchange(stated_, true)) {
      const EntityState host{
          "host",
          {{"host.name", name_}},
          {{"os.description", std::string("made up")}, {"host.arch", std::string("amd64")}},
          std::chrono::hours(1)};
      take(encode_entity_states(resource_, {&host, 1}, now), sample.inventory);
    }
    done_(std::move(sample));
  }

  void take(Result<Payload> payload, std::vector<Payload>& into) {
    if (payload)
      into.push_back(std::move(*payload));
    else
      log_.error("nothing is made up: {}", payload.error().message);
  }

  Loop& core_;
  const Log& log_;
  const Resource resource_;
  const std::string name_;
  const WallTime started_;
  Duration interval_;
  const OwnHealth own_health_;
  const Done done_;
  Loop::Timer timer_;
  std::int64_t rounds_ = 0;
  bool stated_ = false;
};

class MadeUpSamplers final : public node::Samplers {
 public:
  std::unique_ptr<node::Sampler> start(Loop& core, const Log& log, const node::Self& self,
                                       const Sampling& sampling,
                                       node::Sampler::OwnHealth own_health,
                                       node::Sampler::Done done) override {
    return std::make_unique<MadeUpSampler>(core, log, self, sampling.interval,
                                           std::move(own_health), std::move(done));
  }
};

}  // namespace postern
