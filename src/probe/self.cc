#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

constexpr std::size_t kUserTicks = 11, kSystemTicks = 12, kThreads = 17;  // behind "PID (NAME) "

}  // namespace

/// What this process itself takes, as postern.ROLE.*. Reads of the kernel's memory only: it may run
/// on an event loop.
Result<> collect_self(Sample& sample) {
  const std::string prefix = "postern." + sample.observer.role + ".";
  const auto memory = sample.source.read("/proc/self/statm");
  if (!memory) return std::unexpected(memory.error());
  const auto pages = split_fields(trim(*memory));
  const auto resident = pages.size() > 1 ? to_unsigned(pages[1]) : std::nullopt;
  if (!resident) return fail(Errc::invalid, "/proc/self/statm is \"{}\"", trim(*memory));
  sample.gauge(prefix + "memory.resident", "By",
               to_integer(*resident * sample.source.kernel().value_or(KernelInfo{}).page_bytes));

  const auto stat = sample.source.read("/proc/self/stat");
  if (!stat) return std::unexpected(stat.error());
  const std::size_t name_end = stat->rfind(')');
  const auto fields = name_end == std::string::npos
                          ? std::vector<std::string_view>()
                          : split_fields(trim(std::string_view(*stat).substr(name_end + 1)));
  const auto number = [&](std::size_t i) {
    return i < fields.size() ? to_unsigned(fields[i]) : std::nullopt;
  };
  const auto user = number(kUserTicks), system = number(kSystemTicks), threads = number(kThreads);
  if (!user || !system || !threads)
    return fail(Errc::invalid, "/proc/self/stat is \"{}\"", trim(*stat));
  sample.counter(prefix + "cpu.time", "s", static_cast<double>(*user + *system) / kTicksPerSecond);
  sample.gauge(prefix + "threads", "{thread}", to_integer(*threads));
  return {};
}

}  // namespace postern
