#include "node/program.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <csignal>

#include "node/host_events.h"
#include "node/host_sampler.h"

namespace postern::node {
namespace {

/// For the last frames: children are told, the parent sees a clean end.
constexpr Duration kGoodbyeTime = std::chrono::milliseconds(300);

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
  Running running;
  bool stopping = false;
  Loop::Timer goodbye;
  const auto stop = [&] {
    if (stopping) return core.stop();  // asked twice: at once
    stopping = true;
    log.info("stopping");
    if (running.stop) running.stop("the program is stopped");
    goodbye = core.after(kGoodbyeTime, [&core] { core.stop(); });
  };
  core.on_signal(SIGTERM, stop);
  core.on_signal(SIGINT, stop);
  core.on_signal(SIGHUP, [&] {
    if (running.reload && !stopping) running.reload();
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
  core.run();
  running = {};
  log.info("stopped");
  return 0;
}

}  // namespace postern::node
