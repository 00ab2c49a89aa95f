#pragma once

// For the tests of the collectors: a machine on paper that has everything.

#include <fmt/format.h>

#include <string>

#include "probe/inventory.h"
#include "probe/probe.h"

namespace postern {

inline Observer test_observer() { return {"a1.example.org", "agent", "1.2.3"}; }

inline constexpr const char* kStat =
    "cpu  1000 200 300 4000 50 6 7 80 9 0\n"
    "cpu0 500 100 150 2000 25 3 3 40 5 0\n"
    "cpu1 500 100 150 2000 25 3 4 40 4 0\n"
    "intr 12345 1 2 3\nctxt 99\nbtime 1690000000\nprocesses 4321\nprocs_running 2\n";

inline constexpr const char* kMeminfo =
    "MemTotal:        8000000 kB\nMemFree:         1000000 kB\nMemAvailable:    5000000 kB\n"
    "Buffers:          200000 kB\nCached:          3000000 kB\nSwapCached:            7 kB\n"
    "SwapTotal:       1000000 kB\nSwapFree:         750000 kB\n";

inline constexpr const char* kNetDev =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier compressed\n"
    "    lo:    3267      29    0    0    0     0          0         0     3267      29    0    0"
    "    0     0       0          0\n"
    "  eth0:37237101 802 3 4 0 0 0 0 41483 528 5 6 0 0 0 0\n";

/// /proc/PID/stat with what is of interest; 100 pages resident each.
inline std::string stat_of(int pid, const char* name, char state, int user, int system,
                           int flags = 0) {
  return fmt::format(
      "{} ({}) {} 1 1 1 0 -1 {} 0 0 0 0 {} {} 0 0 20 0 7 0 555 9999999 100 18446744073709551615\n",
      pid, name, state, flags, user, system);
}

inline const std::string kTcpHead =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n";
inline std::string tcp_line(const char* state) {
  return fmt::format(
      "   0: 0100007F:0CEA 00000000:0000 {} 00000000:00000000 00:00000000 00000000  0  0 1\n",
      state);
}

inline FakeSource test_machine() {
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
  source.spaces["/"] = {1000, 400, 300, 50, 20};
  source.spaces["/data and\\more"] = {2000, 500, 500};
  source.spaces["/net"] = {5000, 1000, 1000, 10, 4};
  source.directories["/proc"] = {"1", "42", "self", "4x", "sys"};
  source.files["/proc/1/stat"] = stat_of(1, "systemd", 'S', 100, 50);
  source.files["/proc/42/stat"] = stat_of(42, "web (x) 1", 'D', 300, 200);
  source.files["/proc/self/stat"] = stat_of(42, "postern-agent", 'R', 250, 200);
  source.files["/proc/self/statm"] = "9000 2500 1000 300 0 800 0\n";
  for (const char* resource : {"cpu", "memory", "io"})
    source.files[std::string("/proc/pressure/") + resource] =
        "some avg10=1.00 avg60=2.50 avg300=3.00 total=1500000\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
  source.files["/proc/net/sockstat"] =
      "sockets: used 100\nTCP: inuse 2 orphan 0 tw 1 alloc 8 mem 2\nUDP: inuse 3 mem 1\n";
  source.files["/proc/net/sockstat6"] = "TCP6: inuse 1\nUDP6: inuse 4\n";
  source.files["/proc/net/tcp"] = kTcpHead + tcp_line("0A") + tcp_line("01") + tcp_line("06");
  source.files["/proc/net/tcp6"] =
      "  sl  local_address                         remote_address                        st\n"
      "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A "
      "00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000\n";
  source.clock_found = {true, -0.000125, 0.5};
  source.directories["/sys/class/hwmon"] = {"hwmon1", "hwmon0"};
  source.directories["/sys/class/hwmon/hwmon0"] = {"name", "temp1_input", "temp1_label",
                                                   "fan1_input"};
  source.directories["/sys/class/hwmon/hwmon1"] = {"name", "temp1_input", "temp2_input"};
  source.files["/sys/class/hwmon/hwmon0/name"] = "coretemp\n";
  source.files["/sys/class/hwmon/hwmon0/temp1_input"] = "45500\n";
  source.files["/sys/class/hwmon/hwmon0/temp1_label"] = "Package id 0\n";
  source.files["/sys/class/hwmon/hwmon1/name"] = "freezer\n";
  source.files["/sys/class/hwmon/hwmon1/temp1_input"] = "-18000\n";
  source.files["/etc/machine-id"] = "3d1219c7c4c5404aaa1f6d2a48adfda4\n";
  source.files["/etc/os-release"] = "NAME=Linux\n";
  source.files["/proc/cpuinfo"] = "processor\t: 0\n";
  source.directories["/run/systemd/system"] = {};
  source.programs["/usr/bin/systemctl"] =
      "ssh.service loaded active running OpenBSD Secure Shell server\n"
      "* broken.service loaded failed failed A unit that fails\n"
      "gone.service not-found inactive dead gone.service\n"
      "x.mount loaded inactive dead X\n";
  source.directories["/sys/block"] = {"sda", "loop0", "ram0", "cciss!c0d0"};
  source.files["/proc/diskstats"] =
      "   8       0 sda 10 1 20 30 40 2 50 60 0 1500 90 0 0 0 0\n"
      "   8       1 sda1 9 1 18 30 40 2 50 60 0 1500 90\n"
      "   7       0 loop0 1 1 1 1 1 1 1 1 0 1 1\n"
      " 104       0 cciss/c0d0 1 0 2 0 3 0 4 0 0 5 0\n";
  return source;
}

/// What /proc/stat says some time later.
inline void make_time_pass(FakeSource& machine) {
  machine.files["/proc/stat"] =
      "cpu  1050 200 300 4060 50 6 7 80 9 0\ncpu0 1 2 3 4 5 6 7 8\nbtime 5\nprocesses 4400\n";
  machine.files["/proc/42/stat"] = stat_of(42, "web (x) 1", 'R', 320, 220);
}

}  // namespace postern
