#pragma once

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/worker.h"

namespace postern {

/// Workers that share a few threads: each keeps the order of its own tasks, and waits for those of
/// others. For many nodes in one process, whose threads would else be three times as many.
class SharedWorkers final : public Workers {
 public:
  explicit SharedWorkers(std::size_t threads) {
    for (std::size_t number = 0; number < threads; ++number)
      threads_.push_back(std::make_unique<ThreadWorker>("files " + std::to_string(number)));
  }

  std::unique_ptr<Worker> start(const std::string&) override {
    return std::make_unique<Share>(*threads_[turn_++ % threads_.size()]);
  }

 private:
  class Share final : public Worker {
   public:
    explicit Share(Worker& thread) : thread_(thread) {}
    ~Share() override {
      std::promise<void> reached;
      thread_.post([&reached] { reached.set_value(); });
      reached.get_future().wait();
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    void post(std::move_only_function<void()> task) override { thread_.post(std::move(task)); }

   private:
    Worker& thread_;
  };

  std::vector<std::unique_ptr<Worker>> threads_;
  std::size_t turn_ = 0;
};

}  // namespace postern
