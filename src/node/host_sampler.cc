#include "node/host_sampler.h"

#include <condition_variable>
#include <mutex>

namespace postern::node {
namespace {

constexpr Duration kStatedEvery = std::chrono::hours(1);
constexpr std::size_t kSharedLane = index_of(CollectorId::cpu);

Observer observer_of(const Self& self) {
  return {self.name, to_string(self.role), std::string(kSoftware + sizeof("postern ") - 1)};
}

Resource resource_of(const Self& self) {
  return {{{"service.name", std::string("postern-") + to_string(self.role)},
           {"service.version", std::string(kSoftware + sizeof("postern ") - 1)},
           {"host.name", self.name},
           {"postern.node.id", self.id.hex()}}};
}

bool is_same_entity(const EntityState& a, const EntityState& b) {
  return a.type == b.type && a.id == b.id;
}

}  // namespace

/// A worker that hangs may outlive the sampler and the loop: it reaches them only through this, and
/// finds nobody when they are gone.
class HostSampler::Way {
 public:
  explicit Way(Loop& core) : core_(&core) {}

  void begins(std::size_t lane) {
    const std::lock_guard lock(mutex_);
    busy_.insert(lane);
  }
  /// The last that a task does.
  void ends(std::size_t lane, Task task) {
    const std::lock_guard lock(mutex_);
    busy_.erase(busy_.find(lane));
    if (core_ != nullptr) core_->post(std::move(task));
    idle_.notify_all();
  }
  bool closed() {
    const std::lock_guard lock(mutex_);
    return core_ == nullptr;
  }
  /// Nothing is posted any more when it returns. The lanes that are still busy after `patience`.
  std::set<std::size_t> close(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    core_ = nullptr;
    idle_.wait_for(lock, patience, [this] { return busy_.empty(); });
    return {busy_.begin(), busy_.end()};
  }

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  Loop* core_;
  std::multiset<std::size_t> busy_;  // by task
};

HostSampler::HostSampler(Loop& core, const Log& log, const Self& self, const Sampling& sampling,
                         std::shared_ptr<const Source> source, OwnHealth own_health, Done done,
                         Workers& workers)
    : core_(core),
      log_(log),
      name_(self.name),
      observer_(observer_of(self)),
      resource_(resource_of(self)),
      own_health_(std::move(own_health)),
      done_(std::move(done)),
      source_(std::move(source)),
      workers_(workers),
      started_(core.clock().wall()),
      schedule_(sampling, core.now(), core.clock().wall()),
      self_(CollectorId::self, source_, observer_),
      way_(std::make_shared<Way>(core)) {
  timer_ = core_.after(Duration(0), [this] { wake(); });
}

HostSampler::~HostSampler() {
  for (const std::size_t lane : way_->close(kEndPatience)) {
    log_.warning("collector {} does not come back; it is left behind",
                 name_of(static_cast<CollectorId>(lane)));
    // Joining its thread could take for ever. What it uses is shared with it.
    (void)lanes_[lane].release();
  }
}

void HostSampler::set(const Sampling& sampling) {
  schedule_.set(sampling, core_.now(), core_.clock().wall());
  timer_ = core_.after(Duration(0), [this] { wake(); });
}

void HostSampler::state_all() {
  for (Stated& stated : stated_) stated.at.reset();
}

void HostSampler::arm() {
  timer_ = core_.after(schedule_.next(core_.now()) - core_.now(), [this] { wake(); });
}

void HostSampler::wake() {
  const TimePoint now = core_.now();
  const WallTime wall = core_.clock().wall();
  for (const CollectorId id : schedule_.look(now, wall)) say(id);
  const std::vector<CollectorId> due = schedule_.take_due(now);
  arm();
  // What is still missing of the round before comes by itself.
  if (waiting_ > 0 || due.empty()) hand_over();
  if (due.empty()) return;

  ++round_;
  std::vector<CollectorId> together;
  for (const CollectorId id : due) {
    if (id == CollectorId::self)
      measure_self();
    else if (may_block(id))
      ask(index_of(id), {id});
    else
      together.push_back(id);
  }
  if (!together.empty()) ask(kSharedLane, std::move(together));
  if (waiting_ == 0) return hand_over();
  round_timer_ = core_.after(kRoundMax, [this] { hand_over(); });
}

void HostSampler::measure_self() {
  const auto begun = std::chrono::steady_clock::now();
  for (Measurement& one : own_health_()) measured_.push_back(std::move(one));
  if (schedule_.answered(CollectorId::self, core_.now(), core_.clock().wall(),
                         std::chrono::steady_clock::now() - begun, self_problems_))
    say(CollectorId::self);
}

void HostSampler::ask(std::size_t lane, std::vector<CollectorId> ids) {
  auto& worker = lanes_[lane];
  if (!worker)
    worker = workers_.start(lane == kSharedLane
                                ? "probe"
                                : "probe-" + std::string(name_of(static_cast<CollectorId>(lane))));
  std::vector<std::pair<CollectorId, std::shared_ptr<Probe>>> probes;
  for (const CollectorId id : ids) probes.emplace_back(id, probe(id));
  ++waiting_;
  way_->begins(lane);
  worker->post([this, way = way_, lane, round = round_, wall = core_.clock().wall(),
                probes = std::move(probes)] {
    std::vector<Answer> answers;
    for (const auto& [id, one] : probes) {
      const auto begun = std::chrono::steady_clock::now();
      Collected collected = one->collect(wall);
      answers.push_back({id, std::move(collected), std::chrono::steady_clock::now() - begun});
    }
    way->ends(lane, [this, way, round, answers = std::move(answers)]() mutable {
      if (!way->closed()) take(round, std::move(answers));
    });
  });
}

void HostSampler::take(std::uint64_t round, std::vector<Answer> answers) {
  for (Answer& answer : answers) {
    if (schedule_.answered(answer.id, core_.now(), core_.clock().wall(), answer.took,
                           answer.collected.problems))
      say(answer.id);
    if (!schedule_.is_on(answer.id)) continue;  // by new settings, meanwhile
    for (Measurement& one : answer.collected.measurements) measured_.push_back(std::move(one));
    for (EntityState& one : answer.collected.entities) note(std::move(one));
  }
  arm();
  if (round == round_ && waiting_ > 0) --waiting_;
  if (waiting_ == 0) hand_over();
}

void HostSampler::say(CollectorId id) {
  const Schedule::Standing& standing = schedule_.standing(id);
  if (standing.healthy)
    log_.info("collector {} is well again", name_of(id));
  else
    log_.warning("collector {}: {}", name_of(id), standing.reason);
}

void HostSampler::note(EntityState state) {
  state.interval = std::chrono::duration_cast<std::chrono::milliseconds>(kStatedEvery);
  for (Stated& stated : stated_) {
    if (!is_same_entity(stated.state, state)) continue;
    if (stated.state == state) return;
    stated.state = std::move(state);
    stated.at.reset();
    return;
  }
  stated_.push_back({std::move(state), std::nullopt});
}

/// The round is over, whether or not everybody answered.
void HostSampler::hand_over() {
  waiting_ = 0;
  round_timer_.cancel();
  // Who was asked has perhaps never answered: nothing is known yet.
  for (const CollectorId id : all_collectors())
    if (!schedule_.is_asked(id) || !schedule_.standing(id).healthy)
      note(schedule_.state(id, name_));
  Sample sample;
  encode_metrics_into(sample);
  encode_states_into(sample);
  if (!sample.metrics.empty() || !sample.inventory.empty()) done_(std::move(sample));
}

void HostSampler::encode_metrics_into(Sample& sample) {
  for (const auto run : split_for_payload(resource_, std::span<const Measurement>(measured_))) {
    auto payload = encode_metrics(resource_, run);
    if (payload)
      sample.metrics.push_back(std::move(*payload));
    else
      log_.error("{} measurements are lost: {}", run.size(), payload.error().message);
  }
  measured_.clear();
}

void HostSampler::encode_states_into(Sample& sample) {
  std::vector<EntityState> states;
  for (Stated& stated : stated_) {
    if (stated.at && core_.now() - *stated.at < kStatedEvery) continue;
    stated.at = core_.now();
    states.push_back(stated.state);
  }
  for (const auto run : split_for_payload(resource_, std::span<const EntityState>(states))) {
    auto payload = encode_entity_states(resource_, run, core_.clock().wall());
    if (payload)
      sample.inventory.push_back(std::move(*payload));
    else
      log_.error("{} states cannot be sent: {}", run.size(), payload.error().message);
  }
}

std::shared_ptr<Probe> HostSampler::probe(CollectorId id) {
  auto& probe = probes_[index_of(id)];
  if (!probe) probe = std::make_shared<Probe>(id, source_, observer_);
  return probe;
}

std::vector<Measurement> HostSampler::own_health() {
  const WallTime now = core_.clock().wall();
  Collected own = self_.collect(now);
  self_problems_ = std::move(own.problems);
  const std::string prefix = "postern." + observer_.role + ".collector.";
  for (const CollectorId id : all_collectors()) {
    if (!schedule_.is_on(id)) continue;
    const Schedule::Standing& standing = schedule_.standing(id);
    Measurement one;
    one.attributes = {{"postern.collector", std::string(name_of(id))}};
    one.time = now;
    one.name = prefix + "duration";
    one.unit = "s";
    one.description = "What the last call of a collector took.";
    one.value = std::chrono::duration<double>(standing.took).count();
    own.measurements.push_back(one);
    one.name = prefix + "failures";
    one.unit = "{call}";
    one.description = "Calls of a collector that failed or did not come back in time.";
    one.kind = MeasurementKind::monotonic_sum;
    one.start = started_;
    one.value = to_integer(standing.failures);
    own.measurements.push_back(std::move(one));
  }
  return std::move(own.measurements);
}

std::unique_ptr<Sampler> HostSamplers::start(Loop& core, const Log& log, const Self& self,
                                             const Sampling& sampling,
                                             Sampler::OwnHealth own_health, Sampler::Done done) {
  return std::make_unique<HostSampler>(core, log, self, sampling, std::make_shared<SystemSource>(),
                                       std::move(own_health), std::move(done), workers_);
}

}  // namespace postern::node
