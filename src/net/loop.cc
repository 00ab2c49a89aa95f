#include "net/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/invariant.h"

namespace postern {
namespace {

constexpr int kEventsPerTurn = 256;

}  // namespace

/// Armed timers by due time; the number tells equals apart and keeps their order.
struct Loop::Timer::Table {
  std::map<std::pair<TimePoint, std::uint64_t>, Task> armed;
  std::uint64_t last_id = 0;
};

void Loop::Timer::cancel() {
  if (auto table = table_.lock()) {
    // What the task holds may arm or cancel timers when it ends, so it ends after the erasure.
    auto ended = table->armed.extract({due_, id_});
    table_.reset();
  }
}

bool Loop::Timer::running() const {
  auto table = table_.lock();
  return table && table->armed.contains({due_, id_});
}

Loop::Timer& Loop::Timer::operator=(Timer&& other) noexcept {
  if (this == &other) return *this;
  cancel();
  table_ = std::move(other.table_);
  due_ = other.due_;
  id_ = other.id_;
  return *this;
}

struct Loop::Parts {
  struct Watched {
    std::uint32_t generation = 0;  // an event of a descriptor's former life is not for the new one
    std::uint32_t events = 0;      // 0: not in the kernel's set
    std::shared_ptr<Watcher> watcher;
  };

  int epoll = -1, wake = -1, alarm = -1;  // made when first needed: run_ready() needs none
  std::unordered_map<int, Watched> watched;
  std::uint32_t generation = 0;
  std::shared_ptr<Timer::Table> timers = std::make_shared<Timer::Table>();
  TimePoint alarm_at = TimePoint::max();
  std::vector<int> signal_descriptors;
  std::vector<std::byte> scratch;

  std::mutex mutex;  // guards the two below and the making of `wake`: where threads meet
  std::vector<Task> posted;
  bool stopping = false;
  std::atomic<std::thread::id> thread{};

  /// Whoever posts either sees `wake` or has posted before the loop looks, so no wake-up is lost.
  void open() {
    if (epoll >= 0) return;
    const std::lock_guard lock(mutex);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    alarm = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    invariant(epoll >= 0 && wake >= 0 && alarm >= 0, "descriptors for a loop");
    add(wake);
    add(alarm);
  }

  void add(int descriptor) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<std::uint32_t>(descriptor);
    invariant(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0,
              "epoll takes our own descriptors");
  }

  void apply(int descriptor, Watched& entry, std::uint32_t events) {
    if (events == entry.events) return;
    epoll_event event{};
    event.events = events;
    event.data.u64 =
        (std::uint64_t{entry.generation} << 32) | static_cast<std::uint32_t>(descriptor);
    const int how = events == 0 ? EPOLL_CTL_DEL : entry.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    invariant(epoll_ctl(epoll, how, descriptor, &event) == 0, "epoll takes an open descriptor");
    entry.events = events;
  }

  static void ring(int bell) {
    if (bell < 0) return;  // it has never run, and looks before it first sleeps
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written =
        ::write(bell, &one, sizeof one);  // full: it rings already
  }

  void arm_alarm(TimePoint now) {
    const TimePoint next =
        timers->armed.empty() ? TimePoint::max() : timers->armed.begin()->first.first;
    if (next == alarm_at) return;
    alarm_at = next;
    itimerspec spec{};  // zero: disarmed
    if (next != TimePoint::max()) {
      const auto wait = std::max<Duration>(next - now, Duration(1)).count();
      spec.it_value.tv_sec = wait / 1'000'000'000;
      spec.it_value.tv_nsec = wait % 1'000'000'000;
    }
    timerfd_settime(alarm, 0, &spec, nullptr);
  }

  void run_due(TimePoint now) {
    // Only those that were due when we began: a timer that arms itself for now must not hold us.
    const std::uint64_t last = timers->last_id;
    auto& armed = timers->armed;
    for (auto first = armed.begin(); first != armed.end() && first->first.first <= now;) {
      if (first->first.second > last) {
        ++first;
        continue;
      }
      Task task = std::move(armed.extract(first).mapped());
      task();
      first = armed.begin();
    }
  }

  /// Returns whether to go on.
  bool run_posted() {
    std::vector<Task> tasks;
    bool stop = false;
    {
      const std::lock_guard lock(mutex);
      tasks.swap(posted);
      stop = stopping;
    }
    for (Task& task : tasks) {
      task();
      task = nullptr;  // what it held ends in its turn, not after its successors
    }
    return !stop;
  }

  bool drop_posted() {
    std::vector<Task> tasks;  // they end after the lock does
    {
      const std::lock_guard lock(mutex);
      tasks.swap(posted);
    }
    return !tasks.empty();
  }

  bool has_tasks() {
    const std::lock_guard lock(mutex);
    return !posted.empty();
  }

  bool has_posted() {
    const std::lock_guard lock(mutex);
    return !posted.empty() || stopping;
  }

  void dispatch(const epoll_event& event) {
    const int descriptor = static_cast<int>(event.data.u64 & 0xffffffffu);
    if (descriptor == wake || descriptor == alarm) {
      std::uint64_t count;
      [[maybe_unused]] const ssize_t read = ::read(descriptor, &count, sizeof count);
      if (descriptor == alarm) alarm_at = TimePoint::max();
      return;
    }
    const auto found = watched.find(descriptor);
    if (found == watched.end() || found->second.generation != event.data.u64 >> 32) return;
    const std::shared_ptr<Watcher> watcher = found->second.watcher;  // it may unwatch itself
    const bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
    watcher->on_ready(broken || (event.events & EPOLLIN) != 0,
                      broken || (event.events & EPOLLOUT) != 0);
  }
};

