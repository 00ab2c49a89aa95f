#include "events/journal.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cstdlib>
#include <fstream>

namespace postern::events {
namespace {

std::string exported() {
  return "__CURSOR=c1\n__REALTIME_TIMESTAMP=1800000000000000\nPRIORITY=3\nMESSAGE=one\n\n"
         "__CURSOR=c2\nMESSAGE\n" +
         std::string("\x06\0\0\0\0\0\0\0", 8) + "a\n\nbcd\nPRIORITY=4\n\n";
}

TEST(ExportParser, ReadsTheSameHoweverItIsCut) {
  const std::string text = exported();
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    ExportParser parser;
    auto found = parser.feed(std::string_view(text).substr(0, cut));
    for (auto& entry : parser.feed(std::string_view(text).substr(cut)))
      found.push_back(std::move(entry));
    ASSERT_EQ(found.size(), 2u) << cut;
    EXPECT_EQ(found[0].fields[3], (std::pair<std::string, std::string>("MESSAGE", "one")));
    EXPECT_EQ(found[1].fields[1], (std::pair<std::string, std::string>("MESSAGE", "a\n\nbcd")));
  }
}

/// A journalctl that tells ten entries, those behind --after-cursor only, and goes on for ever.
class JournalTest : public ::testing::Test {
 protected:
  JournalTest() {
    std::string name = (std::filesystem::temp_directory_path() / "journal-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    options_.program = (folder_ / "journalctl").string();
    program(
        "from=0; follow=no\n"
        "for a in \"$@\"; do case \"$a\" in --after-cursor=*) from=${a#--after-cursor=};;\n"
        "  --follow) follow=yes;; esac; done\n"
        "[ $follow = no ] && { printf '__CURSOR=4\\nPRIORITY=6\\n\\n'; exit 0; }\n"
        "i=$from; while [ $i -lt 10 ]; do i=$((i+1));\n"
        "  printf '__CURSOR=%s\\nPRIORITY=3\\nMESSAGE=m%s\\n\\n' $i $i; done\n"
        "exec sleep 60\n");
  }
  ~JournalTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  void program(const std::string& script) {
    std::ofstream(options_.program) << "#!/bin/sh\n" << script;
    std::filesystem::permissions(options_.program, std::filesystem::perms::owner_all);
  }
  std::vector<std::string> read(Journal& journal, std::size_t count, ReadLimit limit = {}) {
    std::vector<std::string> found;
    for (int i = 0; i < 2000 && found.size() < count; ++i) {
      auto read = journal.read(limit, TimePoint{}, WallTime{});
      for (const LogEvent& event : read.events) found.push_back(event.body);
      position_ = read.position;
      problem_ = read.problem;
      if (!problem_.empty()) break;
      if (read.events.empty()) ::poll(nullptr, 0, 5);
    }
    return found;
  }
  using Lines = std::vector<std::string>;
  std::filesystem::path folder_;
  Journal::Options options_;
  std::string position_, problem_;
};

TEST_F(JournalTest, BeginsAtTheEndThatTheJournalHasAtTheFirstStart) {
  Journal journal(options_);
  EXPECT_EQ(read(journal, 6), (Lines{"m5", "m6", "m7", "m8", "m9", "m10"}));
  EXPECT_EQ(position_, "10");
}

TEST_F(JournalTest, GoesOnBehindEveryPosition) {
  std::string position = "0";
  for (int i = 1; i <= 10; ++i) {
    Journal journal(options_);
    journal.seek(position);
    EXPECT_EQ(read(journal, 1, ReadLimit{.records = 1}), Lines{"m" + std::to_string(i)});
    position = position_;
  }
}

TEST_F(JournalTest, AChildThatEndsIsAProblemWithItsWordsAndAWayOut) {
  program("echo 'No journal files were opened' >&2; exit 1\n");
  Journal journal(options_);
  journal.seek("3");
  read(journal, 1);
  EXPECT_NE(problem_.find("No journal files were opened"), std::string::npos) << problem_;
  EXPECT_NE(problem_.find("group systemd-journal"), std::string::npos);
}

}  // namespace
}  // namespace postern::events
