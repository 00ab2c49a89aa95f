#include <algorithm>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

void report_states(Sample& sample, const char* usage, const char* utilization, const char* key,
                   std::uint64_t total,
                   std::initializer_list<std::pair<const char*, std::uint64_t>> states) {
  for (const auto& [state, bytes] : states) sample.sum(usage, "By", bytes, {{key, state}});
  if (total == 0) return;
  for (const auto& [state, bytes] : states)
    sample.gauge(utilization, "1", static_cast<double>(bytes) / static_cast<double>(total),
                 {{key, state}});
}

}  // namespace

Result<> collect_memory(Sample& sample) {
  const auto text = sample.source.read("/proc/meminfo");
  if (!text) return std::unexpected(text.error());
  const auto total = meminfo_bytes(*text, "MemTotal");
  const auto free = meminfo_bytes(*text, "MemFree");
  if (!total || !free) return fail(Errc::invalid, "/proc/meminfo has no MemTotal or no MemFree");
  const std::uint64_t buffers = meminfo_bytes(*text, "Buffers").value_or(0);
  const std::uint64_t cached = meminfo_bytes(*text, "Cached").value_or(0);
  const auto available = meminfo_bytes(*text, "MemAvailable");  // not in every container
  const std::uint64_t not_used = available.value_or(*free + buffers + cached);
  const std::uint64_t used = *total - std::min(*total, not_used);

  sample.sum("system.memory.limit", "By", *total);
  report_states(sample, "system.memory.usage", "system.memory.utilization", "system.memory.state",
                *total,
                {{"used", used}, {"free", *free}, {"buffers", buffers}, {"cached", cached}});
  if (available) sample.sum("system.memory.linux.available", "By", *available);
  return {};
}

/// All swap areas together, so without system.device; zero and zero when there is no swap.
Result<> collect_swap(Sample& sample) {
  const auto text = sample.source.read("/proc/meminfo");
  if (!text) return std::unexpected(text.error());
  const auto total = meminfo_bytes(*text, "SwapTotal");
  const auto free = meminfo_bytes(*text, "SwapFree");
  if (!total || !free) return fail(Errc::invalid, "/proc/meminfo has no SwapTotal or no SwapFree");
  report_states(sample, "system.paging.usage", "system.paging.utilization", "system.paging.state",
                *total, {{"used", *total - std::min(*total, *free)}, {"free", *free}});
  return {};
}

}  // namespace postern
