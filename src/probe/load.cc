#include <algorithm>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {

// The load average is not in the semantic conventions; the names are the OpenTelemetry Collector's.
Result<> collect_load(Sample& sample) {
  constexpr std::array<const char*, 3> kNames = {
      "system.cpu.load_average.1m", "system.cpu.load_average.5m", "system.cpu.load_average.15m"};
  const auto text = sample.source.read("/proc/loadavg");
  if (!text) return std::unexpected(text.error());
  const auto fields = split_fields(trim(*text));
  std::array<double, 3> averages{};
  for (std::size_t i = 0; i < averages.size(); ++i) {
    const auto number = i < fields.size() ? to_double(fields[i]) : std::nullopt;
    if (!number) return fail(Errc::invalid, "/proc/loadavg is \"{}\"", trim(*text));
    averages[i] = *number;
  }
  for (std::size_t i = 0; i < averages.size(); ++i)
    sample.gauge(kNames[i], "{thread}", averages[i]);
  return {};
}

Result<> collect_uptime(Sample& sample) {
  const auto text = sample.source.read("/proc/uptime");
  if (!text) return std::unexpected(text.error());
  const auto fields = split_fields(trim(*text));
  const auto seconds = fields.empty() ? std::nullopt : to_double(fields[0]);
  if (!seconds) return fail(Errc::invalid, "/proc/uptime is \"{}\"", trim(*text));
  sample.gauge("system.uptime", "s", *seconds);
  return {};
}

/// The number of processes without their states: those would cost a file each.
Result<> collect_processes(Sample& sample) {
  const auto entries = sample.source.list("/proc");
  if (!entries) return std::unexpected(entries.error());
  const auto is_process = [](const std::string& name) { return to_unsigned(name).has_value(); };
  sample.sum(
      "system.process.count", "{process}",
      static_cast<std::uint64_t>(std::count_if(entries->begin(), entries->end(), is_process)));

  const auto stat = sample.source.read("/proc/stat");
  if (!stat) return std::unexpected(stat.error());
  for (const std::string_view line : split_lines(*stat)) {
    if (!line.starts_with("processes ")) continue;
    const auto created = to_unsigned(trim(line.substr(10)));
    if (!created) break;
    sample.counter("system.process.created", "{process}", to_integer(*created));
    return {};
  }
  return fail(Errc::invalid, "/proc/stat has no \"processes\" line with a number");
}

}  // namespace postern
