#include "node/host_sampler.h"

namespace postern::node {
namespace {

constexpr Duration kInventoryInterval = std::chrono::hours(1);

Resource resource_of(const Self& self) {
  return {{{"service.name", std::string("postern-") + to_string(self.role)},
           {"service.version", std::string(kSoftware + sizeof("postern ") - 1)},
           {"host.name", self.name},
           {"postern.node.id", self.id.hex()}}};
}

}  // namespace

HostSampler::HostSampler(Loop& core, const Log& log, const Self& self, Duration interval,
                         OwnHealth own_health, Done done, std::unique_ptr<Worker> worker)
    : core_(core),
      log_(log),
      self_(self),
      interval_(interval),
      own_health_(std::move(own_health)),
      done_(std::move(done)),
      host_(source_, core.clock()),
      resource_(resource_of(self)),
      worker_(std::move(worker)) {
  begin();
}

HostSampler::~HostSampler() { *alive_ = false; }

void HostSampler::set_interval(Duration interval) {
  interval_ = interval;
  timer_ = core_.after(interval_, [this] { begin(); });
}

void HostSampler::begin() {
  timer_ = core_.after(interval_, [this] { begin(); });
  if (under_way_) {
    log_.warning("the measurements take longer than the interval of {} ms; one round is left out",
                 std::chrono::duration_cast<std::chrono::milliseconds>(interval_).count());
    return;
  }
  under_way_ = true;
  worker_->post([this, alive = alive_, health = own_health_()]() mutable {
    Sample sample = collect(std::move(health));
    core_.post([this, alive, sample = std::move(sample)]() mutable {
      if (!*alive) return;
      under_way_ = false;
      done_(std::move(sample));
    });
  });
}

Sampler::Sample HostSampler::collect(std::vector<Measurement> own_health) {
  Sample sample;
  Collected collected = host_.collect();
  if (collected.problems != last_problems_) {
    for (const Problem& problem : collected.problems)
      log_.warning("cannot measure {}: {}", problem.collector, problem.error.message);
    last_problems_ = collected.problems;
  }
  for (Measurement& measurement : own_health)
    collected.measurements.push_back(std::move(measurement));
  for (const auto run :
       split_for_payload(resource_, std::span<const Measurement>(collected.measurements))) {
    auto payload = encode_metrics(resource_, run);
    if (payload)
      sample.metrics.push_back(std::move(*payload));
    else
      log_.error("{} measurements are lost: {}", run.size(), payload.error().message);
  }

  Inventory inventory = host_inventory(source_, self_.name);
  inventory.host.interval =
      std::chrono::duration_cast<std::chrono::milliseconds>(kInventoryInterval);
  if (inventory.host == last_inventory_ && core_.now() < inventory_due_) return sample;
  auto payload =
      encode_entity_states(resource_, std::span(&inventory.host, 1), core_.clock().wall());
  if (!payload) {
    log_.error("the inventory cannot be sent: {}", payload.error().message);
    return sample;
  }
  last_inventory_ = std::move(inventory.host);
  inventory_due_ = core_.now() + kInventoryInterval;
  sample.inventory.push_back(std::move(*payload));
  return sample;
}

std::unique_ptr<Sampler> HostSamplers::start(Loop& core, const Log& log, const Self& self,
                                             Duration interval, Sampler::OwnHealth own_health,
                                             Sampler::Done done) {
  return std::make_unique<HostSampler>(core, log, self, interval, std::move(own_health),
                                       std::move(done), workers_.start("probe"));
}

}  // namespace postern::node
