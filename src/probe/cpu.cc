#include <array>
#include <optional>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

// "interrupt" is the kernel's irq and softirq together, as the conventions have it.
constexpr std::array<const char*, 7> kModes = {"user",   "nice",      "system", "idle",
                                               "iowait", "interrupt", "steal"};

/// Ticks since boot, one entry a mode.
using Ticks = std::array<std::uint64_t, kModes.size()>;

/// cpu user nice system idle iowait irq softirq steal [guest guest_nice]; guest time is contained
/// in user and nice already.
std::optional<Ticks> parse_ticks(const std::vector<std::string_view>& fields) {
  constexpr std::size_t kNumbers = 8;
  if (fields.size() < 1 + kNumbers) return std::nullopt;
  std::array<std::uint64_t, kNumbers> numbers{};
  for (std::size_t i = 0; i < kNumbers; ++i) {
    const auto number = to_unsigned(fields[i + 1]);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  return Ticks{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5] + numbers[6],
               numbers[7]};
}

void report_utilization(Sample& sample, const Ticks& before, const Ticks& now) {
  Ticks spent{};
  std::uint64_t all = 0;
  for (std::size_t mode = 0; mode < kModes.size(); ++mode) {
    // The kernel's iowait may step back a little.
    spent[mode] = now[mode] > before[mode] ? now[mode] - before[mode] : 0;
    all += spent[mode];
  }
  if (all == 0) return;
  for (std::size_t mode = 0; mode < kModes.size(); ++mode)
    sample.gauge("system.cpu.utilization", "1",
                 static_cast<double>(spent[mode]) / static_cast<double>(all),
                 {{"cpu.mode", kModes[mode]}});
}

void report_time(Sample& sample, const Ticks& ticks, std::optional<std::int64_t> processor) {
  for (std::size_t mode = 0; mode < kModes.size(); ++mode) {
    std::vector<Attribute> by = {{"cpu.mode", kModes[mode]}};
    if (processor) by.push_back({"cpu.logical_number", *processor});
    sample.counter("system.cpu.time", "s", static_cast<double>(ticks[mode]) / kTicksPerSecond,
                   std::move(by));
  }
}

class Processors final : public Collector {
 public:
  Result<> collect(Sample& sample) override {
    const auto stat = sample.source.read("/proc/stat");
    if (!stat) return std::unexpected(stat.error());
    std::optional<Ticks> all;
    std::vector<std::pair<std::int64_t, Ticks>> each;
    for (const std::string_view line : split_lines(*stat)) {
      if (!line.starts_with("cpu")) continue;
      const auto fields = split_fields(line);
      const auto ticks = parse_ticks(fields);
      if (fields[0] == "cpu") {
        all = ticks;
      } else if (const auto number = to_unsigned(fields[0].substr(3)); number && ticks) {
        each.emplace_back(to_integer(*number), *ticks);
      }
    }
    if (!all) return fail(Errc::invalid, "/proc/stat has no \"cpu\" line with 8 numbers");

    // All together would count twice beside each one.
    if (each.empty() || each.size() > kProcessorsMax) report_time(sample, *all, std::nullopt);
    if (each.size() <= kProcessorsMax)
      for (const auto& [number, ticks] : each) report_time(sample, ticks, number);
    if (last_) report_utilization(sample, *last_, *all);
    last_ = all;
    if (!each.empty()) sample.sum("system.cpu.logical.count", "{cpu}", each.size());
    return {};
  }

 private:
  std::optional<Ticks> last_;
};

}  // namespace

std::unique_ptr<Collector> make_cpu_collector() { return std::make_unique<Processors>(); }

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
