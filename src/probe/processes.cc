#include <algorithm>
#include <array>
#include <charconv>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

constexpr std::uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD of the kernel's flags
constexpr const char* kKernel = "(kernel)";
constexpr const char* kOther = "(other)";
constexpr auto kTopNameAge = std::chrono::hours(24);

// "blocked" waits for a disk and cannot even be killed.
constexpr std::array<const char*, 5> kStates = {"running", "sleeping", "blocked", "stopped",
                                                "defunct"};

struct Process {
  std::uint64_t pid = 0;
  std::uint64_t started = 0;  // tells it from an earlier one of that number
  std::uint64_t ticks = 0;
  std::uint64_t resident_pages = 0;
  std::size_t state = 1;
  std::string name;
};

std::size_t state_of(char letter) {
  switch (letter) {
    case 'R':
      return 0;
    case 'D':
      return 2;
    case 'T':
    case 't':
      return 3;
    case 'Z':
    case 'X':
    case 'x':
      return 4;
    default:
      return 1;  // S, and I of idle kernel threads
  }
}

/// PID (NAME) STATE ppid ... with anything at all in NAME; then by proc(5)'s numbers 9 flags,
/// 14 and 15 time, 22 start, 24 resident pages.
std::optional<Process> parse(std::string_view text) {
  const std::size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return std::nullopt;
  constexpr std::size_t kFirst = 3;  // of the fields behind NAME
  const auto fields = split_fields(trim(text.substr(close + 1)));
  const auto number = [&](std::size_t n) {
    return n - kFirst < fields.size() ? to_unsigned(fields[n - kFirst]) : std::nullopt;
  };
  const auto pid = to_unsigned(trim(text.substr(0, open)));
  const auto flags = number(9), user = number(14), system = number(15), start = number(22),
             resident = number(24);
  if (!pid || !flags || !user || !system || !start || !resident) return std::nullopt;
  const bool kernel = (*flags & kKernelThread) != 0;
  return Process{*pid,
                 *start,
                 *user + *system,
                 *resident,
                 state_of(fields[0].front()),
                 kernel ? kKernel : std::string(text.substr(open + 1, close - open - 1))};
}

/// What processes of one name use together.
struct Use {
  std::uint64_t ticks = 0;  // since the last call
  std::uint64_t resident_pages = 0;
};
using Uses = std::map<std::string, Use>;

std::vector<std::pair<std::string, std::uint64_t>> largest(const Uses& uses,
                                                           std::uint64_t Use::*of) {
  std::vector<std::pair<std::string, std::uint64_t>> all;
  for (const auto& [name, use] : uses)
    if (use.*of > 0) all.emplace_back(name, use.*of);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  if (all.size() > kTopConsumersMax) all.resize(kTopConsumersMax);
  return all;
}

/// "cpu ..." of all processors, and "processes N" since boot.
struct Totals {
  std::uint64_t ticks = 0;
  std::uint64_t created = 0;
};
Result<Totals> read_totals(const Source& source) {
  const auto stat = source.read("/proc/stat");
  if (!stat) return std::unexpected(stat.error());
  Totals totals;
  bool found = false;
  for (const std::string_view line : split_lines(*stat)) {
    const auto fields = line.starts_with("cpu ") || line.starts_with("processes ")
                            ? split_fields(line)
                            : std::vector<std::string_view>();
    // Guest time (the ninth and tenth number) is contained in the first two.
    if (!fields.empty() && fields[0] == "cpu")
      for (std::size_t i = 1; i < std::min<std::size_t>(fields.size(), 9); ++i)
        totals.ticks += to_unsigned(fields[i]).value_or(0);
    if (fields.size() < 2 || fields[0] != "processes") continue;
    const auto created = to_unsigned(fields[1]);
    found = created.has_value();
    totals.created = created.value_or(0);
  }
  if (!found) return fail(Errc::invalid, "/proc/stat has no \"processes\" line with a number");
  return totals;
}

