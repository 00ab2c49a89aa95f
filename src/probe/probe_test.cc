#include "probe/probe.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "probe/test_machine.h"

namespace postern {
namespace {

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

const Observer kObserver = test_observer();

/// All collectors of a machine, one after the other.
class Everything {
 public:
  explicit Everything(std::shared_ptr<const Source> source) {
    for (const CollectorId id : all_collectors())
      probes_.push_back(std::make_unique<Probe>(id, source, kObserver));
  }
  Collected collect(WallTime now) {
    Collected all;
    for (const CollectorId id : all_collectors()) {
      Collected one = probes_[index_of(id)]->collect(now);
      for (Measurement& m : one.measurements) all.measurements.push_back(std::move(m));
      for (EntityState& e : one.entities) all.entities.push_back(std::move(e));
      for (Error& e : one.problems) all.problems.push_back(std::move(e));
    }
    return all;
  }

 private:
  std::vector<std::unique_ptr<Probe>> probes_;
};

class ProbeTest : public testing::Test {
 protected:
  Collected collect() { return everything_.collect(clock.wall()); }
  Collected collect_one(CollectorId id) {
    return Probe(id, shared_, kObserver).collect(clock.wall());
  }

  const std::shared_ptr<FakeSource> shared_ = std::make_shared<FakeSource>(test_machine());
  FakeSource& source = *shared_;
  FakeClock clock;

 private:
  Everything everything_{shared_};
};

TEST_F(ProbeTest, AWholeMachineHasNoProblems) {
  const auto all = collect();
  for (const Error& problem : all.problems) ADD_FAILURE() << problem.message;
  for (const Measurement& measurement : all.measurements) {
    EXPECT_EQ(measurement.time, clock.wall());
    EXPECT_EQ(measurement.start.has_value(), measurement.kind != MeasurementKind::gauge);
    EXPECT_FALSE(measurement.unit.empty()) << measurement.name;
  }
}

TEST_F(ProbeTest, ProcessorTimeIsInSecondsSinceBoot) {
  const auto all = collect();
  const auto time = [&](const char* mode, std::int64_t processor) {
    const Measurement* found = nullptr;
    for (const Measurement& m : all.measurements)
      if (m.name == "system.cpu.time" && find_text(m.attributes, "cpu.mode") == mode &&
          m.attributes.back() == Attribute{"cpu.logical_number", processor})
        found = &m;
    EXPECT_NE(found, nullptr) << mode << processor;
    static const Measurement kNone;
    return found != nullptr ? found : &kNone;
  };
  const auto* user = time("user", 1);
  EXPECT_EQ(real(user), 5.0);
  EXPECT_EQ(user->kind, MeasurementKind::monotonic_sum);
  EXPECT_EQ(user->unit, "s");
  EXPECT_EQ(user->start, wall_from_ms(1'690'000'000'000));
  EXPECT_EQ(real(time("nice", 0)), 1.0);
  EXPECT_EQ(real(time("system", 0)), 1.5);
  EXPECT_EQ(real(time("idle", 1)), 20.0);
  EXPECT_EQ(real(time("iowait", 0)), 0.25);
  EXPECT_EQ(real(time("interrupt", 1)), 0.07);
  EXPECT_EQ(real(time("steal", 1)), 0.4);
  double all_user = 0;
  for (const Measurement& m : all.measurements)
    if (m.name == "system.cpu.time" && find_text(m.attributes, "cpu.mode") == "user")
      all_user += real(&m);
  EXPECT_EQ(all_user, 10.0) << "the sum over the processors is the machine's";
  EXPECT_EQ(integer(find(all, "system.cpu.logical.count")), 2);
}

TEST_F(ProbeTest, OfTooManyProcessorsThereIsOnlyTheirSum) {
  std::string stat = "cpu  1000 200 300 4000 50 6 7 80 9 0\n";
  for (std::size_t i = 0; i <= kProcessorsMax; ++i)
    stat += fmt::format("cpu{} 1 1 1 1 1 1 1 1 0 0\n", i);
  source.files["/proc/stat"] = stat;
  const auto all = collect_one(CollectorId::cpu);
  EXPECT_EQ(real(find(all, "system.cpu.time", {{"cpu.mode", "user"}})), 10.0);
  EXPECT_EQ(integer(find(all, "system.cpu.logical.count")), kProcessorsMax + 1);
}

TEST_F(ProbeTest, UtilizationIsOverTheTimeSinceTheLastCall) {
  for (const Measurement& measurement : collect().measurements)
    EXPECT_NE(measurement.name, "system.cpu.utilization");
  // 30 user, 60 idle, 10 steal; iowait stepped back, as it may.
  source.files["/proc/stat"] =
      "cpu  1030 200 300 4060 49 6 7 90 9 0\ncpu0 1 2 3 4 5 6 7 8\nbtime 5\nprocesses 1\n";
  const auto all = collect();
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "user"}})), 0.3);
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "idle"}})), 0.6);
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "steal"}})), 0.1);
  EXPECT_EQ(real(find(all, "system.cpu.utilization", {{"cpu.mode", "iowait"}})), 0.0);
  // The start of the sums stays, whatever a clock that was set does to btime.
  EXPECT_EQ(find(all, "system.cpu.time", {{"cpu.mode", "user"}})->start,
            wall_from_ms(1'690'000'000'000));
}

