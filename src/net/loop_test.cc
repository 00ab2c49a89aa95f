#include "net/loop.h"

#include <gtest/gtest.h>

#include <csignal>

namespace postern {
namespace {

class LoopTest : public ::testing::Test {
 protected:
  const SystemClock clock_;
  Loop loop_{"test", clock_};
};

TEST_F(LoopTest, RunsWhatIsPostedInOrderAndNeverInsidePost) {
  std::vector<int> seen;
  loop_.post([&] {
    loop_.post([&] { seen.push_back(3); });
    seen.push_back(1);
  });
  loop_.post([&] { seen.push_back(2); });
  EXPECT_TRUE(seen.empty());
  loop_.post([&] { loop_.post([&] { loop_.stop(); }); });
  loop_.run();
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
}

TEST_F(LoopTest, TakesTasksFromManyThreadsAndLosesNone) {
  constexpr int kThreads = 4, kEach = 5000;
  int count = 0;  // the loop's thread only
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < kEach; ++j)
        loop_.post([&] {
          if (++count == kThreads * kEach) loop_.stop();
        });
    });
  loop_.run();
  EXPECT_EQ(count, kThreads * kEach);
}

TEST_F(LoopTest, FiresTimersInTheOrderOfTheirTime) {
  std::vector<int> seen;
  auto last = loop_.after(std::chrono::milliseconds(20), [&] { loop_.stop(); });
  auto second = loop_.after(std::chrono::milliseconds(10), [&] { seen.push_back(2); });
  auto first = loop_.after(std::chrono::milliseconds(1), [&] { seen.push_back(1); });
  auto cancelled = loop_.after(std::chrono::milliseconds(5), [&] { seen.push_back(9); });
  cancelled.cancel();
  EXPECT_FALSE(cancelled.running());
  EXPECT_TRUE(first.running());
  loop_.run();
  EXPECT_EQ(seen, (std::vector<int>{1, 2}));
  EXPECT_FALSE(first.running());
}

TEST_F(LoopTest, ATimerThatArmsItselfForNowLetsOthersRun) {
  Loop::Timer timer;
  int rounds = 0;
  std::function<void()> again = [&] {
    ++rounds;
    timer = loop_.after(Duration(0), again);
  };
  again();
  loop_.post([&] { loop_.post([&] { loop_.stop(); }); });
  loop_.run();
  EXPECT_GE(rounds, 2);
  EXPECT_LT(rounds, 10);
}

TEST(LoopTimer, FollowsTheClockItIsGiven) {
  FakeClock clock;
  Loop loop("test", clock);
  bool fired = false;
  auto timer = loop.after(std::chrono::hours(1), [&] { fired = true; });
  loop.post([&] { loop.post([&] { loop.stop(); }); });
  loop.run();
  EXPECT_FALSE(fired);
  clock.advance(std::chrono::hours(1));
  loop.post([&] { loop.stop(); });
  loop.run();
  EXPECT_TRUE(fired);
}

TEST(LoopTimer, MayOutliveItsLoop) {
  const SystemClock clock;
  Loop::Timer timer;
  {
    Loop loop("test", clock);
    timer = loop.after(std::chrono::hours(1), [] {});
  }
  EXPECT_FALSE(timer.running());
  timer.cancel();
}

TEST_F(LoopTest, HearsSignals) {
  int heard = 0;
  loop_.on_signal(SIGUSR1, [&] {
    ++heard;
    loop_.stop();
  });
  std::raise(SIGUSR1);
  loop_.run();
  EXPECT_EQ(heard, 1);
}

TEST_F(LoopTest, KnowsItsThread) {
  EXPECT_FALSE(loop_.here());
  Loops loops(loop_, 2, clock_);
  bool core_elsewhere = true, own_there = false;
  loops.at(1).post([&] {
    core_elsewhere = loop_.here();
    own_there = loops.at(1).here();
    loop_.stop();
  });
  loop_.run();
  EXPECT_FALSE(core_elsewhere);
  EXPECT_TRUE(own_there);
}

TEST_F(LoopTest, TheCoreIsTheOnlyLoopWhenThereAreNoThreads) {
  Loops loops(loop_, 0, clock_);
  EXPECT_EQ(loops.size(), 1u);
  EXPECT_EQ(&loops.next(), &loop_);
  EXPECT_NE(loops.new_id(), loops.new_id());
}

TEST(LoopOnAFakeClock, RunsWhatIsPostedAndDueAndSaysWhenToComeBack) {
  FakeClock clock;
  Loop loop("virtual", clock);
  EXPECT_EQ(loop.run_ready(), std::nullopt) << "nothing is armed";
  std::string seen;
  const TimePoint start = clock.now();
  auto late = loop.after(std::chrono::seconds(2), [&] { seen += "d"; });
  auto same = loop.after(std::chrono::seconds(1), [&] { seen += "a"; });
  auto after_it = loop.after(std::chrono::seconds(1), [&] {
    EXPECT_TRUE(loop.here());
    seen += "b";
    loop.post([&] { seen += "c"; });
  });
  loop.post([&] {
    seen += "1";
    loop.post([&] { seen += "3"; });
  });
  loop.post([&] { seen += "2"; });
  EXPECT_EQ(loop.run_ready(), start + std::chrono::seconds(1));
  EXPECT_EQ(seen, "123") << "what is posted meanwhile too, in order";
  EXPECT_FALSE(loop.here());
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(loop.run_ready(), start + std::chrono::seconds(2));
  EXPECT_EQ(seen, "123abc");
  clock.advance(std::chrono::hours(1));
  EXPECT_EQ(loop.run_ready(), std::nullopt);
  EXPECT_EQ(seen, "123abcd");
}

TEST(LoopOnAFakeClock, ATimerArmedForNowFiresInTheSameCall) {
  FakeClock clock;
  Loop loop("virtual", clock);
  Loop::Timer timer;
  int fired = 0;
  std::function<void()> again = [&] {
    if (++fired < 3) timer = loop.after(Duration(0), [&] { again(); });
  };
  loop.post([&] { again(); });
  EXPECT_EQ(loop.run_ready(), std::nullopt);
  EXPECT_EQ(fired, 3);
}

}  // namespace
}  // namespace postern
