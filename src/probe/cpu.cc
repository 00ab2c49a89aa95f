#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

/// USER_HZ: what /proc counts in, the same on every architecture we run on, whatever the kernel's
/// own HZ is.
constexpr double kTicksPerSecond = 100;

// "interrupt" is the kernel's irq and softirq together, as the conventions have it.
constexpr std::array<const char*, kCpuModes> kModes = {"user",   "nice",      "system", "idle",
                                                       "iowait", "interrupt", "steal"};

/// cpu user nice system idle iowait irq softirq steal [guest guest_nice]; guest time is contained
/// in user and nice already.
std::optional<CpuTicks> parse_ticks(const std::vector<std::string_view>& fields) {
  constexpr std::size_t kNumbers = 8;
  if (fields.size() < 1 + kNumbers) return std::nullopt;
  std::array<std::uint64_t, kNumbers> numbers{};
  for (std::size_t i = 0; i < kNumbers; ++i) {
    const auto number = to_unsigned(fields[i + 1]);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  return CpuTicks{numbers[0], numbers[1], numbers[2],
                  numbers[3], numbers[4], numbers[5] + numbers[6],
                  numbers[7]};
}

void report_utilization(Sample& sample, const CpuTicks& before, const CpuTicks& now) {
  CpuTicks spent{};
  std::uint64_t all = 0;
  for (std::size_t mode = 0; mode < kCpuModes; ++mode) {
    // The kernel's iowait may step back a little.
    spent[mode] = now[mode] > before[mode] ? now[mode] - before[mode] : 0;
    all += spent[mode];
  }
  if (all == 0) return;
  for (std::size_t mode = 0; mode < kCpuModes; ++mode)
    sample.gauge("system.cpu.utilization", "1",
                 static_cast<double>(spent[mode]) / static_cast<double>(all),
                 {{"cpu.mode", kModes[mode]}});
}

}  // namespace

Result<> collect_cpu(Sample& sample, std::optional<CpuTicks>& last) {
  const auto stat = sample.source.read("/proc/stat");
  if (!stat) return std::unexpected(stat.error());
  std::optional<CpuTicks> ticks;
  std::uint64_t processors = 0;
  for (const std::string_view line : split_lines(*stat)) {
    if (!line.starts_with("cpu")) continue;
    if (line.starts_with("cpu "))
      ticks = parse_ticks(split_fields(line));
    else if (line.size() > 3 && line[3] >= '0' && line[3] <= '9')
      ++processors;
  }
  if (!ticks) return fail(Errc::invalid, "/proc/stat has no \"cpu\" line with 8 numbers");

  for (std::size_t mode = 0; mode < kCpuModes; ++mode)
    sample.counter("system.cpu.time", "s", static_cast<double>((*ticks)[mode]) / kTicksPerSecond,
                   {{"cpu.mode", kModes[mode]}});
  if (last) report_utilization(sample, *last, *ticks);
  last = ticks;
  if (processors > 0) sample.sum("system.cpu.logical.count", "{cpu}", processors);
  return {};
}

Result<WallTime> read_boot_time(const Source& source) {
  const auto stat = source.read("/proc/stat");
  if (!stat) return std::unexpected(stat.error());
  for (const std::string_view line : split_lines(*stat)) {
    if (!line.starts_with("btime ")) continue;
    const auto seconds = to_unsigned(trim(line.substr(6)));
    if (seconds && *seconds < 100'000'000'000u)
      return WallTime(std::chrono::seconds(static_cast<std::int64_t>(*seconds)));
  }
  return fail(Errc::invalid, "/proc/stat has no \"btime\" line with a number");
}

}  // namespace postern
