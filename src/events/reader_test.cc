#include "events/reader.h"

#include <gtest/gtest.h>

#include "base/fake_disk.h"

namespace postern::events {
namespace {

const std::filesystem::path kPath = "/state/events";
constexpr std::size_t kLines = 12;
const WallTime kWall{std::chrono::milliseconds(1'800'000'000'000)};

/// Numbers, three at a time.
class Numbers final : public LogSource {
 public:
  Read read(const ReadLimit& limit, TimePoint, WallTime wall) override {
    Read out;
    for (; next_ < kLines && out.events.size() < std::min<std::size_t>(limit.records, 3); ++next_)
      out.events.push_back(notice("", std::to_string(next_), wall));
    out.position = std::to_string(next_);
    return out;
  }
  void seek(const std::string& position) override { next_ = std::stoul(position); }

 private:
  std::size_t next_ = 0;
};

class OneSource final : public Sources {
 public:
  void look(Map& sources, const Positions& known, Positions&, TimePoint) override {
    if (!sources.empty()) return;
    auto made = std::make_unique<Numbers>();
    if (const auto at = known.find("numbers"); at != known.end()) made->seek(at->second);
    sources["numbers"] = std::move(made);
  }
};

/// What a node does around it: batches on the same disk, one file each, numbered without holes.
class Life {
 public:
  explicit Life(FakeDisk& disk) : disk_(disk) {}

  static std::filesystem::path batch(std::uint64_t n) { return "/spool/" + std::to_string(n); }

  /// Until everything was read, or the disk breaks.
  bool run(bool breaks) {
    std::uint64_t last = 0;
    while (true) {
      auto there = disk_.exists(batch(last + 1));
      if (!there) return false;
      if (!*there) break;
      ++last;
    }
    auto read = read_state_file(disk_, kPath);
    if (!read) return false;
    StateFile state = *read ? **read : StateFile{};
    state.resolve(state.intent && state.intent->batch.sequence <= last);
    Reader reader(disk_, kPath, log_, {}, std::make_unique<OneSource>(), state, 1'000'000);
    TimePoint now{std::chrono::hours(1)};
    for (int quiet = 0; quiet < 2;) {
      now += std::chrono::seconds(1);
      auto collected = reader.collect(now, kWall);
      if (disk_.failed() && breaks) return false;
      if (!collected.payload) {
        ++quiet;
        continue;
      }
      if (!reader.write_intent({1, 7, last + 1})) return false;
      if (!disk_.write_file(batch(last + 1), collected.payload->compressed)) return false;
      ++last;
      reader.sealed();
    }
    return true;
  }

  std::vector<std::string> sealed() const {
    std::vector<std::string> found;
    for (std::uint64_t n = 1;; ++n) {
      const Bytes bytes = disk_.contents(batch(n));
      if (bytes.empty()) return found;
      for (std::uint32_t raw = 1; raw < 4096; ++raw)
        if (auto decoded = decode_logs(bytes, raw)) {
          for (const LogEvent& event : decoded->events) found.push_back(event.body);
          break;
        }
    }
  }

 private:
  FakeDisk& disk_;
  const Log log_{Level::error, [](Level, std::string_view) {}};
};

std::vector<std::string> all_numbers() {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < kLines; ++i) all.push_back(std::to_string(i));
  return all;
}

TEST(Reader, EveryEventIsSealedOnceWhateverCallOfTheDiskFailsAndThePowerWithIt) {
  std::uint64_t calls = 0;
  for (const bool power : {false, true}) {
    for (std::uint64_t nth = 1; nth < 400; ++nth) {
      FakeDisk disk(nth);
      ASSERT_TRUE(disk.make_directories("/state"));
      ASSERT_TRUE(disk.make_directories("/spool"));
      disk.fail_at(nth, FakeDisk::Failing::from_then_on);
      const bool whole = Life(disk).run(true);
      disk.heal();
      if (power) disk.crash();
      ASSERT_TRUE(Life(disk).run(false)) << nth;
      ASSERT_EQ(Life(disk).sealed(), all_numbers()) << "call " << nth << ", power " << power;
      calls = nth;
      if (whole) break;
    }
  }
  EXPECT_GT(calls, 20u) << "the test must have failed something";
}

TEST(Reader, ALoudSourceIsHeldBackAndSaysSoAndNothingIsLost) {
  FakeDisk disk;
  ASSERT_TRUE(disk.make_directories("/state"));
  const Log log{Level::error, [](Level, std::string_view) {}};
  Reader reader(disk, kPath, log, {}, std::make_unique<OneSource>(), {}, 1);
  TimePoint now{std::chrono::hours(1)};
  std::size_t numbers = 0, told = 0;
  for (int i = 0; i < 100 && numbers < kLines; ++i) {
    now += std::chrono::milliseconds(300);
    auto batch = reader.collect(now, kWall);
    if (!batch.payload) continue;
    auto decoded = decode_logs(batch.payload->compressed, batch.payload->raw_bytes);
    ASSERT_TRUE(decoded);
    for (const LogEvent& event : decoded->events)
      event.event_name == kHeldBack ? ++told : ++numbers;
    ASSERT_TRUE(reader.write_intent({1, 7, 1}));
    reader.sealed();
  }
  EXPECT_EQ(numbers, kLines);
  EXPECT_EQ(told, 1u);
}

TEST(StateFile, IsReadAsWrittenAndEveryDamageIsSeen) {
  StateFile file;
  file.positions = {{"journal", "s=1;i=2"}, {"file:/var/log/a", "1 2 3"}};
  file.intent = StateFile::Intent{{1, 2, 3}, {{"journal", "s=1;i=9"}}};
  const Bytes bytes = encode(file);
  EXPECT_EQ(decode_state_file(bytes).value(), file);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_state_file(ByteView(bytes).first(size))) << size;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    Bytes damaged = bytes;
    damaged[at] ^= std::byte{4};
    EXPECT_FALSE(decode_state_file(damaged)) << at;
  }
}

}  // namespace
}  // namespace postern::events
