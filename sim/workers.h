#pragma once

#include <deque>

#include "base/worker.h"
#include "sim/host.h"

namespace postern::sim {

/// Runs the tasks of one machine's workers as events: one at a time a worker, each a moment after
/// the one before, because a disk takes its time. What is left when the process is killed is never
/// run; when it ends by itself, all of it is.
class SimWorkers final : public Workers {
 public:
  /// What a task is run by: the machine, which looks afterwards whether it has been killed in it.
  class Runner {
   public:
    virtual ~Runner() = default;
    virtual Duration time_of_task() = 0;
    virtual void run_task(std::uint64_t life, Events::What task) = 0;
    virtual bool killed() const = 0;
  };
  SimWorkers(Events& events, Host& host, Runner& runner)
      : events_(events), host_(host), runner_(runner) {}
  std::unique_ptr<Worker> start(const std::string& name) override;

 private:
  class OneWorker;
  Events& events_;
  Host& host_;
  Runner& runner_;
};

}  // namespace postern::sim
