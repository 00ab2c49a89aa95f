#include "node/hook_runner.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "identity/test_folder.h"

namespace postern::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::TemporaryFolder;

class HookTest : public testing::Test {
 protected:
  HookTest() { EXPECT_EQ(::chmod(folder_.path().c_str(), 0755), 0); }
  std::filesystem::path script(const std::string& text, unsigned mode = 0755) {
    const auto path = folder_ / "hook";
    std::ofstream(path) << "#!/bin/sh\n" << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  std::string why_not(const std::filesystem::path& program) {
    const auto safe = check_hook_program(program);
    return safe ? "" : safe.error().message;
  }
  Result<> run(const std::string& text, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), script(text).string());
    return run_hook({arguments, environment_, time_max_}, clock_, stop_,
                    [this](std::string_view line) { lines_.emplace_back(line); });
  }

  TemporaryFolder folder_;
  FakeClock clock_;  // stands still: only a limit of nothing is ever reached
  Duration time_max_ = std::chrono::minutes(5);
  std::atomic<bool> stop_ = false;
  std::map<std::string, std::string> environment_{{"POSTERN_NAME", "a.example"}};
  std::vector<std::string> lines_;
};

TEST_F(HookTest, ItGetsItsArgumentsAndThisEnvironmentOnlyAndNoShell) {
  const auto done = run("echo \"$1|$2|$POSTERN_NAME|$HOME|$(cat)\"; ls /proc/self/fd | wc -l\n",
                        {"a b", "$HOME; true"});
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(lines_.size(), 2u);
  EXPECT_EQ(lines_[0], "a b|$HOME; true|a.example||");
  EXPECT_LE(std::stoi(lines_[1]), 4) << "no file of ours is open there";
}

TEST_F(HookTest, WhatItSaysIsLinesWithoutControlCharactersAndBounded) {
  ASSERT_TRUE(run("printf 'one\\033[2J\\r\\ntwo'; echo three >&2\n"));
  EXPECT_THAT(lines_, ElementsAre("one[2J", "twothree"));
  lines_.clear();
  ASSERT_TRUE(run("head -c 200000 /dev/zero | tr '\\0' 'x'\n"));
  EXPECT_EQ(lines_.size(), kHookOutputBytesMax / kHookLineBytesMax + 1);
  EXPECT_EQ(lines_.front().size(), kHookLineBytesMax);
  EXPECT_THAT(lines_.back(), HasSubstr("64.0 KiB are not shown"));
}

TEST_F(HookTest, AnotherStatusThanZeroIsATroubleAndSoIsASignal) {
  EXPECT_THAT(run("exit 3\n").error().message, HasSubstr("exit status 3"));
  EXPECT_THAT(run("kill -TERM $$\n").error().message, HasSubstr("signal 15"));
  const auto nothing =
      run_hook({{(folder_ / "nowhere").string()}, {}}, clock_, stop_, [](std::string_view) {});
  EXPECT_THAT(nothing.error().message, HasSubstr("nowhere"));
}

TEST_F(HookTest, AfterItsTimeItIsKilledWithAllThatItStarted) {
  time_max_ = Duration(0);
  // Only what is killed leaves the end of the pipe to us at once.
  const auto late = run("sleep 1000 & sleep 1000\n");
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message, HasSubstr("was killed"));
}

TEST_F(HookTest, WhatItLeavesBehindIsKilled) {
  const std::string fifo = (folder_ / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  pollfd reader{::open(fifo.c_str(), O_RDONLY | O_NONBLOCK), POLLIN, 0};
  ASSERT_GE(reader.fd, 0);
  ASSERT_TRUE(run("exec 3>'" + fifo + "'; sleep 1000 &\n"));
  EXPECT_EQ(::poll(&reader, 1, 10'000), 1) << "somebody still holds the other end";
  EXPECT_NE(reader.revents & POLLHUP, 0);
  ::close(reader.fd);
}

TEST_F(HookTest, ItEndsWithTheProgramThatRunsIt) {
  stop_ = true;
  EXPECT_THAT(run("sleep 1000\n").error().message, HasSubstr("stopped with this program"));
}

TEST_F(HookTest, WhoMayChangeItIsNamed) {
  EXPECT_EQ(why_not(script("")), "");
  EXPECT_THAT(why_not("hook"), HasSubstr("not an absolute path"));
  EXPECT_THAT(why_not(folder_.path()), HasSubstr("is not a file"));
  EXPECT_THAT(why_not(folder_ / "nowhere"), HasSubstr("nowhere"));
  EXPECT_THAT(why_not(script("", 0644)), HasSubstr("is not executable"));
  EXPECT_THAT(why_not(script("", 0775)), HasSubstr("hook has mode 0775"));
  EXPECT_THAT(why_not(script("", 0757)), HasSubstr("hook has mode 0757"));
  const auto good = script("");
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
  EXPECT_THAT(why_not(good), HasSubstr(folder_.path().string() + " has mode 0777"));
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  if (::geteuid() != 0) return;  // only root gives files away
  ASSERT_EQ(::chown(good.c_str(), 65534, 65534), 0);
  EXPECT_THAT(why_not(good), HasSubstr("belongs to user 65534"));
  EXPECT_TRUE(check_hook_program(good, 65534));
}

TEST_F(HookTest, ALinkIsAsGoodAsWhatItLeadsTo) {
  const auto real = script("");
  std::filesystem::create_symlink(real, folder_ / "link");
  EXPECT_EQ(why_not(folder_ / "link"), "");
  ASSERT_EQ(::chmod(real.c_str(), 0777), 0);
  EXPECT_THAT(why_not(folder_ / "link"), HasSubstr("0777"));
}

}  // namespace
}  // namespace postern::node
