#include "sim/samples.h"

#include "base/invariant.h"
#include "identity/key.h"

namespace postern::sim {
namespace {

constexpr const char* kMetrics[] = {"m0", "m1", "m2", "m3"};
constexpr const char* kEntities[] = {"e0", "e1"};

}  // namespace

node::Sampler::Sample Samples::take(const NodeId& node, WallTime now) {
  node::Sampler::Sample sample;
  if (stopped_) return sample;
  std::vector<Measurement> measurements;
  std::vector<Record> records;
  const std::uint64_t count = 1 + random_.below(3), first = random_.below(4);
  for (std::uint64_t i = 0; i < count; ++i) {
    Measurement measurement;
    measurement.name = kMetrics[(first + i) % 4];
    measurement.value = static_cast<std::int64_t>(++last_number_);
    measurement.time = now;
    records.push_back({false, measurement.name, last_number_});
    measurements.push_back(std::move(measurement));
  }
  auto metrics = encode_metrics({}, measurements);
  invariant(metrics.has_value(), "a few measurements are a payload");
  oracle_.observed(node, sha256(metrics->compressed), std::move(records));
  sample.metrics.push_back(std::move(*metrics));

  if (random_.below(2) == 0) {
    EntityState entity;
    const std::string name = kEntities[random_.below(2)];
    entity.type = "sim";
    entity.id.push_back({"id", name});
    entity.attributes.push_back({"number", static_cast<std::int64_t>(++last_number_)});
    auto state = encode_entity_states({}, std::vector{entity}, now);
    invariant(state.has_value(), "an entity is a payload");
    oracle_.observed(node, sha256(state->compressed), {{true, name, last_number_}});
    sample.inventory.push_back(std::move(*state));
  }
  return sample;
}

class SimSamplers::OneSampler final : public node::Sampler {
 public:
  OneSampler(Samples& samples, Loop& core, const NodeId& node, bool often, Duration interval,
             Done done)
      : samples_(samples),
        core_(core),
        node_(node),
        often_(often),
        interval_(interval),
        done_(std::move(done)),
        timer_(core.after(Duration(0), [this] { sample(); })) {}
  void set(const Sampling& sampling) override { interval_ = sampling.interval; }
  void state_all() override {}  // what is stated here never stands still for long

 private:
  void sample() {
    timer_ = core_.after(interval_, [this] { sample(); });
    if (!often_ && samples_.skips()) return;
    Sample taken = samples_.take(node_, core_.clock().wall());
    if (!taken.metrics.empty()) done_(std::move(taken));
  }

  Samples& samples_;
  Loop& core_;
  const NodeId node_;
  const bool often_;
  Duration interval_;
  Done done_;
  Loop::Timer timer_;
};

std::unique_ptr<node::Sampler> SimSamplers::start(Loop& core, const Log&, const node::Self& self,
                                                  const Sampling& sampling,
                                                  node::Sampler::OwnHealth,
                                                  node::Sampler::Done done) {
  return std::make_unique<OneSampler>(samples_, core, self.id, self.role == node::Role::agent,
                                      sampling.interval, std::move(done));
}

}  // namespace postern::sim
