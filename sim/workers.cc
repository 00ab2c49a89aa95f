#include "sim/workers.h"

namespace postern::sim {

class SimWorkers::OneWorker final : public Worker {
 public:
  explicit OneWorker(SimWorkers& all) : all_(all), life_(all.host_.life()) {}
  ~OneWorker() override {
    tasks_->ended = true;
    if (all_.runner_.killed()) return;
    while (!tasks_->waiting.empty()) {
      auto task = std::move(tasks_->waiting.front());
      tasks_->waiting.pop_front();
      task();
    }
  }
  void post(std::move_only_function<void()> task) override {
    tasks_->waiting.push_back(std::move(task));
    if (!tasks_->under_way) next();
  }

 private:
  struct Tasks {
    std::deque<std::move_only_function<void()>> waiting;
    bool under_way = false;
    bool ended = false;
  };

  void next() {
    tasks_->under_way = true;
    all_.events_.after(all_.runner_.time_of_task(), [this, tasks = tasks_] {
      if (tasks->ended) return;
      all_.runner_.run_task(life_, [this, tasks] {
        if (tasks->ended || tasks->waiting.empty()) return;
        auto task = std::move(tasks->waiting.front());
        tasks->waiting.pop_front();
        task();
        tasks->under_way = false;
        if (!tasks->ended && !tasks->waiting.empty()) next();
      });
    });
  }

  SimWorkers& all_;
  const std::uint64_t life_;
  std::shared_ptr<Tasks> tasks_ = std::make_shared<Tasks>();  // shared with the event under way
};

std::unique_ptr<Worker> SimWorkers::start(const std::string&) {
  return std::make_unique<OneWorker>(*this);
}

}  // namespace postern::sim
