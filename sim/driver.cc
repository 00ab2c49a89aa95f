#include "sim/driver.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "sim/run.h"

namespace postern::sim {
namespace {

constexpr std::size_t kBrokenTracesMax = 3;  // printed with their traces; the others by seed alone
constexpr std::uint64_t kCoverageRuns = 20'000;  // from here on everything rare must be reached

/// One process that does its share of the runs and tells by lines:
///   begin SEED | end SEED DIGEST EVENTS PROMISED VIRTUAL_MS | broken SEED PROMISE: WORDS | count N
///   NAME
struct Share {
  pid_t process = 0;
  FILE* lines = nullptr;
  std::uint64_t under_way = 0;
  bool ended_well = false;
};

void work(const Wish& wish, unsigned first, unsigned step, FILE* out) {
  Certificates certificates;
  Coverage coverage;
  for (std::uint64_t k = first; k < wish.runs; k += step) {
    const std::uint64_t seed = wish.seed + k;
    fmt::print(out, "begin {}\n", seed);
    std::fflush(out);
    Trace trace(wish.trace ? Trace::Wanted::all_lines : Trace::Wanted::digest);
    const Outcome outcome = run(seed, wish.options, certificates, trace, coverage);
    fmt::print(out, "end {} {:016x} {} {} {}\n", seed, outcome.digest, outcome.events,
               outcome.promised,
               std::chrono::duration_cast<std::chrono::milliseconds>(outcome.virtual_time).count());
    if (outcome.broken)
      fmt::print(out, "broken {} {}: {}\n", seed, outcome.broken->promise, outcome.broken->words);
    std::fflush(out);
    if (outcome.broken && wish.stop_at_first) break;
  }
  for (const auto& [name, count] : coverage.counts()) fmt::print(out, "count {} {}\n", count, name);
  fmt::print(out, "done\n");
  std::fflush(out);
}

Share start_share(const Wish& wish, unsigned first, unsigned step) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  std::fflush(stdout);
  const pid_t process = ::fork();
  if (process == 0) {
    ::close(ends[0]);
    work(wish, first, step, ::fdopen(ends[1], "w"));
    std::fflush(stdout);
    ::_exit(0);
  }
  ::close(ends[1]);
  return {process, ::fdopen(ends[0], "r"), 0, false};
}

/// The same run again, with words, in a process of its own: it may abort.
void print_trace(const Wish& wish, std::uint64_t seed) {
  std::fflush(stdout);
  const pid_t process = ::fork();
  if (process == 0) {
    Certificates certificates;
    Coverage coverage;
    auto trace = std::make_unique<Trace>(Trace::Wanted::last_lines);
    Trace::print_at_abort(trace.get());
    (void)run(seed, wish.options, certificates, *trace, coverage);
    trace->print();
    std::fflush(stdout);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(process, &status, 0);
}

struct Report {
  std::map<std::uint64_t, std::string> broken;  // by seed
  std::map<std::string, std::uint64_t> coverage;
  std::map<std::uint64_t, std::string> digests;
  std::uint64_t runs = 0, events = 0, promised = 0, virtual_ms = 0;
};

/// False: no further line comes.
bool take_line(Share& share, const Wish& wish, Report& report) {
  char* line = nullptr;
  std::size_t room = 0;
  const ssize_t size = ::getline(&line, &room, share.lines);
  const std::unique_ptr<char, decltype(&std::free)> owner(line, &std::free);
  if (size <= 0) return false;
  const std::string text(line, static_cast<std::size_t>(size - 1));
  unsigned long long seed = 0, digest = 0, events = 0, promised = 0, ms = 0;
  int at = 0;
  if (std::sscanf(line, "begin %llu", &seed) == 1) {
    share.under_way = seed;
  } else if (std::sscanf(line, "end %llu %llx %llu %llu %llu", &seed, &digest, &events, &promised,
                         &ms) == 5) {
    share.under_way = 0;
    ++report.runs;
    report.events += events;
    report.promised += promised;
    report.virtual_ms += ms;
    if (wish.digests || wish.runs == 1) report.digests[seed] = fmt::format("{:016x}", digest);
  } else if (std::sscanf(line, "broken %llu %n", &seed, &at) == 1) {
    report.broken[seed] = text.substr(static_cast<std::size_t>(at));
  } else if (std::sscanf(line, "count %llu %n", &events, &at) == 1) {
    report.coverage[text.substr(static_cast<std::size_t>(at))] += events;
  } else if (text == "done") {
    share.ended_well = true;
  }
  return true;
}

void end_share(Share& share, Report& report, bool stopped) {
  int status = 0;
  if (stopped) ::kill(share.process, SIGKILL);
  ::waitpid(share.process, &status, 0);
  std::fclose(share.lines);
  share.lines = nullptr;
  if (share.ended_well || stopped) return;
  report.broken[share.under_way] =
      WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT
          ? "invariant: the product aborted, see the lines above"
          : fmt::format("the process of this run ended with status {}", status);
}

int conclude(const Wish& wish, const Report& report, double seconds) {
  for (const auto& [seed, digest] : report.digests) fmt::print("seed {} digest {}\n", seed, digest);
  std::size_t shown = 0;
  for (const auto& [seed, words] : report.broken) {
    fmt::print("seed {} broken: {}\n", seed, words);
    if (wish.trace || shown++ >= kBrokenTracesMax) continue;
    fmt::print("  the last that happened in it (all of it: --seed {} --trace):\n", seed);
    print_trace(wish, seed);
  }
  if (wish.coverage)
    for (const auto& [name, count] : report.coverage) fmt::print("{:10}  {}\n", count, name);
  bool unreached = false;
  if (wish.runs >= kCoverageRuns)
    for (const std::string_view name : must_be_reached())
      if (!report.coverage.contains(std::string(name))) {
        fmt::print("never reached: {}\n", name);
        unreached = true;
      }
  fmt::print("{} runs, {} events, {} batches promised, {:.0f} h of virtual time in {:.1f} s: {}\n",
             report.runs, report.events, report.promised,
             static_cast<double>(report.virtual_ms) / 3.6e6, seconds,
             report.broken.empty() ? "every promise held"
                                   : fmt::format("{} runs broken", report.broken.size()));
  return report.broken.empty() && !unreached ? 0 : 1;
}

}  // namespace

int drive(const Wish& wish) {
  google::protobuf::SetLogHandler(nullptr);  // a captured gateway's messages are meant to be broken
  const auto started = std::chrono::steady_clock::now();
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const auto jobs =
      static_cast<unsigned>(std::min<std::uint64_t>(wish.jobs == 0 ? cores : wish.jobs, wish.runs));
  std::vector<Share> shares;
  for (unsigned i = 0; i < jobs; ++i) shares.push_back(start_share(wish, i, jobs));
  Report report;
  bool stop = false;
  while (std::ranges::any_of(shares, [](const Share& share) { return share.lines != nullptr; })) {
    for (Share& share : shares) {
      if (share.lines == nullptr) continue;
      // Each line is short and the pipes hold many: to read them in turn is no waste.
      if (stop || !take_line(share, wish, report)) end_share(share, report, stop);
      stop = stop || (wish.stop_at_first && !report.broken.empty());
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  return conclude(wish, report, took.count());
}

}  // namespace postern::sim
