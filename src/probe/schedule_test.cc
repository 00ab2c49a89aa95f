#include "probe/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ScheduleTest : public testing::Test {
 protected:
  ScheduleTest() {
    for (CollectorSetting& setting : sampling.collectors) setting.on = false;
    on(CollectorId::cpu);
    on(CollectorId::filesystems);
    schedule.emplace(sampling, clock.now(), clock.wall());
  }
  void on(CollectorId id, std::optional<Duration> interval = {}) {
    sampling.collectors[index_of(id)] = {true, interval};
  }
  std::vector<CollectorId> due() { return schedule->take_due(clock.now()); }
  void answer(CollectorId id, const std::vector<Error>& problems = {}) {
    schedule->answered(id, clock.now(), clock.wall(), milliseconds(3), problems);
  }
  const Schedule::Standing& standing(CollectorId id) { return schedule->standing(id); }

  FakeClock clock;
  Sampling sampling{seconds(10), {}};
  std::optional<Schedule> schedule;
};

TEST_F(ScheduleTest, EverythingThatIsOnIsDueAtOnceAndThenTogether) {
  const auto both = testing::ElementsAre(CollectorId::cpu, CollectorId::filesystems);
  EXPECT_THAT(due(), both);
  EXPECT_THAT(due(), testing::IsEmpty());
  clock.advance(milliseconds(700));  // one that is slow stays on the others' grid
  answer(CollectorId::cpu);
  answer(CollectorId::filesystems);
  EXPECT_EQ(schedule->next(clock.now()) - clock.now(), milliseconds(9300));
  clock.advance(milliseconds(9299));
  EXPECT_THAT(due(), testing::IsEmpty());
  clock.advance(milliseconds(1));
  EXPECT_THAT(due(), both);
}

TEST_F(ScheduleTest, IntervalsOfTheirOwnAreKept) {
  on(CollectorId::cpu, seconds(2));
  schedule.emplace(sampling, clock.now(), clock.wall());
  int cpu = 0, filesystems = 0;
  for (int second = 0; second < 20; ++second) {
    for (const CollectorId id : due()) {
      ++(id == CollectorId::cpu ? cpu : filesystems);
      answer(id);
    }
    clock.advance(seconds(1));
  }
  EXPECT_EQ(cpu, 10);
  EXPECT_EQ(filesystems, 2);
}

TEST_F(ScheduleTest, WhatHangsIsAWarningAndNotAskedAgainWhileOthersGoOn) {
  due();
  answer(CollectorId::cpu);
  EXPECT_EQ(schedule->next(clock.now()) - clock.now(), Schedule::kAnswerMax);
  clock.advance(Schedule::kAnswerMax);
  const WallTime noticed = clock.wall();
  EXPECT_THAT(schedule->look(clock.now(), clock.wall()),
              testing::ElementsAre(CollectorId::filesystems));
  EXPECT_FALSE(standing(CollectorId::filesystems).healthy);
  EXPECT_EQ(standing(CollectorId::filesystems).reason,
            "it has not answered within 5s and is not asked again before it does");
  EXPECT_TRUE(standing(CollectorId::cpu).healthy);
  for (int i = 0; i < 100; ++i) {
    clock.advance(seconds(10));
    schedule->look(clock.now(), clock.wall());
    EXPECT_THAT(due(), testing::ElementsAre(CollectorId::cpu));
    answer(CollectorId::cpu);
  }
  EXPECT_EQ(standing(CollectorId::filesystems).since, noticed);
  EXPECT_EQ(standing(CollectorId::filesystems).failures, 1u);

  answer(CollectorId::filesystems);
  EXPECT_TRUE(standing(CollectorId::filesystems).healthy);
  EXPECT_EQ(standing(CollectorId::filesystems).since, clock.wall());
  clock.advance(seconds(10));
  EXPECT_EQ(due().size(), 2u);
}

TEST_F(ScheduleTest, AProblemIsAWarningUntilItIsOver) {
  due();
  answer(CollectorId::filesystems, {{Errc::unavailable, "statvfs /x: Input/output error"},
                                    {Errc::unavailable, "statvfs /y: Input/output error"}});
  const EntityState state = schedule->state(CollectorId::filesystems, "a1.example");
  EXPECT_EQ(state.type, "postern.collector");
  const std::vector<Attribute> id = {{"host.name", "a1.example"},
                                     {"postern.collector", "filesystems"}};
  EXPECT_EQ(state.id, id);
  const std::vector<Attribute> attributes = {
      {"state", "warning"},
      {"since", to_rfc3339(clock.wall())},
      {"reason", "statvfs /x: Input/output error (and 1 more)"}};
  EXPECT_EQ(state.attributes, attributes);
  clock.advance(seconds(10));
  due();
  answer(CollectorId::filesystems);
  EXPECT_EQ(schedule->state(CollectorId::filesystems, "a1.example").attributes[0],
            (Attribute{"state", "healthy"}));
  EXPECT_EQ(standing(CollectorId::filesystems).failures, 1u);
}

TEST_F(ScheduleTest, NewSettingsHoldAtOnceAndForgetNothingThatHangs) {
  due();
  answer(CollectorId::cpu);
  clock.advance(seconds(6));
  schedule->look(clock.now(), clock.wall());
  sampling.collectors[index_of(CollectorId::cpu)].on = false;
  on(CollectorId::memory, seconds(3));
  on(CollectorId::filesystems, seconds(3));
  schedule->set(sampling, clock.now(), clock.wall());
  EXPECT_EQ(standing(CollectorId::cpu).reason, "switched off");
  EXPECT_EQ(standing(CollectorId::memory).reason, "");
  EXPECT_EQ(schedule->next(clock.now()) - clock.now(), seconds(3));
  clock.advance(seconds(3));
  EXPECT_THAT(due(), testing::ElementsAre(CollectorId::memory)) << "the other one still hangs";
}

}  // namespace
}  // namespace postern
