#include "sim/trace.h"

#include <fmt/format.h>

#include <unistd.h>
#include <csignal>
#include <cstdio>

namespace postern::sim {
namespace {

const Trace* shown_at_abort = nullptr;

}  // namespace

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

void Trace::print() const {
  for (const std::string& line : lines_) fmt::print("  {}\n", line);
}

void Trace::print_at_abort(const Trace* trace) {
  shown_at_abort = trace;
  std::signal(SIGABRT, [](int) {
    shown_at_abort->print();
    std::fflush(stdout);
    ::_exit(1);
  });
}

std::span<const std::string_view> must_be_reached() {
  static constexpr std::string_view kNames[] = {
      "kill -9",
      "loss of power",
      "crash in the middle of I/O",
      "connection reset by a machine that forgot it",
  };
  return kNames;
}

}  // namespace postern::sim
