#include "node/program.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
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
// Of opening, while the disk takes nothing:
constexpr Duration kRetryFirst = std::chrono::seconds(1);
constexpr Duration kRetryMax = std::chrono::seconds(30);
constexpr Duration kRetrySaidEvery = std::chrono::minutes(1);

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

bool disk_ails(Disk& disk, const std::filesystem::path& folder) {
  const auto of_the_disk = [](const Result<>& done) {
    return !done &&
           (done.error().code == Errc::unavailable || done.error().code == Errc::exhausted);
  };
  // Who may not write here has another trouble than the disk.
  if (::access(folder.c_str(), W_OK) != 0 && errno == EACCES) return false;
  const auto probe = folder / "disk-probe";
  const auto made = disk.make_directories(folder);
  if (of_the_disk(made)) return true;
  if (!made) return false;
  const auto written = disk.write_file(probe, as_bytes("?"), 0600);
  (void)disk.remove(probe);
  return of_the_disk(written);
}

int run_program(Level level, std::size_t threads, const std::filesystem::path& state,
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
  around.watch_certificate = true;
  int status = 0;
  Loop::Timer retry;
  Duration wait = kRetryFirst, since_said = kRetrySaidEvery;
  const std::function<void()> begin = [&] {
    if (stopping) return;
    auto opened = open(around);
    if (opened) {
      running = std::move(*opened);
      return;
    }
    if (!disk_ails(disk, state)) {
      log.error("{}", opened.error().message);
      status = 1;
      core.stop();
      return;
    }
    if (since_said >= kRetrySaidEvery) {
      since_said = Duration::zero();
      log.error("the disk under {} takes nothing, trying again until it does: {}", state.string(),
                opened.error().message);
      manager.status("the disk takes nothing: " + opened.error().message);
    }
    since_said += wait;
    retry = core.after(wait, [&] { begin(); });
    wait = std::min(2 * wait, kRetryMax);
  };
  begin();
  if (status != 0) return status;
  std::optional<Repeated> alive, told;
  core.post([&] {  // only a loop that works may say so
    manager.ready();
    if (manager.alive_interval())
      alive.emplace(core, *manager.alive_interval(), [&] { manager.alive(); });
    if (manager.listens())
      told.emplace(core, kStatusInterval, [&] {
        if (running.status) manager.status(running.status());
      });
  });
  core.run();
  told.reset();
  alive.reset();
  running = {};
  log.info("stopped");
  return status;
}

}  // namespace postern::node
