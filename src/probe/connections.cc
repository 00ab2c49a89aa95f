#include <array>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

// By the kernel's numbers, from 1 on; what it calls NEW_SYN_RECV is one of syn_received.
constexpr std::array<const char*, 12> kStates = {
    "established", "syn_sent",   "syn_received", "fin_wait_1", "fin_wait_2", "time_wait",
    "closed",      "close_wait", "last_ack",     "listen",     "closing",    "syn_received"};
constexpr std::size_t kStatesNamed = 11;

using Counts = std::array<std::uint64_t, kStatesNamed>;

/// "TCP: inuse 5 orphan 0 tw 3 alloc 8 mem 2": the number after `key` on the line that begins with
/// `protocol`.
std::uint64_t in_sockstat(std::string_view text, std::string_view protocol, std::string_view key) {
  for (const std::string_view line : split_lines(text)) {
    const auto fields = split_fields(line);
    if (fields.empty() || fields[0] != protocol) continue;
    for (std::size_t i = 1; i + 1 < fields.size(); i += 2)
      if (fields[i] == key) return to_unsigned(fields[i + 1]).value_or(0);
  }
  return 0;
}

/// The state, two hexadecimal digits, is the fourth field of "  sl local remote st ...". Looked for
/// by hand: there may be tens of thousands of lines.
void count_state(std::string_view line, Counts& counts) {
  const auto digit = [](char c) -> std::size_t {
    if (c >= '0' && c <= '9') return static_cast<std::size_t>(c - '0');
    if (c >= 'A' && c <= 'F') return static_cast<std::size_t>(c - 'A') + 10;
    return kStates.size();
  };
  // The remote address ends with its port: ":" and four digits, a blank, the state.
  const std::size_t first = line.find(':');
  const std::size_t local = line.find(':', first + 1);
  const std::size_t remote = line.find(':', local + 1);
  if (first == std::string_view::npos || local == std::string_view::npos ||
      remote == std::string_view::npos || remote + 7 >= line.size())
    return;
  const std::size_t number = digit(line[remote + 6]) * 16 + digit(line[remote + 7]);
  if (number >= 1 && number <= kStates.size()) ++counts[number == kStates.size() ? 2 : number - 1];
}

void report(Sample& sample, const char* transport, const char* state, std::uint64_t count) {
  std::vector<Attribute> by = {{"network.transport", transport}};
  if (state != nullptr) by.push_back({"network.connection.state", state});
  sample.sum("system.network.connection.count", "{connection}", count, std::move(by));
}

}  // namespace

/// Both families together. The kernel counts cheaply how many there are; only when they are not too
/// many they are told apart by state, which costs a line of text each.
Result<> collect_connections(Sample& sample) {
  const auto v4 = sample.source.read("/proc/net/sockstat");
  if (!v4) return std::unexpected(v4.error());
  const auto v6 = sample.source.read("/proc/net/sockstat6");  // not there without IPv6
  const std::uint64_t waiting = in_sockstat(*v4, "TCP:", "tw");
  std::uint64_t tcp = in_sockstat(*v4, "TCP:", "inuse");
  std::uint64_t udp = in_sockstat(*v4, "UDP:", "inuse");
  if (v6) {
    tcp += in_sockstat(*v6, "TCP6:", "inuse");
    udp += in_sockstat(*v6, "UDP6:", "inuse");
  }
  report(sample, "udp", nullptr, udp);
  if (tcp + waiting > kConnectionsMax) {
    report(sample, "tcp", nullptr, tcp);
    report(sample, "tcp", "time_wait", waiting);
    sample.problem({Errc::exhausted,
                    fmt::format("{} TCP connections, beyond {} they are not told apart by state",
                                tcp + waiting, kConnectionsMax)});
    return {};
  }
  Counts counts{};
  const auto count = [&](std::string_view line) { count_state(line, counts); };
  if (auto read = sample.source.each_line("/proc/net/tcp", count); !read) return read;
  // Not there without IPv6.
  if (sample.source.exists("/proc/net/tcp6"))
    if (auto read = sample.source.each_line("/proc/net/tcp6", count); !read) return read;
  for (std::size_t i = 0; i < counts.size(); ++i) report(sample, "tcp", kStates[i], counts[i]);
  return {};
}

}  // namespace postern