TEST_F(ProbeTest, LoadUptimeAndProcesses) {
  const auto all = collect();
  EXPECT_EQ(real(find(all, "system.cpu.load_average.1m")), 0.5);
  EXPECT_EQ(real(find(all, "system.cpu.load_average.5m")), 1.25);
  EXPECT_EQ(real(find(all, "system.cpu.load_average.15m")), 2.0);
  EXPECT_EQ(real(find(all, "system.uptime")), 3600.25);
  EXPECT_EQ(integer(find(all, "system.process.count", {{"process.state", "sleeping"}})), 1);
  EXPECT_EQ(integer(find(all, "system.process.count", {{"process.state", "blocked"}})), 1);
  EXPECT_EQ(integer(find(all, "system.process.count", {{"process.state", "defunct"}})), 0);
  EXPECT_EQ(integer(find(all, "system.process.created")), 4321);
}

TEST_F(ProbeTest, MemoryAndSwapAreInBytes) {
  const auto all = collect();
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

TEST_F(ProbeTest, AMachineWithoutSwapSaysZeroAndNoShare) {
  source.files["/proc/meminfo"] =
      "MemTotal: 10 kB\nMemFree: 4 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
  const auto all = collect();
  EXPECT_EQ(integer(find(all, "system.paging.usage", {{"system.paging.state", "free"}})), 0);
  EXPECT_EQ(integer(find(all, "system.memory.usage", {{"system.memory.state", "used"}})), 6 * 1024);
  for (const Measurement& measurement : all.measurements)
    EXPECT_NE(measurement.name, "system.paging.utilization");
}

TEST_F(ProbeTest, FileSystemsAreLocalOnesOnceEach) {
  const auto all = collect();
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
  const auto local = collect_one(CollectorId::filesystems);
  EXPECT_EQ(
      integer(find(local, "system.filesystem.inodes.usage", {{"system.filesystem.state", "used"}})),
      30)
      << "of / alone";
  EXPECT_EQ(std::count_if(local.measurements.begin(), local.measurements.end(),
                          [](const auto& m) { return m.name == "system.filesystem.limit"; }),
            2);
}

// Theirs may hang: they are asked apart from the local ones.
TEST_F(ProbeTest, RemoteFileSystemsAreACollectorOfTheirOwn) {
  const auto remote = collect_one(CollectorId::remote_filesystems);
  const auto* limit = find(remote, "system.filesystem.limit");
  EXPECT_EQ(integer(limit), 5000);
  EXPECT_EQ(find_text(limit->attributes, "system.device"), "filer:/x");
  EXPECT_TRUE(may_block(CollectorId::remote_filesystems));
}

TEST_F(ProbeTest, AFileSystemThatFailsDoesNotHideTheOthers) {
  source.spaces.erase("/");
  const auto all = collect_one(CollectorId::filesystems);
  ASSERT_EQ(all.problems.size(), 1u);
  EXPECT_EQ(integer(find(all, "system.filesystem.limit")), 2000);
}

TEST_F(ProbeTest, FileSystemsBeyondTheLimitAreAProblemNotASilence) {
  for (std::size_t i = 0; i < kFileSystemsMax; ++i) {
    const auto n = std::to_string(100 + i);
    source.files["/proc/mounts"] += fmt::format("/dev/x{0} /x{0} ext4 rw 0 0\n", n);
    source.spaces["/x" + n] = {10, 5, 5};
  }
  const auto all = collect();
  ASSERT_EQ(all.problems.size(), 1u);
  EXPECT_EQ(all.problems[0].message, "66 file systems are mounted, the first 64 are reported");
}

TEST_F(ProbeTest, DisksAreWholeOnes) {
  const auto all = collect();
  EXPECT_EQ(real(find(all, "system.disk.operation_time",
                      {{"system.device", "sda"}, {"disk.io.direction", "write"}})),
            0.06);
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

TEST_F(ProbeTest, NetworkCountsBothDirectionsWithoutLoopback) {
  const auto all = collect();
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

TEST_F(ProbeTest, PressureIsAShareAndATime) {
  const auto all = collect_one(CollectorId::pressure);
  const std::vector<std::pair<std::string, std::string>> by = {{"postern.pressure.resource", "io"},
                                                               {"postern.pressure.scope", "some"}};
  EXPECT_EQ(real(find(all, "postern.pressure.utilization", by)), 0.025);
  EXPECT_EQ(real(find(all, "postern.pressure.time", by)), 1.5);
}

TEST_F(ProbeTest, WhatAMachineDoesNotHaveIsNoProblem) {
  for (const char* resource : {"cpu", "memory", "io"})
    source.files.erase(std::string("/proc/pressure/") + resource);
  source.directories.erase("/sys/class/hwmon");
  source.directories.erase("/run/systemd/system");
  for (const CollectorId id :
       {CollectorId::pressure, CollectorId::temperature, CollectorId::units}) {
    const auto none = collect_one(id);
    EXPECT_TRUE(none.measurements.empty()) << name_of(id);
    EXPECT_TRUE(none.problems.empty()) << name_of(id);
  }
}

TEST_F(ProbeTest, ConnectionsAreCountedByStateOverBothFamilies) {
  const auto all = collect_one(CollectorId::connections);
  const auto tcp = [&](const char* state) {
    return integer(find(all, "system.network.connection.count",
                        {{"network.transport", "tcp"}, {"network.connection.state", state}}));
  };
  EXPECT_EQ(tcp("listen"), 2);
  EXPECT_EQ(tcp("established"), 1);
  EXPECT_EQ(tcp("time_wait"), 1);
  EXPECT_EQ(tcp("close_wait"), 0);
  EXPECT_EQ(integer(find(all, "system.network.connection.count", {{"network.transport", "udp"}})),
            7);
}

TEST_F(ProbeTest, BlankLinesAmongTheConnectionsAreNoConnections) {
  source.files["/proc/net/sockstat"] = "\n \nUDP: inuse 3 mem 1\n\n";
  source.files["/proc/net/sockstat6"] = "\n";
  const auto all = collect_one(CollectorId::connections);
  EXPECT_TRUE(all.problems.empty());
  EXPECT_EQ(integer(find(all, "system.network.connection.count", {{"network.transport", "udp"}})),
            3);
}

// A line of text each: a busy machine's would cost more than they tell.
TEST_F(ProbeTest, TooManyConnectionsAreNotTakenApart) {
  source.files["/proc/net/sockstat"] = "TCP: inuse 20000 orphan 0 tw 9000 alloc 8 mem 2\n";
  source.files.erase("/proc/net/tcp");
  const auto all = collect_one(CollectorId::connections);
  ASSERT_EQ(all.problems.size(), 1u);
  EXPECT_EQ(all.problems[0].message,
            "29001 TCP connections, beyond 25000 they are not told apart by state");
  EXPECT_EQ(integer(find(all, "system.network.connection.count",
                         {{"network.connection.state", "time_wait"}})),
            9000);
}

TEST_F(ProbeTest, TopConsumersAreNamesNotNumbersOfProcesses) {
  const auto first = collect();
  EXPECT_EQ(integer(find(first, "process.memory.usage", {{"process.executable.name", "systemd"}})),
            100 * 4096);
  for (const Measurement& m : first.measurements) EXPECT_NE(m.name, "process.cpu.utilization");
  // 100 ticks passed; the web server used 40 of them, a new process of its name 10, the kernel 20.
  source.files["/proc/stat"] = "cpu  1000 200 300 4100 50 6 7 80 9 0\nbtime 5\nprocesses 9\n";
  source.directories["/proc"] = {"42", "43", "2", "1"};
  source.files["/proc/42/stat"] = stat_of(42, "web (x) 1", 'R', 320, 220);
  source.files["/proc/43/stat"] = stat_of(43, "web (x) 1", 'R', 10, 0);
  source.files["/proc/2/stat"] = stat_of(2, "kworker/0:1", 'I', 20, 0, 0x00200000);
  const auto all = collect();
  const auto share = [&](const char* name) {
    return real(find(all, "process.cpu.utilization", {{"process.executable.name", name}}));
  };
  EXPECT_EQ(share("web (x) 1"), 0.5);
  EXPECT_EQ(share("(kernel)"), 0.2);
  EXPECT_EQ(integer(find(all, "process.memory.usage", {{"process.executable.name", "web (x) 1"}})),
            200 * 4096);
}

TEST_F(ProbeTest, OfManyProcessesOnlyTheTopAreNamed) {
  for (int pid = 100; pid < 150; ++pid) {
    source.directories["/proc"].push_back(std::to_string(pid));
    source.files[fmt::format("/proc/{}/stat", pid)] =
        stat_of(pid, fmt::format("p{}", pid).c_str(), 'S', pid, 0);
  }
  const auto all = collect_one(CollectorId::processes);
  EXPECT_EQ(std::count_if(all.measurements.begin(), all.measurements.end(),
                          [](const auto& m) { return m.name == "process.memory.usage"; }),
            kTopConsumersMax);
  EXPECT_EQ(integer(find(all, "system.process.count", {{"process.state", "sleeping"}})), 51);
}

TEST(TopNames, AreBoundedWhateverAMachineStarts) {
  TopNames names;
  const WallTime now = wall_from_ms(1'800'000'000'000);
  for (std::size_t i = 0; i < kTopNamesMax; ++i)
    EXPECT_EQ(names.admit(fmt::format("job-{}", i), now), fmt::format("job-{}", i));
  EXPECT_EQ(names.admit("job-x", now), "(other)");
  EXPECT_EQ(names.admit("job-7", now + std::chrono::hours(1)), "job-7");
  EXPECT_EQ(names.admit("job-x", now + std::chrono::hours(24)), "job-x") << "an old one made room";
  EXPECT_EQ(names.admit("job-7", now + std::chrono::hours(24)), "job-7") << "not the one in use";
}

TEST_F(ProbeTest, TheClockSaysWhetherItIsSynchronised) {
  const auto all = collect_one(CollectorId::clock);
  EXPECT_EQ(integer(find(all, "postern.clock.synchronised")), 1);
  EXPECT_EQ(real(find(all, "postern.clock.offset")), -0.000125);
}

TEST_F(ProbeTest, TemperaturesHaveNamesThatSurviveAReboot) {
  const auto all = collect_one(CollectorId::temperature);
  EXPECT_EQ(real(find(all, "hw.temperature", {{"hw.id", "coretemp/Package id 0"}})), 45.5);
  EXPECT_EQ(real(find(all, "hw.temperature", {{"hw.id", "freezer/temp1"}})), -18.0);
  EXPECT_TRUE(all.problems.empty()) << "one of several sensors that sleeps is no problem";
  source.files.erase("/sys/class/hwmon/hwmon0/temp1_input");
  source.files.erase("/sys/class/hwmon/hwmon1/temp1_input");
  EXPECT_EQ(collect_one(CollectorId::temperature).problems.size(), 1u);
}

TEST_F(ProbeTest, FailedUnitsAreNamed) {
  const auto all = collect_one(CollectorId::units);
  const auto count = [&](const char* state) {
    return integer(
        find(all, "postern.systemd.unit.count", {{"postern.systemd.active_state", state}}));
  };
  EXPECT_EQ(count("active"), 1);
  EXPECT_EQ(count("failed"), 1);
  EXPECT_EQ(count("inactive"), 1) << "what is only wished for is no unit";
  ASSERT_EQ(all.entities.size(), 1u);
  const std::vector<Attribute> expected = {
      {"state", "warning"},
      {"failed.count", std::int64_t{1}},
      {"failed.units", std::vector<std::string>{"broken.service"}}};
  EXPECT_EQ(all.entities[0].attributes, expected);
  source.programs.clear();
  EXPECT_EQ(collect_one(CollectorId::units).problems.size(), 1u);
}

TEST_F(ProbeTest, SaysWhatItTakesItself) {
  const auto all = collect_one(CollectorId::self);
  EXPECT_EQ(integer(find(all, "postern.agent.memory.resident")), 2500 * 4096);
  const auto* time = find(all, "postern.agent.cpu.time");
  EXPECT_EQ(real(time), 4.5);
  EXPECT_EQ(time->start, clock.wall()) << "a program counts from its own start, not from the boot";
  EXPECT_EQ(integer(find(all, "postern.agent.threads")), 7);
}

// Each file is missing, empty, or something else once: the rest of the machine is still seen.
TEST_F(ProbeTest, OneBrokenFileIsAProblemAndTheOthersGoOn) {
  const auto whole = test_machine();
  for (const auto& [path, text] : whole.files) {
    for (const char* broken :
         {"-", "", "\n", "cpu \ncpu\n: \n", "cpu x y z 1 2 3 4 5\nMemTotal: x\n", "1 (x"}) {
      source = whole;
      if (*broken == '-')
        source.files.erase(path);
      else
        source.files[path] = broken;
      const auto all = Everything(shared_).collect(clock.wall());
      EXPECT_GE(all.measurements.size(), 60u) << path;
      for (const Error& problem : all.problems) EXPECT_FALSE(problem.message.empty());
    }
  }
}

// Against the real machine, read a second time by other means.
TEST(ProbeLive, MemoryLimitIsWhatTheKernelSays) {
  std::ifstream meminfo("/proc/meminfo");
  std::string label, unit;
  std::int64_t kib = 0;
  meminfo >> label >> kib >> unit;
  ASSERT_EQ(label, "MemTotal:");
  const SystemClock clock;
  const auto all = Everything(std::make_shared<SystemSource>()).collect(clock.wall());
  EXPECT_EQ(integer(find(all, "system.memory.limit")), kib * 1024);
  EXPECT_GT(real(find(all, "system.uptime")), 0);
  EXPECT_GE(integer(find(all, "system.process.count", {{"process.state", "running"}})), 1)
      << "this test";
  EXPECT_GT(integer(find(all, "postern.agent.memory.resident")), 1 << 20);
}

TEST(SystemSource, GivesLinesOneByOneWhereverTheyAreCut) {
  const std::string path = testing::TempDir() + "lines_of_probe_test";
  std::string whole;
  for (int i = 0; i < 5000; ++i) whole += fmt::format("{:{}}\n", i, 1 + i % 40);
  std::ofstream(path) << whole << "end";
  std::string read;
  ASSERT_TRUE(SystemSource().each_line(path, [&](std::string_view line) {
    read += line;
    read += '\n';
  }));
  EXPECT_EQ(read, whole + "end\n");
  std::ofstream(path) << std::string(100'000, 'x');
  EXPECT_FALSE(SystemSource().each_line(path, [](std::string_view) {}));
  EXPECT_FALSE(SystemSource().each_line("/nonexistent", [](std::string_view) {}));
  std::remove(path.c_str());
}

TEST(SystemSource, RunsAProgramWithinItsBounds) {
  const SystemSource source;
  EXPECT_EQ(
      source.run({"/bin/sh", "-c", "echo $LC_ALL; echo no >&2; cat"}, std::chrono::seconds(20))
          .value(),
      "C\n");
  const auto failed = source.run({"/bin/sh", "-c", "exit 3"}, std::chrono::seconds(20));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "/bin/sh failed (status 3)");
  const auto slow = source.run({"/bin/sleep", "60"}, std::chrono::milliseconds(20));
  ASSERT_FALSE(slow);
  EXPECT_EQ(slow.error().message, "/bin/sleep did not answer in time");
  EXPECT_EQ(source.run({"/bin/cat", "/dev/zero"}, std::chrono::seconds(20)).error().message,
            "/bin/cat wrote more than 4194304 bytes");
  EXPECT_FALSE(source.run({"/nonexistent/program"}, std::chrono::seconds(20)));
}

}  // namespace
}  // namespace postern
