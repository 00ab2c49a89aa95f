// What the kernel prints, were it to print anything: the agent's collectors.

#include "fuzz/target.h"
#include "model/payload.h"
#include "probe/host_metrics.h"
#include "probe/inventory.h"
#include "probe/text.h"

namespace postern::fuzz {
namespace {

constexpr const char* kFiles[] = {
    "/proc/stat",      "/proc/loadavg", "/proc/meminfo", "/proc/diskstats",  "/proc/net/dev",
    "/proc/uptime",    "/proc/mounts",  "/proc/swaps",   "/proc/cpuinfo",    "/etc/os-release",
    "/etc/machine-id", "/proc/1/stat",  "/proc/vmstat",  "/proc/filesystems"};

}  // namespace

void one_input(ByteView bytes) {
  static const SystemClock clock;
  Input in(bytes);
  FakeSource source;
  source.kernel_found = {"Linux", "6.1", "#1", "x86_64"};
  source.directories["/proc"] = {"1", "self", "x"};
  for (std::size_t i = 0; i < std::size(kFiles) && !in.empty(); ++i) {
    const char* file = kFiles[in.u8() % std::size(kFiles)];
    source.files[file] = as_text(in.piece());
  }
  HostMetrics metrics(source, clock);
  (void)metrics.collect();
  const Collected collected = metrics.collect();  // the second time there are differences
  for (const Problem& problem : collected.problems)
    claim(!problem.collector.empty() && !problem.error.message.empty(), "a problem has words");
  for (const Measurement& one : collected.measurements)
    claim(!one.name.empty() && one.name.size() < 128, "every measurement has a name");
  for (const auto run : split_for_payload({}, collected.measurements))
    claim(run.size() > 1 || encode_metrics({}, run).has_value() ||
              encode_metrics({}, run).error().code == Errc::exhausted,
          "what was measured can be sent");
  const Inventory inventory = host_inventory(source, "a1.dmz.example");
  claim(find_text(inventory.host.id, "host.name") == "a1.dmz.example", "the node's own name");
}

std::vector<Bytes> seeds() {
  const std::pair<std::uint8_t, const char*> files[] = {
      {0,
       "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nbtime 1700000000\nprocesses 7\n"
       "procs_running 1\nprocs_blocked 0\n"},
      {1, "0.10 0.20 0.30 1/234 5678\n"},
      {2,
       "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 500 kB\nBuffers: 1 kB\nCached: 2 kB\n"
       "SwapTotal: 10 kB\nSwapFree: 5 kB\nSReclaimable: 3 kB\n"},
      {3, "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"},
      {4, "Inter-|   Receive\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"},
      {5, "12345.67 23456.78\n"},
      {6, "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n"},
      {9, "NAME=\"Debian\"\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"}};
  Writer all;
  for (const auto& [file, text] : files) {
    all.u8(file);
    put_piece(all, as_bytes(text));
  }
  return {all.take()};
}

}  // namespace postern::fuzz
