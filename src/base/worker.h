#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace postern {

/// One named thread that runs tasks in order: for calls that may block (files, databases, probes).
/// post() is thread-safe and never blocks; the caller bounds what it posts. The destructor runs
/// what was posted before it, then joins.
class Worker {
 public:
  explicit Worker(const std::string& name);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void post(std::move_only_function<void()> task);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::move_only_function<void()>> tasks_;
  bool ending_ = false;
  std::thread thread_;  // last: starts when everything above is there
};

}  // namespace postern
