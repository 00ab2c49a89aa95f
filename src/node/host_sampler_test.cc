#include "node/host_sampler.h"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <map>

#include "node/test_group.h"

namespace postern::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;

/// Workers that work when they are told to, and hang by name.
class NamedWorkers final : public Workers {
 public:
  std::unique_ptr<Worker> start(const std::string& name) override {
    started.push_back(name);
    return std::make_unique<One>(tasks_[name]);
  }
  /// Everything that does not hang.
  bool run() {
    bool any = false;
    for (auto& [name, tasks] : tasks_) {
      while (!hanging.contains(name) && !tasks.empty()) {
        auto task = std::move(tasks.front());
        tasks.pop_front();
        task();
        any = true;
      }
    }
    return any;
  }

  std::vector<std::string> started;
  std::set<std::string> hanging;

 private:
  using Tasks = std::deque<std::move_only_function<void()>>;
  class One final : public Worker {
   public:
    explicit One(Tasks& tasks) : tasks_(tasks) {}
    void post(std::move_only_function<void()> task) override { tasks_.push_back(std::move(task)); }

   private:
    Tasks& tasks_;
  };
  std::map<std::string, Tasks> tasks_;
};

class HostSamplerTest : public testing::Test {
 protected:
  HostSamplerTest() {
    for (const CollectorId id : all_collectors()) sampling_.collectors[index_of(id)].on = false;
    on(CollectorId::uptime);
    on(CollectorId::filesystems);
    source_->files["/proc/uptime"] = "3600.00 1.00\n";
    source_->files["/proc/mounts"] = "/dev/sda1 / ext4 rw 0 0\n";
    source_->spaces["/"] = {1000, 400, 300};
  }
  void TearDown() override {
    // Nothing may hang at its end.
    workers_.hanging.clear();
    settle();
  }
  void on(CollectorId id) { sampling_.collectors[index_of(id)].on = true; }
  void start() {
    sampler_ = std::make_unique<HostSampler>(
        loop_, lines_.log, node_.self, sampling_, source_,
        [this] { return sampler_->own_health(); },
        [this](Sampler::Sample sample) { take(std::move(sample)); }, workers_);
    settle();
  }
  void take(Sampler::Sample sample) {
    ++samples_;
    for (const Payload& payload : sample.metrics) {
      const auto decoded = decode_metrics(payload.compressed, payload.raw_bytes);
      ASSERT_TRUE(decoded) << decoded.error().message;
      for (const Measurement& one : decoded->measurements) ++seen_[one.name];
    }
    for (const Payload& payload : sample.inventory) {
      const auto decoded = decode_entity_states(payload.compressed, payload.raw_bytes);
      ASSERT_TRUE(decoded) << decoded.error().message;
      for (const EntityState& one : decoded->states) stated_.push_back(one);
    }
  }
  void settle() {
    do loop_.run_ready();
    while (workers_.run());
  }
  void pass(Duration time) {
    const TimePoint end = clock_.now() + time;
    for (;;) {
      settle();
      const auto next = loop_.run_ready();
      if (!next || *next > end) break;
      clock_.advance(*next - clock_.now());
    }
    clock_.advance(end - clock_.now());
    settle();
  }
  /// What was said last of a collector; empty when nothing was.
  std::string state_of(CollectorId id) const {
    for (auto state = stated_.rbegin(); state != stated_.rend(); ++state)
      if (find_text(state->id, "postern.collector") == name_of(id))
        return find_text(state->attributes, "state").value_or("") + ": " +
               find_text(state->attributes, "reason").value_or("");
    return {};
  }

  TestGroup group_;
  TestNode node_ = group_.node(Role::agent, "a1.example.org");
  LogLines lines_;
  FakeClock clock_;
  Loop loop_{"core", clock_};
  const std::shared_ptr<FakeSource> source_ = std::make_shared<FakeSource>();
  Sampling sampling_{seconds(10), {}};
  NamedWorkers workers_;
  std::unique_ptr<HostSampler> sampler_;

