#include "base/log.h"

#include <unistd.h>

#include <cstdlib>

#include "base/clock.h"

namespace postern {
namespace {

constexpr std::size_t kLineBytesMax = 4096;

const char* name(Level level) {
  switch (level) {
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      return "error";
  }
  return "?";
}

int syslog_priority(Level level) {
  switch (level) {
    case Level::debug:
      return 7;
    case Level::info:
      return 6;
    case Level::warning:
      return 4;
    case Level::error:
      return 3;
  }
  return 6;
}

void write_to_stderr(Level level, std::string_view text) {
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  const std::string out =
      journal ? fmt::format("<{}>{}\n", syslog_priority(level), text)
              : fmt::format("{} {:7} {}\n", to_rfc3339(SystemClock().wall()), name(level), text);
  // A log line that cannot be written has nowhere else to go.
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, out.data(), out.size());
}

}  // namespace

Log::Log(Level threshold) : Log(threshold, write_to_stderr) {}
Log::Log(Level threshold, Sink sink) : threshold_(threshold), sink_(std::move(sink)) {}

void Log::line(Level level, std::string text) const {
  if (text.size() > kLineBytesMax) text.resize(kLineBytesMax);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  sink_(level, text);
}

}  // namespace postern
