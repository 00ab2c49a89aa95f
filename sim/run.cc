#include "sim/run.h"

#include "sim/fake_key.h"
#include "sim/group.h"

namespace postern::sim {
namespace {

constexpr Duration kQuietTimeMax = std::chrono::minutes(40);
constexpr Duration kLookEvery = std::chrono::seconds(20);

class Run {
 public:
  Run(std::uint64_t seed, Certificates& certificates, Trace& trace, Coverage& coverage)
      : random_(seed),
        trace_(trace),
        wires_(events_, random_, trace, coverage),
        oracle_(trace, coverage),
        samples_(oracle_, random_),
        surface_{events_, random_, wires_, oracle_, samples_, trace, coverage},
        group_(surface_, certificates, draw_shape(random_)) {}

  Outcome outcome() {
    const TimePoint start = events_.now();
    for (std::size_t i = 0; i < group_.size(); ++i) {
      Machine& machine = group_.machine(i);
      events_.after(std::chrono::milliseconds(random_.below(3000)), [&machine] { machine.start(); });
    }
    const Duration busy = std::chrono::seconds(60 + random_.below(240));
    until(start + busy);
    samples_.stop();
    if (!oracle_.broken()) quiet();
    if (!oracle_.broken()) check();
    Outcome outcome;
    outcome.broken = oracle_.broken();
    outcome.digest = trace_.digest();
    outcome.events = events_.done();
    outcome.promised = oracle_.promised();
    outcome.virtual_time = events_.now() - start;
    return outcome;
  }

 private:
  void until(TimePoint end) {
    while (!oracle_.broken() && events_.step(end)) {
    }
  }

  /// Everything works again: what was promised has to arrive, in bounded time.
  void quiet() {
    const TimePoint end = events_.now() + kQuietTimeMax;
    while (events_.now() < end && !oracle_.broken()) {
      until(events_.now() + kLookEvery);
      if (oracle_.all_delivered()) return;
    }
  }

  void check() {
    oracle_.check_delivery();
    for (std::size_t i = 0; i < group_.size() && !oracle_.broken(); ++i)
      if (!group_.is_server(i))
        oracle_.check_current(group_.machine(i).node(), group_.current(group_.machine(i).node()));
  }

  Events events_;
  SeededRandom random_;
  Trace& trace_;
  Wires wires_;
  Oracle oracle_;
  Samples samples_;
  Surface surface_;
  Group group_;
};

}  // namespace

Outcome run(std::uint64_t seed, Certificates& certificates, Trace& trace, Coverage& coverage) {
  seed_keys(seed ^ 0x6b657973);
  Run run(seed, certificates, trace, coverage);
  return run.outcome();
}

}  // namespace postern::sim
