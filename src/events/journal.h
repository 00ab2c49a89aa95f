#pragma once

#include <sys/types.h>

#include <string>

#include "events/file_tail.h"
#include "events/source.h"

namespace postern::events {

/// Cuts journalctl's export format into entries, whatever the pieces it comes in; values beyond
/// kLineBytesMax are cut. The result of feeding a journal is the same for every cutting.
class ExportParser {
 public:
  struct Entry {
    std::vector<std::pair<std::string, std::string>> fields;
    bool truncated = false;
  };
  /// Entries that `bytes` completes. Garbage is skipped up to the next line.
  std::vector<Entry> feed(std::string_view bytes);

 private:
  enum class State { line, size, value, value_end };
  void end_line(std::vector<Entry>& out);
  void add(char c);

  State state_ = State::line;
  std::string text_;  // of the line, or of the value
  std::string name_;
  std::string raw_size_;
  std::uint64_t left_ = 0;
  Entry entry_;
};

/// The journal from a priority on, by a `journalctl --follow` of its own (docs/adr/0007): its pipe
/// is what bounds the memory, and a journal that breaks breaks no agent.
class Journal final : public LogSource {
 public:
  struct Options {
    std::string program = "/usr/bin/journalctl";
    std::vector<std::string> more_arguments;  // --directory=... for tests
    unsigned priority = 4;
    Duration retry = std::chrono::seconds(10);
  };
  explicit Journal(Options options) : options_(std::move(options)) {}
  ~Journal() override;
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  Read read(const ReadLimit& limit, TimePoint now, WallTime wall) override;
  void seek(const std::string& position) override;

  /// Whether this machine keeps one.
  static bool exists();

 private:
  void start(Read& out);
  bool launch(const std::vector<std::string>& arguments);
  void end();
  std::string last_cursor(Read& out);
  void drain_errors();
  LogEvent event_of(const ExportParser::Entry& entry, WallTime wall) const;

  const Options options_;
  std::string position_;  // a cursor; empty: none yet; "*": from the beginning
  std::string began_at_;  // where the child that runs began
  ExportParser parser_;
  std::vector<ExportParser::Entry> waiting_;
  std::size_t taken_ = 0;  // of those
  pid_t child_ = -1;
  Descriptor out_, err_;
  std::string errors_;
  std::string problem_;
  std::optional<TimePoint> retry_at_;
};

}  // namespace postern::events