  int samples_ = 0;
  std::map<std::string, int> seen_;  // measurements, by name
  std::vector<EntityState> stated_;
};

TEST_F(HostSamplerTest, WhatIsDueTogetherIsOneSample) {
  start();
  EXPECT_EQ(samples_, 1);
  EXPECT_EQ(seen_["system.uptime"], 1);
  EXPECT_EQ(seen_["system.filesystem.limit"], 1);
  pass(seconds(30));
  EXPECT_EQ(samples_, 4);
  EXPECT_EQ(seen_["system.uptime"], 4);
}

TEST_F(HostSamplerTest, ThreadsAreStartedForWhatIsOnOnly) {
  on(CollectorId::load);
  start();
  EXPECT_EQ(workers_.started, (std::vector<std::string>{"probe-filesystems", "probe"}));
}

TEST_F(HostSamplerTest, OneThatHangsHoldsUpNobodyAndSaysSo) {
  workers_.hanging.insert("probe-filesystems");
  start();
  pass(seconds(60));
  EXPECT_EQ(seen_["system.uptime"], 7);
  EXPECT_EQ(seen_["system.filesystem.limit"], 0);
  EXPECT_EQ(state_of(CollectorId::uptime), "healthy: ");
  EXPECT_EQ(state_of(CollectorId::filesystems),
            "warning: it has not answered within 5s and is not asked again before it does");
  EXPECT_EQ(lines_.count("collector filesystems: it has not answered"), 1u);

  workers_.hanging.clear();
  settle();
  EXPECT_EQ(seen_["system.filesystem.limit"], 1) << "it was asked once";
  EXPECT_EQ(state_of(CollectorId::filesystems), "healthy: ");
  EXPECT_EQ(lines_.count("collector filesystems is well again"), 1u);
  pass(seconds(10));
  EXPECT_EQ(seen_["system.filesystem.limit"], 2);
}

TEST_F(HostSamplerTest, TheCheapOnesHandOverWithoutWaitingForASlowOne) {
  workers_.hanging.insert("probe-filesystems");
  start();
  pass(HostSampler::kRoundMax);
  EXPECT_EQ(seen_["system.uptime"], 1);
  pass(seconds(1));
  workers_.hanging.clear();
  settle();
  EXPECT_EQ(seen_["system.filesystem.limit"], 1);
  EXPECT_EQ(lines_.count("hang"), 0u) << "slow is not hanging";
}

TEST_F(HostSamplerTest, AFailureIsAStateWithItsReasonUntilItIsOver) {
  start();
  source_->spaces.clear();
  pass(seconds(10));
  EXPECT_EQ(state_of(CollectorId::filesystems), "warning: /: no such file");
  const std::size_t before = stated_.size();
  pass(seconds(100));
  EXPECT_EQ(stated_.size(), before) << "said once";
  source_->spaces["/"] = {1000, 400, 300};
  pass(seconds(10));
  EXPECT_EQ(state_of(CollectorId::filesystems), "healthy: ");
}

TEST_F(HostSamplerTest, StatesAreSentOnChangeAndOnceAnHour) {
  on(CollectorId::inventory);
  start();
  const std::size_t all = stated_.size();
  EXPECT_EQ(all, kCollectorCount + 1) << "the host, and every collector, also those that are off";
  EXPECT_EQ(state_of(CollectorId::cpu), "healthy: switched off");
  pass(std::chrono::minutes(59));
  EXPECT_EQ(stated_.size(), all);
  pass(std::chrono::minutes(2));
  EXPECT_EQ(stated_.size(), 2 * all);
  sampler_->state_all();
  pass(seconds(10));
  EXPECT_EQ(stated_.size(), 3 * all);
  source_->files["/proc/meminfo"] = "MemTotal: 5 kB\n";
  pass(std::chrono::minutes(2));
  EXPECT_EQ(stated_.back().type, "postern.collector") << "its list of problems is shorter";
  EXPECT_EQ(stated_[stated_.size() - 2].type, "host");
}