Loop::Loop(std::string name, const Clock& clock)
    : name_(std::move(name)), clock_(clock), parts_(std::make_unique<Parts>()) {
  // A peer that is gone is an error of write(), never the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
}

Loop::~Loop() {
  // Whatever ends here may post, arm and cancel once more: take things out before they end.
  while (parts_->drop_posted()) {
  }
  while (!parts_->watched.empty()) {
    auto ended = parts_->watched.extract(parts_->watched.begin());
  }
  parts_->timers.reset();
  while (parts_->drop_posted()) {
  }
  for (int descriptor : parts_->signal_descriptors) ::close(descriptor);
  for (int descriptor : {parts_->alarm, parts_->wake, parts_->epoll})
    if (descriptor >= 0) ::close(descriptor);
}

void Loop::run() {
  parts_->open();
  parts_->thread = std::this_thread::get_id();
  std::array<epoll_event, kEventsPerTurn> events;
  for (bool go_on = true; go_on;) {
    parts_->arm_alarm(now());
    const int wait_ms = parts_->has_posted() ? 0 : -1;
    const int count = epoll_wait(parts_->epoll, events.data(), kEventsPerTurn, wait_ms);
    invariant(count >= 0 || errno == EINTR, "epoll_wait works on our own descriptor");
    for (int i = 0; i < count; ++i) parts_->dispatch(events[static_cast<std::size_t>(i)]);
    parts_->run_due(now());
    go_on = parts_->run_posted();
  }
  const std::lock_guard lock(parts_->mutex);
  parts_->stopping = false;
  parts_->thread = std::thread::id();
}

std::optional<TimePoint> Loop::run_ready() {
  struct Here {  // also when a task throws
    explicit Here(Parts& loop) : parts(loop) { parts.thread = std::this_thread::get_id(); }
    ~Here() { parts.thread = std::thread::id(); }
    Parts& parts;
  };
  invariant(!here(), "a loop's tasks do not run the loop");
  const Here mark(*parts_);
  const auto& armed = parts_->timers->armed;
  do {
    parts_->run_due(now());
    parts_->run_posted();
  } while (parts_->has_tasks() || (!armed.empty() && armed.begin()->first.first <= now()));
  if (armed.empty()) return std::nullopt;
  return armed.begin()->first.first;
}

void Loop::stop() {
  int bell = -1;
  {
    const std::lock_guard lock(parts_->mutex);
    parts_->stopping = true;
    bell = parts_->wake;
  }
  Parts::ring(bell);
}

void Loop::post(Task task) {
  bool first = false;
  int bell = -1;
  {
    const std::lock_guard lock(parts_->mutex);
    first = parts_->posted.empty();
    parts_->posted.push_back(std::move(task));
    bell = parts_->wake;
  }
  // Our own thread looks before it sleeps; only the first of others has to wake it.
  if (first && !here()) Parts::ring(bell);
}

Loop::Timer Loop::after(Duration delay, Task task) {
  Timer timer;
  timer.table_ = parts_->timers;
  timer.due_ = now() + std::max(delay, Duration(0));
  timer.id_ = ++parts_->timers->last_id;
  parts_->timers->armed.emplace(std::pair(timer.due_, timer.id_), std::move(task));
  return timer;
}

bool Loop::here() const { return parts_->thread.load() == std::this_thread::get_id(); }

void Loop::watch(int descriptor, bool readable, bool writable, std::shared_ptr<Watcher> watcher) {
  parts_->open();
  auto [at, inserted] = parts_->watched.try_emplace(descriptor);
  invariant(inserted, "a descriptor is watched once");
  at->second.generation = ++parts_->generation;
  at->second.watcher = std::move(watcher);
  rewatch(descriptor, readable, writable);
}

void Loop::rewatch(int descriptor, bool readable, bool writable) {
  const auto found = parts_->watched.find(descriptor);
  invariant(found != parts_->watched.end(), "only what is watched is rewatched");
  parts_->apply(descriptor, found->second, (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u));
}

void Loop::unwatch(int descriptor) {
  const auto found = parts_->watched.find(descriptor);
  if (found == parts_->watched.end()) return;
  parts_->apply(descriptor, found->second, 0);
  auto ended = parts_->watched.extract(found);  // its end may call back: the table is whole by then
}

std::span<std::byte> Loop::scratch() {
  parts_->scratch.resize(kScratchBytes);
  return parts_->scratch;
}

namespace {

class SignalWatcher final : public Loop::Watcher {
 public:
  SignalWatcher(int descriptor, std::function<void()> handler)
      : descriptor_(descriptor), handler_(std::move(handler)) {}
  void on_ready(bool, bool) override {
    signalfd_siginfo info;
    while (::read(descriptor_, &info, sizeof info) == sizeof info) handler_();
  }

 private:
  const int descriptor_;
  const std::function<void()> handler_;
};

}  // namespace

void Loop::on_signal(int number, std::function<void()> handler) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const int descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  invariant(descriptor >= 0, "a descriptor for a signal");
  parts_->signal_descriptors.push_back(descriptor);
  watch(descriptor, true, false, std::make_shared<SignalWatcher>(descriptor, std::move(handler)));
}

Loops::Loops(Loop& core, std::size_t threads, const Clock& clock) : core_(core) {
  for (std::size_t i = 0; i < threads; ++i)
    loops_.push_back(std::make_unique<Loop>("postern-io-" + std::to_string(i), clock));
  for (auto& loop : loops_) {
    threads_.emplace_back([&own = *loop] {
      prctl(PR_SET_NAME, own.name().substr(0, 15).c_str());
      own.run();
    });
  }
}

Loops::~Loops() {
  for (auto& loop : loops_) loop->stop();
  threads_.clear();  // joins them all before any loop ends: loops post to each other
}

}  // namespace postern
