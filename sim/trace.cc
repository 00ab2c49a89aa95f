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
      "a start that failed",
      "connection reset by a machine that forgot it",
      "unauthenticated connection at its deadline",
      "dialler refuses a certificate",
      "acceptor refuses a certificate",
      "superseded",
      "busy",
      "protocol",
      "quarantine",
      "equivocation",
      "the spool does not take a batch",
      "not believed",
      "answer: copy refused",
      "answer: refused for good",
      "answer: not yet",
      "answer: with evidence",
      "notice",
      "request",
      "epoch: new folder",
      "epoch: unreadable",
      "epoch: set back",
      "sealed again",
      "release record",
      "their origin is asked",
      "are not here any more",
      "our copy goes",
      "are given up",
      "unexplained loss",
      "a new generation",
      "shed for space",
      "a node is removed",
      "store restored from a backup",
      "store failed over",
      "fault: kill",
      "fault: power",
      "fault: crash in io",
      "fault: restart",
      "fault: cut",
      "fault: half open",
      "fault: one side",
      "fault: stall",
      "fault: link down",
      "fault: slow link",
      "fault: disk error",
      "fault: disk full",
      "fault: disk hang",
      "fault: rot",
      "fault: restored",
      "fault: cloned",
      "fault: wiped",
      "fault: clock",
      "fault: parents",
      "fault: captured",
      "fault: removed",
      "fault: lost commits",
      "fault: store error",
      "captured: alters a batch",
      "captured: alters a message",
      "captured: claims another role",
      "captured: forges a gap",
      "captured: forges an answer",
      "captured: forges credit",
      "captured: forges presence",
      "captured: forges settled",
      "captured: forges stored",
      "captured: freezes documents",
      "captured: reorders",
      "captured: replays",
      "captured: sheds",
      "captured: withholds a batch",
      "captured: withholds a message",
  };
  return kNames;
}

}  // namespace postern::sim
