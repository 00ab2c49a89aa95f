#pragma once

#include <array>
#include <optional>
#include <set>

#include "base/worker.h"
#include "node/sampler.h"
#include "probe/probe.h"
#include "probe/schedule.h"

namespace postern::node {

/// Observes this machine by its collectors. Those that cannot block share one worker; each other
/// one has its own, started when it is first asked, so that one that hangs (a file system whose
/// server is gone) holds up nobody. What is due together goes into one sample; what takes longer
/// than kRoundMax is handed over by itself when it comes.
class HostSampler final : public Sampler {
 public:
  static constexpr Duration kRoundMax = std::chrono::milliseconds(500);
  /// At its end it waits so long for what is under way; a worker that hangs then is left behind.
  static constexpr std::chrono::milliseconds kEndPatience{250};

  HostSampler(Loop& core, const Log& log, const Self& self, const Sampling& sampling,
              std::shared_ptr<const Source> source, OwnHealth own_health, Done done,
              Workers& workers);
  ~HostSampler() override;
  HostSampler(const HostSampler&) = delete;
  HostSampler& operator=(const HostSampler&) = delete;

  void set(const Sampling& sampling) override;
  void state_all() override;
  std::vector<Measurement> own_health() override;

 private:
  class Way;  // from the workers to here
  struct Answer {
    CollectorId id = CollectorId::cpu;
    Collected collected;
    Duration took{};
  };
  struct Stated {
    EntityState state;
    std::optional<TimePoint> at;  // nothing: not stated yet
  };

  void wake();
  void arm();
  void ask(std::size_t lane, std::vector<CollectorId> ids);
  void take(std::uint64_t round, std::vector<Answer> answers);
  void measure_self();
  void say(CollectorId id);
  void hand_over();
  void note(EntityState state);
  void encode_metrics_into(Sample& sample);
  void encode_states_into(Sample& sample);
  std::shared_ptr<Probe> probe(CollectorId id);

  Loop& core_;
  const Log& log_;
  const std::string name_;
  const Observer observer_;
  const Resource resource_;
  const OwnHealth own_health_;
  const Done done_;
  const std::shared_ptr<const Source> source_;
  Workers& workers_;
  const WallTime started_;
  Schedule schedule_;
  Probe self_;
  std::vector<Error> self_problems_;
  Loop::Timer timer_, round_timer_;

  std::uint64_t round_ = 0;
  std::size_t waiting_ = 0;  // lanes of this round that have not answered
  std::vector<Measurement> measured_;
  std::vector<Stated> stated_;

  std::array<std::shared_ptr<Probe>, kCollectorCount> probes_;
  std::shared_ptr<Way> way_;
  /// One a collector that may block; that of `cpu` is shared by all the others.
  std::array<std::unique_ptr<Worker>, kCollectorCount> lanes_;
};

class HostSamplers final : public Samplers {
 public:
  explicit HostSamplers(Workers& workers) : workers_(workers) {}
  std::unique_ptr<Sampler> start(Loop& core, const Log& log, const Self& self,
                                 const Sampling& sampling, Sampler::OwnHealth own_health,
                                 Sampler::Done done) override;

 private:
  Workers& workers_;
};

}  // namespace postern::node