TEST_F(HostSamplerTest, NewSettingsHoldWithoutARestart) {
  start();
  sampling_.collectors[index_of(CollectorId::filesystems)].on = false;
  sampling_.collectors[index_of(CollectorId::uptime)].interval = seconds(2);
  sampler_->set(sampling_);
  settle();
  EXPECT_EQ(state_of(CollectorId::filesystems), "healthy: switched off");
  pass(seconds(20));
  EXPECT_EQ(seen_["system.filesystem.limit"], 1);
  EXPECT_EQ(seen_["system.uptime"], 11);
}

TEST_F(HostSamplerTest, SaysWhatItTakesAndHowItsCollectorsDo) {
  on(CollectorId::self);
  source_->files["/proc/self/statm"] = "9 8 7\n";
  source_->files["/proc/self/stat"] = "1 (x) S 1 1 1 0 -1 0 0 0 0 0 5 5 0 0 20 0 3 0\n";
  source_->spaces.clear();
  start();
  EXPECT_EQ(seen_["postern.agent.memory.resident"], 1);
  pass(seconds(10));
  std::optional<std::int64_t> failures;
  for (const Measurement& one : sampler_->own_health())
    if (one.name == "postern.agent.collector.failures" &&
        one.attributes[0].value == AttributeValue("filesystems"))
      failures = std::get<std::int64_t>(one.value);
  EXPECT_EQ(failures, 2);
}

TEST_F(HostSamplerTest, NothingIsHandedOverAfterItsEnd) {
  workers_.hanging.insert("probe");
  sampling_.collectors[index_of(CollectorId::filesystems)].on = false;
  start();
  workers_.hanging.clear();
  workers_.run();  // its answer is on the way
  sampler_.reset();
  settle();
  EXPECT_EQ(samples_, 0);
}

/// A file system whose server is gone.
class HangingSource final : public Source {
 public:
  HangingSource(std::shared_ptr<const Source> inner, std::shared_future<void> until)
      : inner_(std::move(inner)), until_(std::move(until)) {}
  Result<std::string> read(const std::string& path) const override { return inner_->read(path); }
  Result<> each_line(const std::string& path,
                     const std::function<void(std::string_view)>& take) const override {
    return inner_->each_line(path, take);
  }
  Result<std::vector<std::string>> list(const std::string& path) const override {
    return inner_->list(path);
  }
  bool exists(const std::string& path) const override { return inner_->exists(path); }
  Result<std::string> link(const std::string& path) const override { return inner_->link(path); }
  Result<FileSystemSpace> space(const std::string& path) const override {
    until_.wait();
    return inner_->space(path);
  }
  Result<std::vector<NetworkAddress>> addresses() const override { return inner_->addresses(); }
  Result<KernelInfo> kernel() const override { return inner_->kernel(); }
  Result<ClockState> clock() const override { return inner_->clock(); }
  Result<std::string> run(const std::vector<std::string>& command, Duration time) const override {
    return inner_->run(command, time);
  }

 private:
  const std::shared_ptr<const Source> inner_;
  const std::shared_future<void> until_;
};

// A program that is told to stop must stop, whatever a dead file system does.
TEST_F(HostSamplerTest, ItEndsAlthoughACollectorHangsForEver) {
  std::promise<void> comes_back;
  ThreadWorkers threads;
  int samples = 0;
  auto loop = std::make_unique<Loop>("core", clock_);
  auto sampler = std::make_unique<HostSampler>(
      *loop, lines_.log, node_.self, sampling_,
      std::make_shared<HangingSource>(source_, comes_back.get_future().share()),
      [] { return std::vector<Measurement>(); }, [&](Sampler::Sample) { ++samples; }, threads);
  loop->run_ready();
  sampler.reset();
  EXPECT_EQ(lines_.count("collector filesystems does not come back; it is left behind"), 1u);
  loop.reset();
  comes_back.set_value();  // now of all times: it finds nobody, and nothing that is gone
  EXPECT_EQ(samples, 0);
}

}  // namespace
}  // namespace postern::node
