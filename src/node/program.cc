#include "node/program.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <csignal>
#include <optional>

#include "node/host_events.h"
#include "node/host_sampler.h"
#include "node/service_manager.h"

namespace postern::node {
namespace {

/// For the last frames: children are told, the parent sees a clean end.
constexpr Duration kGoodbyeTime = std::chrono::milliseconds(300);
constexpr Duration kStatusInterval = std::chrono::seconds(5);

/// Calls `task` on the loop now and then again and again, as long as this lives.
class Repeated {
 public:
  Repeated(Loop& loop, Duration interval, std::function<void()> task)
      : loop_(loop), interval_(interval), task_(std::move(task)) {
    run();
  }

 private:
  void run() {
    task_();
    timer_ = loop_.after(interval_, [this] { run(); });
  }

  Loop& loop_;
  const Duration interval_;
  const std::function<void()> task_;
  Loop::Timer timer_;
};

}  // namespace

int run_program(Level level, std::size_t threads,
                const std::function<Result<Running>(Surroundings)>& open) {
  ::umask(027);
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
  const Log log(level);
  const SystemClock clock;
  SystemRandom random;
  PosixDisk disk;
  Loop core("core", clock);
  ServiceManager manager(environment_variable);
  Running running;
  bool stopping = false;
  Loop::Timer goodbye;
  const auto stop = [&] {
    if (stopping) return core.stop();  // asked twice: at once
    stopping = true;
    log.info("stopping");
    manager.stopping();
    if (running.stop) running.stop("the program is stopped");
    goodbye = core.after(kGoodbyeTime, [&core] { core.stop(); });
  };
  core.on_signal(SIGTERM, stop);
  core.on_signal(SIGINT, stop);
  core.on_signal(SIGHUP, [&] {
    if (!running.reload || stopping) return;
    manager.reloading();
    running.reload();
    manager.ready();
  });

  Loops loops(core, threads, clock);
  SocketNetwork network(loops, log);
  ThreadWorkers workers;
  HostSamplers samplers(workers);
  HostEventFeeds events(disk, workers);
  Surroundings around{loops, log, clock, random, disk, network, workers, samplers};
  around.events = &events;
  auto opened = open(around);
  if (!opened) {
    log.error("{}", opened.error().message);
    return 1;
  }
  running = std::move(*opened);
  std::optional<Repeated> alive, told;
  core.post([&] {  // only a loop that works may say so
    manager.ready();
    if (manager.alive_interval())
      alive.emplace(core, *manager.alive_interval(), [&] { manager.alive(); });
    if (manager.listens() && running.status)
      told.emplace(core, kStatusInterval, [&] { manager.status(running.status()); });
  });
  core.run();
  told.reset();
  alive.reset();
  running = {};
  log.info("stopped");
  return 0;
}

}  // namespace postern::node
