// What the kernel prints, were it to print anything: the agent's collectors.

#include "fuzz/target.h"
#include "model/payload.h"
#include "probe/inventory.h"
#include "probe/probe.h"
#include "probe/text.h"

namespace postern::fuzz {
namespace {

constexpr const char* kFiles[] = {
    "/proc/stat",          "/proc/loadavg",
    "/proc/meminfo",       "/proc/diskstats",
    "/proc/net/dev",       "/proc/uptime",
    "/proc/mounts",        "/proc/swaps",
    "/proc/cpuinfo",       "/etc/os-release",
    "/etc/machine-id",     "/proc/1/stat",
    "/proc/self/stat",     "/proc/self/statm",
    "/proc/pressure/io",   "/proc/net/sockstat",
    "/proc/net/tcp",       "/sys/class/hwmon/hwmon0/temp1_input",
    "/sys/block/sda/size", "/var/lib/update-notifier/updates-available"};

}  // namespace

void one_input(ByteView bytes) {
  static const SystemClock clock;
  Input in(bytes);
  FakeSource source;
  source.kernel_found = {"Linux", "6.1", "#1", "x86_64"};
  source.directories["/proc"] = {"1", "self", "x"};
  source.directories["/sys/class/hwmon"] = {"hwmon0"};
  source.directories["/sys/class/hwmon/hwmon0"] = {"temp1_input"};
  source.directories["/sys/block"] = {"sda"};
  source.directories["/run/systemd/system"] = {};
  for (std::size_t i = 0; i < std::size(kFiles) && !in.empty(); ++i) {
    const char* file = kFiles[in.u8() % std::size(kFiles)];
    source.files[file] = as_text(in.piece());
    source.programs["/bin/systemctl"] = source.files[file];
  }
  const Observer observer{"a1.dmz.example", "agent", "1.0"};
  const auto shared = std::make_shared<FakeSource>(std::move(source));
  std::vector<Measurement> measurements;
  for (const CollectorId id : all_collectors()) {
    Probe probe(id, shared, observer);
    (void)probe.collect(clock.wall());
    Collected collected = probe.collect(clock.wall());  // the second time there are differences
    for (const Error& problem : collected.problems)
      claim(!problem.message.empty(), "a problem has words");
    for (Measurement& one : collected.measurements) {
      claim(!one.name.empty() && one.name.size() < 128, "every measurement has a name");
      measurements.push_back(std::move(one));
    }
  }
  for (const auto run : split_for_payload({}, std::span<const Measurement>(measurements)))
    claim(run.size() > 1 || encode_metrics({}, run).has_value() ||
              encode_metrics({}, run).error().code == Errc::exhausted,
          "what was measured can be sent");
  const Inventory inventory = host_inventory(*shared, observer);
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
