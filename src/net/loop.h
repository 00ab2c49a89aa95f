#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace postern {

inline constexpr std::size_t kScratchBytes = 64u << 10;

using Task = std::move_only_function<void()>;

/// One thread's event loop: descriptors (epoll), timers (CLOCK_BOOTTIME, rule C7), posted tasks.
///
/// Products take all their decisions on one loop, the core; connections live on the loops of Loops.
/// It is written straight on epoll because connections change loops (rule C2), timers count while
/// the machine sleeps, and an idle connection must cost no more than its descriptor's table entry.
/// Everything but post(), stop() and here() is for the loop's own thread, or for any one thread
/// while run() is not running. Constructing one makes the process ignore SIGPIPE; its descriptors
/// are made when it first runs or watches.
class Loop {
 public:
  /// Gets told about a descriptor. Called on the loop's thread.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    virtual void on_ready(bool readable, bool writable) = 0;  // both after an error or hang-up
  };

  /// Cancels its timer when it ends. May outlive the loop; used on the loop's thread only.
  class Timer {
   public:
    Timer() = default;
    Timer(Timer&& other) noexcept = default;
    Timer& operator=(Timer&& other) noexcept;
    ~Timer() { cancel(); }
    void cancel();
    bool running() const;  // armed, and has not fired

   private:
    friend class Loop;
    struct Table;
    std::weak_ptr<Table> table_;  // weak: the loop owns its timers
    TimePoint due_{};
    std::uint64_t id_ = 0;
  };

  Loop(std::string name, const Clock& clock);
  ~Loop();  // not while run() is running; drops what is watched, armed or posted
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Works until stop(). What was posted before stop() was called has been run when it returns.
  /// May be called again.
  void run();
  void stop();  // any thread

  /// For a driver with a clock of its own, in place of run(): runs what was posted, in the order of
  /// posting, and the timers that are due by clock(), by due time and then in the order of arming,
  /// until neither is left. Looks at no descriptor and never waits; stop() means nothing to it. A
  /// clock that stands still and a timer that always arms itself for now keep it for ever. Returns
  /// when the next timer is due; nothing when none is armed.
  std::optional<TimePoint> run_ready();

  /// Runs `task` on the loop's thread, in the order of posting, never inside post(). Any thread.
  /// Unbounded by itself: whoever posts for a peer has a bound of its own.
  void post(Task task);
  /// Runs `task` once after `delay` (at once, but not inside this call, when it is not positive).
  [[nodiscard]] Timer after(Duration delay, Task task);
  /// Calls `handler` on each arrival. The signal is blocked in the calling thread and in those it
  /// starts later: call it before other threads are started.
  void on_signal(int number, std::function<void()> handler);

  bool here() const;  // on the thread that is in run()
  const Clock& clock() const { return clock_; }
  TimePoint now() const { return clock_.now(); }
  const std::string& name() const { return name_; }

  // For net: descriptors. The loop holds a share of the watcher until unwatch(); a descriptor that
  // is watched for nothing costs no wake-ups, not even for a hang-up.
  void watch(int descriptor, bool readable, bool writable, std::shared_ptr<Watcher> watcher);
  void rewatch(int descriptor, bool readable, bool writable);
  void unwatch(int descriptor);
  /// For one call's reading, on this loop's thread: so idle connections hold no buffer.
  std::span<std::byte> scratch();  // kScratchBytes

 private:
  struct Parts;
  const std::string name_;
  const Clock& clock_;
  std::unique_ptr<Parts> parts_;
};

/// The loops that connections live on, each with a thread of its own. With 0 threads the core loop
/// is the only one (an agent needs no more). Built after the core loop and ended before it; ports,
/// dialers and channels' users end before this does.
class Loops {
 public:
  Loops(Loop& core, std::size_t threads, const Clock& clock);
  ~Loops();  // stops and joins; open connections are cut
  Loops(const Loops&) = delete;
  Loops& operator=(const Loops&) = delete;

  Loop& core() const { return core_; }
  std::size_t size() const { return loops_.empty() ? 1 : loops_.size(); }
  Loop& at(std::size_t index) const { return loops_.empty() ? core_ : *loops_[index]; }
  /// For a new connection.
  Loop& next() { return at(turn_.fetch_add(1) % size()); }  // round robin; any thread
  std::uint64_t new_id() { return ++last_id_; }             // of a connection; any thread

 private:
  Loop& core_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::vector<std::jthread> threads_;
  std::atomic<std::size_t> turn_ = 0;
  std::atomic<std::uint64_t> last_id_ = 0;
};

}  // namespace postern
