#include "base/worker.h"

#include <gtest/gtest.h>

#include <vector>

namespace postern {
namespace {

TEST(Worker, RunsEverythingInOrderBeforeItEnds) {
  std::vector<int> ran;
  {
    ThreadWorkers workers;
    const auto worker = workers.start("test");
    for (int i = 0; i < 100; ++i) worker->post([&ran, i] { ran.push_back(i); });
  }
  ASSERT_EQ(ran.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ran[static_cast<std::size_t>(i)], i);
}

}  // namespace
}  // namespace postern
