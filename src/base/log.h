#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace postern {

enum class Level { debug, info, warning, error };

/// Writes one line an event. Thread-safe: a line is one write(2). Under systemd the line starts
/// with the syslog priority in angle brackets, elsewhere with the time and the level.
///
/// A line is for the operator: what happened to whom, why, and the way out. Bytes from a peer are
/// made printable here, so no caller has to.
class Log {
 public:
  using Sink = std::function<void(Level, std::string_view)>;

  explicit Log(Level threshold = Level::info);  // to standard error
  Log(Level threshold, Sink sink);              // for tests: sees every line above the threshold

  template <typename... Args>
  void debug(fmt::format_string<Args...> f, Args&&... args) const {
    write(Level::debug, f, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> f, Args&&... args) const {
    write(Level::info, f, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void warning(fmt::format_string<Args...> f, Args&&... args) const {
    write(Level::warning, f, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void error(fmt::format_string<Args...> f, Args&&... args) const {
    write(Level::error, f, std::forward<Args>(args)...);
  }

 private:
  template <typename... Args>
  void write(Level level, fmt::format_string<Args...> f, Args&&... args) const {
    if (level >= threshold_) line(level, fmt::format(f, std::forward<Args>(args)...));
  }
  void line(Level level, std::string text) const;

  Level threshold_;
  Sink sink_;
};

}  // namespace postern
