#include <algorithm>
#include <array>
#include <optional>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

constexpr double kMillisecondsPerSecond = 1000;

/// The numbers of `fields` from `first` on; nothing when there are fewer than N.
template <std::size_t N>
std::optional<std::array<std::uint64_t, N>> numbers(const std::vector<std::string_view>& fields,
                                                    std::size_t first) {
  if (fields.size() < first + N) return std::nullopt;
  std::array<std::uint64_t, N> values{};
  for (std::size_t i = 0; i < N; ++i) {
    const auto value = to_unsigned(fields[first + i]);
    if (!value) return std::nullopt;
    values[i] = *value;
  }
  return values;
}

}  // namespace

bool is_real_disk(std::string_view name) {
  for (const std::string_view prefix : {"loop", "ram", "zram", "sr", "fd"})
    if (name.starts_with(prefix)) return false;
  return true;
}

/// major minor name, then reads: done merged sectors ms, writes: done merged sectors ms, in flight,
/// ms busy, ... Partitions stand there too; whole disks are those in /sys/block.
Result<> collect_disks(Sample& sample) {
  auto whole = sample.source.list("/sys/block");
  if (!whole) return std::unexpected(whole.error());
  for (std::string& name : *whole) std::replace(name.begin(), name.end(), '!', '/');
  const auto text = sample.source.read("/proc/diskstats");
  if (!text) return std::unexpected(text.error());

  std::size_t disks = 0;
  for (const std::string_view line : split_lines(*text)) {
    const auto fields = split_fields(line);
    if (fields.size() < 3 || !is_real_disk(fields[2])) continue;
    if (std::find(whole->begin(), whole->end(), fields[2]) == whole->end()) continue;
    const auto values = numbers<10>(fields, 3);
    if (!values) {
      sample.problem({Errc::invalid, fmt::format("/proc/diskstats: \"{}\"", line)});
      continue;
    }
    if (++disks > kDisksMax) {
      sample.problem(over_limit("disks", kDisksMax));
      break;
    }
    const std::string device(fields[2]);
    const auto by = [&](const char* direction) {
      return std::vector<Attribute>{{"system.device", device}, {"disk.io.direction", direction}};
    };
    const auto& v = *values;
    sample.counter("system.disk.io", "By", to_integer(v[2] * kSectorBytes), by("read"));
    sample.counter("system.disk.io", "By", to_integer(v[6] * kSectorBytes), by("write"));
    sample.counter("system.disk.operations", "{operation}", to_integer(v[0]), by("read"));
    sample.counter("system.disk.operations", "{operation}", to_integer(v[4]), by("write"));
    sample.counter("system.disk.merged", "{operation}", to_integer(v[1]), by("read"));
    sample.counter("system.disk.merged", "{operation}", to_integer(v[5]), by("write"));
    sample.counter("system.disk.operation_time", "s",
                   static_cast<double>(v[3]) / kMillisecondsPerSecond, by("read"));
    sample.counter("system.disk.operation_time", "s",
                   static_cast<double>(v[7]) / kMillisecondsPerSecond, by("write"));
    sample.counter("system.disk.io_time", "s", static_cast<double>(v[9]) / kMillisecondsPerSecond,
                   {{"system.device", device}});
  }
  return {};
}

/// Two lines of headings, then "name: " and received bytes packets errs drop fifo frame compressed
/// multicast, transmitted bytes packets errs drop ... The loopback interface is left out.
Result<> collect_network(Sample& sample) {
  const auto text = sample.source.read("/proc/net/dev");
  if (!text) return std::unexpected(text.error());
  std::size_t interfaces = 0;
  for (const std::string_view line : split_lines(*text)) {
    const std::size_t colon = line.rfind(':');
    if (colon == std::string_view::npos) continue;
    const std::string name(trim(line.substr(0, colon)));
    if (name == "lo") continue;
    const auto values = numbers<12>(split_fields(line.substr(colon + 1)), 0);
    if (!values) {
      sample.problem({Errc::invalid, fmt::format("/proc/net/dev: \"{}\"", line)});
      continue;
    }
    if (++interfaces > kInterfacesMax) {
      sample.problem(over_limit("network interfaces", kInterfacesMax));
      break;
    }
    const auto by = [&](const char* direction) {
      return std::vector<Attribute>{{"network.interface.name", name},
                                    {"network.io.direction", direction}};
    };
    const auto both = [&](const char* metric, const char* unit, std::size_t column) {
      constexpr std::size_t kTransmit = 8;
      sample.counter(metric, unit, to_integer((*values)[column]), by("receive"));
      sample.counter(metric, unit, to_integer((*values)[column + kTransmit]), by("transmit"));
    };
    both("system.network.io", "By", 0);
    both("system.network.packet.count", "{packet}", 1);
    both("system.network.errors", "{error}", 2);
    both("system.network.packet.dropped", "{packet}", 3);
  }
  return {};
}

}  // namespace postern
