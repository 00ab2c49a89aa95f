#include "sim/trace.h"

#include <fmt/format.h>

#include <cstdio>

namespace postern::sim {

void Trace::line(TimePoint when, std::string_view who, std::string_view what) {
  const double seconds =
      std::chrono::duration<double>(when - TimePoint(std::chrono::hours(1))).count();
  std::string text = fmt::format("{:12.6f}  {:<6} {}", seconds, who, what);
  if (wanted_ == Wanted::all_lines) {
    std::fputs(text.c_str(), stdout);
    std::fputc('\n', stdout);
  }
  lines_.push_back(std::move(text));
  if (lines_.size() > kLastLinesMax) lines_.pop_front();
}

}  // namespace postern::sim