class Processes final : public Collector {
 public:
  Result<> collect(Sample& sample) override {
    const auto entries = sample.source.list("/proc");
    if (!entries) return std::unexpected(entries.error());
    std::vector<std::uint64_t> pids;
    for (const std::string& name : *entries)
      if (const auto pid = to_unsigned(name)) pids.push_back(*pid);
    std::sort(pids.begin(), pids.end());
    if (pids.size() > kProcessesMax) {
      sample.problem({Errc::exhausted, fmt::format("{} processes, the first {} are looked at",
                                                   pids.size(), kProcessesMax)});
      pids.resize(kProcessesMax);
    }
    const auto totals = read_totals(sample.source);
    look_at(sample, pids, totals ? totals->ticks : 0);
    if (!totals) return std::unexpected(totals.error());
    sample.counter("system.process.created", "{process}", to_integer(totals->created));
    return {};
  }

 private:
  struct Seen {
    std::uint64_t pid = 0, started = 0, ticks = 0;
  };

  void look_at(Sample& sample, const std::vector<std::uint64_t>& pids, std::uint64_t ticks) {
    std::array<std::uint64_t, kStates.size()> states{};
    std::vector<Seen> seen;
    seen.reserve(pids.size());
    Uses uses;
    for (const std::uint64_t pid : pids) {
      const auto text = sample.source.read(fmt::format("/proc/{}/stat", pid));
      if (!text) continue;  // it has ended meanwhile
      auto process = parse(*text);
      if (!process) {
        sample.problem({Errc::invalid, fmt::format("/proc/{}/stat cannot be read", pid)});
        return;
      }
      ++states[process->state];
      Use& use = uses[std::move(process->name)];
      use.ticks += ticks_since(*process);
      use.resident_pages += process->resident_pages;
      seen.push_back({process->pid, process->started, process->ticks});
    }
    for (std::size_t i = 0; i < states.size(); ++i)
      sample.sum("system.process.count", "{process}", states[i], {{"process.state", kStates[i]}});
    report_largest(sample, uses, ticks);
    last_ = std::move(seen);
    last_ticks_ = ticks;
  }

  /// One that was born since counts whole; on the first call nothing does.
  std::uint64_t ticks_since(const Process& process) const {
    if (last_ticks_ == 0) return 0;
    const auto before =
        std::lower_bound(last_.begin(), last_.end(), process.pid,
                         [](const Seen& s, std::uint64_t pid) { return s.pid < pid; });
    const bool same = before != last_.end() && before->pid == process.pid &&
                      before->started == process.started && before->ticks <= process.ticks;
    return same ? process.ticks - before->ticks : process.ticks;
  }

  /// Several that are no names of their own any more stand together.
  std::map<std::string, std::uint64_t> named(const Uses& uses, std::uint64_t Use::*of,
                                             WallTime now) {
    std::map<std::string, std::uint64_t> by_name;
    for (const auto& [name, amount] : largest(uses, of)) by_name[names_.admit(name, now)] += amount;
    return by_name;
  }

  void report_largest(Sample& sample, const Uses& uses, std::uint64_t ticks) {
    const std::uint64_t page_bytes = sample.source.kernel().value_or(KernelInfo{}).page_bytes;
    for (const auto& [name, pages] : named(uses, &Use::resident_pages, sample.now()))
      sample.sum("process.memory.usage", "By", pages * page_bytes,
                 {{"process.executable.name", name}});
    if (last_ticks_ == 0 || ticks <= last_ticks_) return;
    for (const auto& [name, spent] : named(uses, &Use::ticks, sample.now()))
      sample.gauge("process.cpu.utilization", "1",
                   static_cast<double>(spent) / static_cast<double>(ticks - last_ticks_),
                   {{"process.executable.name", name}});
  }

  std::vector<Seen> last_;  // by pid
  std::uint64_t last_ticks_ = 0;
  TopNames names_;
};

}  // namespace

std::string TopNames::admit(const std::string& name, WallTime now) {
  const auto known = last_told_.find(name);
  if (known == last_told_.end() && last_told_.size() >= kTopNamesMax) {
    const auto oldest =
        std::min_element(last_told_.begin(), last_told_.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    if (now - oldest->second < kTopNameAge) return kOther;
    last_told_.erase(oldest);
  }
  last_told_[name] = now;
  return name;
}

std::unique_ptr<Collector> make_processes_collector() { return std::make_unique<Processes>(); }

}  // namespace postern
