#include "node/program.h"

#include <gtest/gtest.h>

#include "base/fake_disk.h"

namespace postern::node {
namespace {

TEST(DiskAils, WhileAFileCanNotBeWrittenAndNotBecauseOfAnythingElse) {
  FakeDisk disk;
  EXPECT_FALSE(disk_ails(disk, "state"));
  EXPECT_TRUE(disk.list("state")->empty()) << "nothing is left of the question";
  for (const Errc code : {Errc::unavailable, Errc::exhausted}) {
    disk.fail_at(1, FakeDisk::Failing::from_then_on, code);
    EXPECT_TRUE(disk_ails(disk, "state"));
    disk.heal();
    EXPECT_FALSE(disk_ails(disk, "state"));
  }
  disk.fail_at(1, FakeDisk::Failing::from_then_on, Errc::denied);
  EXPECT_FALSE(disk_ails(disk, "state")) << "who may not write there has another trouble";
}

}  // namespace
}  // namespace postern::node
