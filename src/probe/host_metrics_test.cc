#include "probe/host_metrics.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "probe/collectors.h"

namespace postern {
namespace {

constexpr const char* kStat =
    "cpu  1000 200 300 4000 50 6 7 80 9 0\n"
    "cpu0 500 100 150 2000 25 3 3 40 5 0\n"
    "cpu1 500 100 150 2000 25 3 4 40 4 0\n"
    "intr 12345 1 2 3\nctxt 99\nbtime 1690000000\nprocesses 4321\nprocs_running 2\n";

constexpr const char* kMeminfo =
    "MemTotal:        8000000 kB\nMemFree:         1000000 kB\nMemAvailable:    5000000 kB\n"
    "Buffers:          200000 kB\nCached:          3000000 kB\nSwapCached:            7 kB\n"
    "SwapTotal:       1000000 kB\nSwapFree:         750000 kB\n";

constexpr const char* kNetDev =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier compressed\n"
    "    lo:    3267      29    0    0    0     0          0         0     3267      29    0    0"
    "    0     0       0          0\n"
    "  eth0:37237101 802 3 4 0 0 0 0 41483 528 5 6 0 0 0 0\n";

FakeSource machine() {
  FakeSource source;
  source.files["/proc/stat"] = kStat;
  source.files["/proc/meminfo"] = kMeminfo;
  source.files["/proc/loadavg"] = "0.50 1.25 2.00 1/88 9876\n";
  source.files["/proc/uptime"] = "3600.25 7000.00\n";
  source.files["/proc/net/dev"] = kNetDev;
  source.files["/proc/mounts"] =
      "proc /proc proc rw 0 0\n"
      "/dev/sda1 / ext4 rw,relatime 0 0\n"
      "tmpfs /run tmpfs rw 0 0\n"
      "/dev/sda1 /var/lib/bind ext4 rw 0 0\n"
      "/dev/sdb1 /data\\040and\\134more xfs ro,noatime 0 0\n"
      "filer:/x /net nfs4 rw 0 0\n"
      "gvfsd /home/fuse fuse.gvfsd rw 0 0\n";
  source.spaces["/"] = {1000, 400, 300};
  source.spaces["/data and\\more"] = {2000, 500, 500};
  source.directories["/proc"] = {"1", "42", "self", "4x", "sys"};
  source.directories["/sys/block"] = {"sda", "loop0", "ram0", "cciss!c0d0"};
  source.files["/proc/diskstats"] =
      "   8       0 sda 10 1 20 30 40 2 50 60 0 1500 90 0 0 0 0\n"
      "   8       1 sda1 9 1 18 30 40 2 50 60 0 1500 90\n"
      "   7       0 loop0 1 1 1 1 1 1 1 1 0 1 1\n"
      " 104       0 cciss/c0d0 1 0 2 0 3 0 4 0 0 5 0\n";
  return source;
}

using Value = decltype(Measurement::value);

/// The one measurement of that name with these text attributes among its own.
const Measurement* find(const Collected& in, const std::string& name,
                        const std::vector<std::pair<std::string, std::string>>& by = {}) {
  const Measurement* found = nullptr;
  for (const Measurement& measurement : in.measurements) {
    if (measurement.name != name) continue;
    bool matches = true;
    for (const auto& [key, value] : by)
      matches = matches && find_text(measurement.attributes, key) == value;
    if (!matches) continue;
    EXPECT_EQ(found, nullptr) << name << " stands there twice";
    found = &measurement;
  }
  EXPECT_NE(found, nullptr) << name;
  static const Measurement kNone;
  return found != nullptr ? found : &kNone;
}

std::int64_t integer(const Measurement* m) {
  const auto* value = std::get_if<std::int64_t>(&m->value);
  EXPECT_NE(value, nullptr) << m->name << " is no integer";
  return value != nullptr ? *value : -1;
}
double real(const Measurement* m) {
  const auto* value = std::get_if<double>(&m->value);
  EXPECT_NE(value, nullptr) << m->name << " is no double";
  return value != nullptr ? *value : -1;
}

class HostMetricsTest : public testing::Test {
 protected:
  FakeSource source = machine();
  FakeClock clock;
  HostMetrics metrics{source, clock};
};

TEST_F(HostMetricsTest, AWholeMachineHasNoProblems) {
  const auto all = metrics.collect();
  for (const Problem& problem : all.problems) ADD_FAILURE() << problem.error.message;
  for (const Measurement& measurement : all.measurements) {
    EXPECT_EQ(measurement.time, clock.wall());
    EXPECT_EQ(measurement.start.has_value(), measurement.kind != MeasurementKind::gauge);
    EXPECT_FALSE(measurement.unit.empty()) << measurement.name;
  }
}

TEST_F(HostMetricsTest, ProcessorTimeIsInSecondsSinceBoot) {
  const auto all = metrics.collect();
  const auto* user = find(all, "system.cpu.time", {{"cpu.mode", "user"}});
  EXPECT_EQ(real(user), 10.0);
  EXPECT_EQ(user->kind, MeasurementKind::monotonic_sum);
  EXPECT_EQ(user->unit, "s");
  EXPECT_EQ(user->start, wall_from_ms(1'690'000'000'000));
  EXPECT_EQ(real(find(all, "system.cpu.time", {{"cpu.mode", "nice"}})), 2.0);
  EXPECT_EQ(real(find(all, "system.cpu.time", {{"cpu.mode", "system"}})), 3.0);
  EXPECT_EQ(real(find(all, "system.cpu.time", {{"cpu.mode", "idle"}})), 40.0);
  EXPECT_EQ(real(find(all, "system.cpu.time", {{"cpu.mode", "iowait"}})), 0.5);
  EXPECT_EQ(real(find(all, "system.cpu.time", {{"cpu.mode", "interrupt"}})), 0.13);
  EXPECT_EQ(real(find(all, "system.cpu.time", {{"cpu.mode", "steal"}})), 0.8);
  EXPECT_EQ(integer(find(all, "system.cpu.logical.count")), 2);
}

TEST_F(HostMetricsTest, UtilizationIsOverTheTimeSinceTheLastCall) {
  for (const Measurement& measurement : metrics.collect().measurements)
    EXPECT_NE(measurement.name, "system.cpu.utilization");
  // 30 user, 60 idle, 10 steal; iowait stepped back, as it may.
  source.files["/proc/stat"] =
      "cpu  1030 200 300 4060 49 6 7 90 9 0\ncpu0 1\nbtime 5\nprocesses 1\n";
  const auto all = metrics.collect();
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "user"}})), 0.3);
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "idle"}})), 0.6);
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "steal"}})), 0.1);
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "iowait"}})), 0.0);
  // The start of the sums stays, whatever a clock that was set does to btime.
  EXPECT_EQ(find(all, "system.cpu.time", {{"cpu.mode", "user"}})->start,
            wall_from_ms(1'690'000'000'000));
}

