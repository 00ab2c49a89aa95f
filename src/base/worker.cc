#include "base/worker.h"

#include <pthread.h>

#include <utility>

namespace postern {

ThreadWorker::ThreadWorker(const std::string& name) : thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

ThreadWorker::~ThreadWorker() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void ThreadWorker::post(std::move_only_function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void ThreadWorker::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it owned ends outside of the lock
    lock.lock();
  }
}

std::unique_ptr<Worker> ThreadWorkers::start(const std::string& name) {
  return std::make_unique<ThreadWorker>(name);
}

}  // namespace postern
