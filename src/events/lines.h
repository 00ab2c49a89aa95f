#pragma once

#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace postern::events {

/// Cuts a piece of a file that begins at the begin of an event into events.
class Lines {
 public:
  /// `start`: lines that match begin an event, the others go on with it; empty: each line is one.
  explicit Lines(const std::string& start);

  struct Event {
    std::string_view text;   // without its last line end
    std::size_t next = 0;    // where the piece goes on behind it
    bool truncated = false;  // a line beyond kLineBytesMax: the rest of it is to be skipped
  };
  /// The event at `at`; nothing when it does not end in the piece. `end`: nothing comes behind the
  /// piece any more, or nothing came for long enough: what is there is an event, except for a last
  /// line without its end, which needs `closed`: nobody writes that file any more.
  std::optional<Event> next(std::string_view piece, std::size_t at, bool end, bool closed) const;

 private:
  bool starts(std::string_view line) const;
  std::optional<std::regex> start_;
};

}  // namespace postern::events
