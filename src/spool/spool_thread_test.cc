#include "spool/spool_thread.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>

#include "base/fake_disk.h"

namespace postern::spool {
namespace {

/// The owner's loop: takes completions from any thread, runs them where it is asked to.
class Loop {
 public:
  SpoolThread::Post post() {
    return [this](std::function<void()> completion) {
      const std::scoped_lock lock(mutex_);
      waiting_.push_back(std::move(completion));
      changed_.notify_one();
    };
  }
  void run_until(const std::function<bool()>& done) {
    while (!done()) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !waiting_.empty(); });
      auto completion = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      completion();
    }
  }
  void run_waiting() {
    run_until([this] {
      const std::scoped_lock lock(mutex_);
      return waiting_.empty();
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
};

/// Holds every sync until it is opened, and tells when one has arrived.
class Gate {
 public:
  void close() {
    const std::scoped_lock lock(mutex_);
    open_ = false;
  }
  void open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held_ > 0; });
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++held_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --held_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int held_ = 0;
};

Spool::Append batch(std::uint64_t sequence, std::size_t bytes = 100,
                    wire::Lane lane = wire::Lane::metric) {
  wire::StreamKey key;
  key.epoch = {1, 7};
  key.lane = lane;
  return {
      key, sequence, {}, std::make_shared<const Bytes>(bytes, static_cast<std::byte>(sequence))};
}

struct Fixture {
  void start(Options options = {}, std::size_t queue_bytes_max = kQueueBytesMax) {
    auto opened = Spool::open(disk, log, "spool", options);
    ASSERT_TRUE(opened);
    entries = std::move(opened->entries);
    settled = std::move(opened->settled);
    thread = std::make_unique<SpoolThread>(std::move(opened->spool), workers.start("spool"),
                                           loop.post(), queue_bytes_max);
  }
  void append(Spool::Append one) {
    thread->append(std::move(one),
                   [this](Result<Location> result) { results.push_back(std::move(result)); });
  }
  void wait_for_results(std::size_t count) {
    loop.run_until([&] { return results.size() >= count; });
  }

  Gate gate;
  FakeDisk disk;
  Log log{Level::error};
  Loop loop;
  ThreadWorkers workers;
  std::vector<Entry> entries;
  std::map<wire::StreamKey, SharedBytes> settled;
  std::vector<Result<Location>> results;
  std::unique_ptr<SpoolThread> thread;
};

TEST(SpoolThread, WhatWaitsDuringASyncSharesTheNext) {
  Fixture f;
  f.start();
  f.disk.set_on_sync([&f] { f.gate.pass(); });
  f.gate.close();
  f.append(batch(1));
  f.gate.wait_for_arrival();
  for (std::uint64_t n = 2; n <= 50; ++n) f.append(batch(n));
  EXPECT_EQ(f.disk.syncs(), 0u);
  f.gate.open();
  f.wait_for_results(50);
  EXPECT_EQ(f.disk.syncs(), 2u) << "one for the first, one for the 49 that waited";
  for (const auto& result : f.results) EXPECT_TRUE(result);
  EXPECT_EQ(f.thread->usage().entries, 50u);
  EXPECT_EQ(f.thread->usage().syncs, 2u);
}

TEST(SpoolThread, ReadsBackReleasesAndRemembersSettled) {
  Fixture f;
  f.start({1u << 20, 1000});
  f.append(batch(1, 5000));
  f.wait_for_results(1);
  Bytes read;
  f.thread->read(*f.results[0], [&](Result<Bytes> result) { read = *result; });
  f.loop.run_until([&] { return !read.empty(); });
  EXPECT_EQ(read, *batch(1, 5000).message);
  f.thread->note_settled(batch(1).stream, std::make_shared<const Bytes>(to_bytes("settled")));
  f.thread->release({*f.results[0]});
  f.thread.reset();
  f.start();
  EXPECT_TRUE(f.entries.empty());
  EXPECT_EQ(to_string(*f.settled[batch(1).stream]), "settled");
}

TEST(SpoolThread, SaysWhenItHasNoRoomAndTakesNoMore) {
  Fixture f;
  f.start({}, 1000);
  f.disk.set_on_sync([&f] { f.gate.pass(); });
  f.gate.close();
  f.append(batch(1, 600));
  f.gate.wait_for_arrival();
  EXPECT_TRUE(f.thread->has_room(400));
  EXPECT_FALSE(f.thread->has_room(401)) << "what is being synced still counts";
  f.append(batch(2, 600));
  f.wait_for_results(1);
  EXPECT_EQ(f.results[0].error().code, Errc::exhausted);
  f.gate.open();
  f.wait_for_results(2);
  EXPECT_TRUE(f.results[1]);
  EXPECT_TRUE(f.thread->has_room(1000));
}