TEST_F(HostMetricsTest, LoadUptimeAndProcesses) {
  const auto all = metrics.collect();
  EXPECT_EQ(real(find(all, "system.cpu.load_average.1m")), 0.5);
  EXPECT_EQ(real(find(all, "system.cpu.load_average.5m")), 1.25);
  EXPECT_EQ(real(find(all, "system.cpu.load_average.15m")), 2.0);
  EXPECT_EQ(real(find(all, "system.uptime")), 3600.25);
  EXPECT_EQ(integer(find(all, "system.process.count")), 2);
  EXPECT_EQ(integer(find(all, "system.process.created")), 4321);
}

TEST_F(HostMetricsTest, MemoryAndSwapAreInBytes) {
  const auto all = metrics.collect();
  const std::string state = "system.memory.state";
  EXPECT_EQ(integer(find(all, "system.memory.limit")), 8'000'000LL * 1024);
  EXPECT_EQ(integer(find(all, "system.memory.usage", {{state, "used"}})), 3'000'000LL * 1024);
  EXPECT_EQ(integer(find(all, "system.memory.usage", {{state, "free"}})), 1'000'000LL * 1024);
  EXPECT_EQ(integer(find(all, "system.memory.usage", {{state, "buffers"}})), 200'000LL * 1024);
  EXPECT_EQ(integer(find(all, "system.memory.usage", {{state, "cached"}})), 3'000'000LL * 1024);
  EXPECT_EQ(real(find(all, "system.memory.utilization", {{state, "used"}})), 0.375);
  EXPECT_EQ(integer(find(all, "system.memory.linux.available")), 5'000'000LL * 1024);
  EXPECT_EQ(integer(find(all, "system.paging.usage", {{"system.paging.state", "used"}})),
            250'000LL * 1024);
  EXPECT_EQ(real(find(all, "system.paging.utilization", {{"system.paging.state", "free"}})), 0.75);
}

TEST_F(HostMetricsTest, AMachineWithoutSwapSaysZeroAndNoShare) {
  source.files["/proc/meminfo"] =
      "MemTotal: 10 kB\nMemFree: 4 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
  const auto all = metrics.collect();
  EXPECT_EQ(integer(find(all, "system.paging.usage", {{"system.paging.state", "free"}})), 0);
  EXPECT_EQ(integer(find(all, "system.memory.usage", {{"system.memory.state", "used"}})), 6 * 1024);
  for (const Measurement& measurement : all.measurements)
    EXPECT_NE(measurement.name, "system.paging.utilization");
}

TEST_F(HostMetricsTest, FileSystemsAreLocalOnesOnceEach) {
  const auto all = metrics.collect();
  const auto usage = [&](const char* mountpoint, const char* state) {
    return integer(
        find(all, "system.filesystem.usage",
             {{"system.filesystem.mountpoint", mountpoint}, {"system.filesystem.state", state}}));
  };
  EXPECT_EQ(usage("/", "used"), 600);
  EXPECT_EQ(usage("/", "free"), 300);
  EXPECT_EQ(usage("/", "reserved"), 100);
  EXPECT_EQ(usage("/data and\\more", "used"), 1500);
  EXPECT_EQ(real(find(all, "system.filesystem.utilization",
                      {{"system.device", "/dev/sda1"}, {"system.filesystem.state", "used"}})),
            0.6);
  const auto* limit = find(all, "system.filesystem.limit", {{"system.device", "/dev/sdb1"}});
  EXPECT_EQ(integer(limit), 2000);
  EXPECT_EQ(find_text(limit->attributes, "system.filesystem.type"), "xfs");
  EXPECT_EQ(find_text(limit->attributes, "system.filesystem.mode"), "ro");
  EXPECT_EQ(std::count_if(all.measurements.begin(), all.measurements.end(),
                          [](const auto& m) { return m.name == "system.filesystem.limit"; }),
            2);
}

TEST_F(HostMetricsTest, AFileSystemThatFailsDoesNotHideTheOthers) {
  source.spaces.erase("/");
  const auto all = metrics.collect();
  ASSERT_EQ(all.problems.size(), 1u);
  EXPECT_EQ(all.problems[0].collector, "file systems");
  EXPECT_EQ(integer(find(all, "system.filesystem.limit")), 2000);
}

TEST_F(HostMetricsTest, FileSystemsBeyondTheLimitAreAProblemNotASilence) {
  for (std::size_t i = 0; i < kFileSystemsMax; ++i) {
    const auto n = std::to_string(100 + i);
    source.files["/proc/mounts"] += fmt::format("/dev/x{0} /x{0} ext4 rw 0 0\n", n);
    source.spaces["/x" + n] = {10, 5, 5};
  }
  const auto all = metrics.collect();
  ASSERT_EQ(all.problems.size(), 1u);
  EXPECT_EQ(all.problems[0].error.message,
            "66 file systems are mounted, the first 64 are reported");
}

TEST_F(HostMetricsTest, DisksAreWholeOnes) {
  const auto all = metrics.collect();
  const auto by = [](const char* disk, const char* direction) {
    return std::vector<std::pair<std::string, std::string>>{{"system.device", disk},
                                                            {"disk.io.direction", direction}};
  };
  EXPECT_EQ(integer(find(all, "system.disk.io", by("sda", "read"))), 20 * 512);
  EXPECT_EQ(integer(find(all, "system.disk.io", by("sda", "write"))), 50 * 512);
  EXPECT_EQ(integer(find(all, "system.disk.operations", by("sda", "read"))), 10);
  EXPECT_EQ(integer(find(all, "system.disk.operations", by("sda", "write"))), 40);
  EXPECT_EQ(real(find(all, "system.disk.io_time", {{"system.device", "sda"}})), 1.5);
  EXPECT_EQ(integer(find(all, "system.disk.io", by("cciss/c0d0", "write"))), 4 * 512);
  EXPECT_EQ(std::count_if(all.measurements.begin(), all.measurements.end(),
                          [](const auto& m) { return m.name == "system.disk.io_time"; }),
            2);
}

TEST_F(HostMetricsTest, NetworkCountsBothDirectionsWithoutLoopback) {
  const auto all = metrics.collect();
  const auto value = [&](const char* name, const char* direction) {
    return integer(
        find(all, name, {{"network.interface.name", "eth0"}, {"network.io.direction", direction}}));
  };
  EXPECT_EQ(value("system.network.io", "receive"), 37237101);
  EXPECT_EQ(value("system.network.io", "transmit"), 41483);
  EXPECT_EQ(value("system.network.packet.count", "receive"), 802);
  EXPECT_EQ(value("system.network.packet.count", "transmit"), 528);
  EXPECT_EQ(value("system.network.errors", "receive"), 3);
  EXPECT_EQ(value("system.network.errors", "transmit"), 5);
  EXPECT_EQ(value("system.network.packet.dropped", "receive"), 4);
  EXPECT_EQ(value("system.network.packet.dropped", "transmit"), 6);
  EXPECT_EQ(std::count_if(all.measurements.begin(), all.measurements.end(),
                          [](const auto& m) { return m.name == "system.network.io"; }),
            2);
}

// Each file is missing, empty, or something else once: the rest of the machine is still seen.
TEST_F(HostMetricsTest, OneBrokenFileIsAProblemAndTheOthersGoOn) {
  const auto whole = machine();
  for (const auto& [path, text] : whole.files) {
    for (const char* broken :
         {"-", "", "\n", "cpu \ncpu\n: \n", "cpu x y z 1 2 3 4 5\nMemTotal: x\n"}) {
      source = whole;
      if (*broken == '-')
        source.files.erase(path);
      else
        source.files[path] = broken;
      const auto all = HostMetrics(source, clock).collect();
      EXPECT_GE(all.measurements.size(), 20u) << path;
      if (*broken == '-') {
        EXPECT_FALSE(all.problems.empty()) << path;
      }
      for (const Problem& problem : all.problems) EXPECT_FALSE(problem.error.message.empty());
    }
  }
}

// Against the real machine, read a second time by other means.
TEST(HostMetricsLive, MemoryLimitIsWhatTheKernelSays) {
  std::ifstream meminfo("/proc/meminfo");
  std::string label, unit;
  std::int64_t kib = 0;
  meminfo >> label >> kib >> unit;
  ASSERT_EQ(label, "MemTotal:");
  const SystemSource source;
  const SystemClock clock;
  const auto all = HostMetrics(source, clock).collect();
  EXPECT_EQ(integer(find(all, "system.memory.limit")), kib * 1024);
  EXPECT_GT(real(find(all, "system.uptime")), 0);
  EXPECT_GT(integer(find(all, "system.process.count")), 0);
}

}  // namespace
}  // namespace postern
