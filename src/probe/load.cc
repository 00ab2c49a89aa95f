#include <array>

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

/// Shares of time in which tasks waited for a resource: "some avg10=0.00 avg60=0.00 avg300=0.00
/// total=0". Kernels without PSI, or told to do without, have no such files or refuse to read them.
Result<> collect_pressure(Sample& sample) {
  for (const char* resource : {"cpu", "memory", "io"}) {
    const std::string path = std::string("/proc/pressure/") + resource;
    const auto text = sample.source.read(path);
    if (!text) continue;
    for (const std::string_view line : split_lines(*text)) {
      const auto fields = split_fields(line);
      const auto value = [&](std::size_t at, std::string_view key) {
        return at < fields.size() && fields[at].starts_with(key)
                   ? to_double(fields[at].substr(key.size()))
                   : std::nullopt;
      };
      const auto share = value(2, "avg60=");
      const auto total = value(4, "total=");
      if (!share || !total) {
        sample.problem({Errc::invalid, fmt::format("{}: \"{}\"", path, line)});
        continue;
      }
      const std::vector<Attribute> by = {{"postern.pressure.resource", resource},
                                         {"postern.pressure.scope", std::string(fields[0])}};
      sample.gauge("postern.pressure.utilization", "1", *share / 100, by);
      sample.counter("postern.pressure.time", "s", *total / 1e6, by);
    }
  }
  return {};
}

}  // namespace postern
