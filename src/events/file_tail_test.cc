#include "events/file_tail.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace postern::events {
namespace {

using std::chrono::seconds;

class FileTailTest : public ::testing::Test {
 protected:
  FileTailTest() {
    std::string name = (std::filesystem::temp_directory_path() / "tail-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    path_ = folder_ / "app.log";
  }
  ~FileTailTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  static void append(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::app | std::ios::binary) << text;
  }
  /// Times of change are told apart by the clock of the file system, which may stand for a while.
  void age(const std::filesystem::path& path, int steps) {
    std::filesystem::last_write_time(
        path, std::filesystem::file_time_type::clock::now() - seconds(100 - steps));
  }
  FileTail tail(const std::string& position = "") {
    FileTail made(path_, options_);
    if (!position.empty()) made.seek(position);
    return made;
  }
  /// Everything there is, the time passing.
  std::vector<std::string> lines(FileTail& tail, ReadLimit limit = {}) {
    std::vector<std::string> found;
    for (int turns = 0; turns < 40; ++turns) {
      now_ += seconds(1);
      LogSource::Read read = tail.read(limit, now_, WallTime{});
      position_ = read.position;
      problem_ = read.problem;
      for (const LogEvent& event : read.events)
        found.push_back(event.event_name.empty() ? event.body : event.event_name);
    }
    return found;
  }
  using Lines = std::vector<std::string>;

  std::filesystem::path folder_, path_;
  FileTail::Options options_;
  TimePoint now_{seconds(1000)};
  std::string position_, problem_;
};

TEST_F(FileTailTest, AFileIsReadFromItsBeginningOrFromItsEnd) {
  append(path_, "1\n2\nha");
  FileTail all = tail();
  EXPECT_EQ(lines(all), (Lines{"1", "2"}));
  options_.from_beginning = false;
  FileTail late = tail();
  EXPECT_EQ(lines(late), Lines{});
  append(path_, "lf\n3\n");
  EXPECT_EQ(lines(late), Lines{"3"});
  EXPECT_EQ(lines(all), (Lines{"half", "3"}));
}

TEST_F(FileTailTest, ARenamedFileIsFinishedBeforeTheNewOne) {
  append(path_, "1\n");
  FileTail first = tail();
  EXPECT_EQ(lines(first), Lines{"1"});
  append(path_, "2\n");
  std::filesystem::rename(path_, folder_ / "app.log.1");
  append(path_, "4\n");
  append(folder_ / "app.log.1", "3\n");
  EXPECT_EQ(lines(first), (Lines{"2", "3", "4"}));
}

TEST_F(FileTailTest, ARenamedFileIsFoundAgainAfterARestartAndSoAreThoseBetween) {
  append(path_, "1\n");
  FileTail first = tail();
  EXPECT_EQ(lines(first), Lines{"1"});
  append(path_, "2\n");
  std::filesystem::rename(path_, folder_ / "app.log.2");
  age(folder_ / "app.log.2", 1);
  append(folder_ / "app.log.1", "3\n4\n");
  age(folder_ / "app.log.1", 2);
  append(path_, "5\n");
  FileTail second = tail(position_);
  EXPECT_EQ(lines(second), (Lines{"2", "3", "4", "5"}));
}

TEST_F(FileTailTest, ACutFileIsFinishedInItsCopy) {
  append(path_, "1\n");
  FileTail first = tail();
  EXPECT_EQ(lines(first), Lines{"1"});
  append(path_, "2\n");
  std::filesystem::copy_file(path_, folder_ / "app.log.1");
  std::filesystem::resize_file(path_, 0);
  append(path_, "3\n");
  EXPECT_EQ(lines(first), (Lines{"2", "3"}));
  FileTail second = tail(position_);
  EXPECT_EQ(lines(second), Lines{});
}

TEST_F(FileTailTest, WhatWasRotatedAwayUnreadIsToldAndTheRestIsRead) {
  append(path_, "1\n");
  FileTail first = tail();
  append(path_, "2\n");
  EXPECT_EQ(lines(first, ReadLimit{.records = 2}), (Lines{"1", "2"}));
  append(path_, "3\n");
  ReadLimit none{.records = 0};
  EXPECT_EQ(lines(first, none), Lines{});
  const std::string seen = position_;
  std::filesystem::remove(path_);
  append(path_, "4\n");
  FileTail second = tail(seen);
  EXPECT_EQ(lines(second), (Lines{"postern.events.lost", "4"}));
}

TEST_F(FileTailTest, EveryPositionGoesOnExactlyBehindWhatWasReadUpToIt) {
  for (int i = 0; i < 100; ++i) append(path_, std::to_string(i) + "\n");
  std::string position;
  Lines found;
  for (int i = 0; i < 100; ++i) {
    FileTail again = tail(position);
    now_ += seconds(1);
    auto read = again.read(ReadLimit{.records = 1}, now_, WallTime{});
    position = read.position;
    for (const LogEvent& event : read.events) found.push_back(event.body);
  }
  ASSERT_EQ(found.size(), 100u);
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], std::to_string(i));
}

TEST_F(FileTailTest, LinesThatGoOnBelongToTheEventBeforeThem) {
  options_.multiline_start = "^\\d";
  append(path_, "1 a\n  b\n  c\n2 d\n");
  FileTail first = tail();
  now_ += seconds(1);
  auto read = first.read({}, now_, WallTime{});
  ASSERT_EQ(read.events.size(), 1u);
  EXPECT_EQ(read.events[0].body, "1 a\n  b\n  c");
  EXPECT_EQ(lines(first), Lines{"2 d"}) << "after a while that it may go on";
}

TEST_F(FileTailTest, ALineThatIsTooLongIsCutAndMarkedAndItsRestIsSkipped) {
  append(path_, std::string(300 << 10, 'x') + "\nnext\n");
  FileTail first = tail();
  now_ += seconds(1);
  auto read = first.read(ReadLimit{.records = 1}, now_, WallTime{});
  ASSERT_EQ(read.events.size(), 1u);
  EXPECT_EQ(read.events[0].body.size(), kLineBytesMax);
  EXPECT_EQ(read.events[0].attributes.back().key, "log.record.truncated");
  FileTail second = tail(read.position);
  EXPECT_EQ(lines(second), Lines{"next"});
}

TEST_F(FileTailTest, WhatIsNoOrdinaryFileIsAProblemWithAWayOut) {
  std::filesystem::create_directory(path_);
  FileTail first = tail();
  EXPECT_EQ(lines(first), Lines{});
  EXPECT_NE(problem_.find("events.files"), std::string::npos) << problem_;
}

TEST(RotatedNames, AreToldFromOthers) {
  EXPECT_TRUE(is_rotated_name("app.log.1", "app.log"));
  EXPECT_TRUE(is_rotated_name("app.log-20260131.gz", "app.log"));
  EXPECT_TRUE(is_rotated_name("app.log.old", "app.log"));
  EXPECT_FALSE(is_rotated_name("app.log", "app.log"));
  EXPECT_FALSE(is_rotated_name("app.log.error", "app.log"));
  EXPECT_FALSE(is_rotated_name("other.log.1", "app.log"));
}

}  // namespace
}  // namespace postern::events