TEST(SpoolThread, AFailedSyncReachesEveryCallerAndTheNextAttemptWorks) {
  Fixture f;
  f.start();
  f.disk.set_on_sync([&f] { f.gate.pass(); });
  f.gate.close();
  f.append(batch(1));
  f.gate.wait_for_arrival();
  f.append(batch(2));
  f.append(batch(3));
  f.disk.fail_at(1);  // the sync that is held
  f.gate.open();
  f.wait_for_results(3);
  EXPECT_FALSE(f.results[0]);
  EXPECT_TRUE(f.results[1] && f.results[2]);
  f.append(batch(1));
  f.wait_for_results(4);
  EXPECT_TRUE(f.results[3]);
}

TEST(SpoolThread, ABatchWithoutRoomDoesNotFailThoseBesideIt) {
  Fixture f;
  f.start({10'000, 16u << 20});
  f.disk.set_on_sync([&f] { f.gate.pass(); });
  f.gate.close();
  f.append(batch(1, 7500));
  f.gate.wait_for_arrival();
  f.append(batch(2, 5000));
  f.append(batch(3, 500));
  f.append(batch(4, 600));
  f.append(batch(1, 600, wire::Lane::state));
  f.gate.open();
  f.wait_for_results(5);
  std::size_t stored = 0;
  for (const auto& result : f.results) stored += result ? 1 : 0;
  EXPECT_EQ(stored, 3u) << "the first, the small one, and the important one";
}

TEST(SpoolThread, FinishesWhatIsQueuedBeforeItEnds) {
  Fixture f;
  f.start();
  for (std::uint64_t n = 1; n <= 100; ++n) f.append(batch(n));
  f.thread.reset();
  f.loop.run_waiting();
  EXPECT_EQ(f.results.size(), 100u);
  f.start();
  EXPECT_EQ(f.entries.size(), 100u);
}

/// Runs one task when it is told to, and all of them when it ends.
class StepWorker final : public Worker {
 public:
  explicit StepWorker(std::deque<std::move_only_function<void()>>& tasks) : tasks_(tasks) {}
  ~StepWorker() override {
    while (step())
      ;
  }
  StepWorker(const StepWorker&) = delete;
  StepWorker& operator=(const StepWorker&) = delete;
  void post(std::move_only_function<void()> task) override { tasks_.push_back(std::move(task)); }
  bool step() {
    if (tasks_.empty()) return false;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }

 private:
  std::deque<std::move_only_function<void()>>& tasks_;
};

TEST(SpoolThread, TidiesUpWhenNothingWaitsAndNeverInFrontOfAnAppend) {
  FakeDisk disk;
  const Log log(Level::error, [](Level, std::string_view) {});
  auto opened = Spool::open(disk, log, "spool", {1u << 20, 1000, false});
  ASSERT_TRUE(opened);
  std::deque<std::move_only_function<void()>> tasks;
  auto worker = std::make_unique<StepWorker>(tasks);
  StepWorker& steps = *worker;
  int stored = 0;
  SpoolThread thread(std::move(opened->spool), std::move(worker),
                     [](std::function<void()> task) { task(); });
  const auto append = [&](std::uint64_t n) {
    Spool::Append one{{}, n, {}, std::make_shared<const Bytes>(600)};
    thread.append(one, [&](const Result<Location>& location) { stored += location ? 1 : 0; });
  };
  const std::filesystem::path index = "spool/0000000000000001.index";
  append(1);
  steps.step();
  EXPECT_TRUE(tasks.empty()) << "nothing to tidy up";
  append(2);  // leaves the first segment
  steps.step();
  ASSERT_EQ(tasks.size(), 1u) << "a step of tidying";
  append(3);
  steps.step();
  EXPECT_FALSE(*disk.exists(index)) << "somebody waits";
  steps.step();
  EXPECT_EQ(stored, 3);
  EXPECT_FALSE(*disk.exists(index));
  steps.step();
  EXPECT_TRUE(*disk.exists(index));
  while (steps.step())
    ;
  EXPECT_TRUE(tasks.empty()) << "it comes to an end";
  append(4);
  steps.step();  // what is posted when it ends is done, and nothing is posted to the worker then
}

}  // namespace
}  // namespace postern::spool
