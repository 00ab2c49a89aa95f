#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace postern {

/// Runs tasks in the order of posting, one at a time, away from its owner: for calls that may block
/// (files, databases, probes). The destructor returns when everything that was posted has run;
/// tasks may still post to others meanwhile, not to this one.
///
/// An interface, so that a simulation can run the tasks on a clock of its own.
class Worker {
 public:
  virtual ~Worker() = default;
  /// Never blocks and never runs `task` inside this call; any thread. The caller bounds what it
  /// posts.
  virtual void post(std::move_only_function<void()> task) = 0;
};

/// Where workers come from. Outlives them.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual std::unique_ptr<Worker> start(const std::string& name) = 0;
};

/// One named thread.
class ThreadWorker final : public Worker {
 public:
  explicit ThreadWorker(const std::string& name);
  ~ThreadWorker() override;
  ThreadWorker(const ThreadWorker&) = delete;
  ThreadWorker& operator=(const ThreadWorker&) = delete;

  void post(std::move_only_function<void()> task) override;

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::move_only_function<void()>> tasks_;
  bool ending_ = false;
  std::thread thread_;  // last: starts when everything above is there
};

class ThreadWorkers final : public Workers {
 public:
  std::unique_ptr<Worker> start(const std::string& name) override;
};

}  // namespace postern
