#include "probe/inventory.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace postern {
namespace {

const Observer kObserver{"a1.example.org", "agent", "1.2.3"};

FakeSource machine() {
  FakeSource source;
  source.files["/etc/machine-id"] = "3d1219c7c4c5404aaa1f6d2a48adfda4\n";
  source.files["/etc/os-release"] =
      "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n"
      "VERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n";
  source.files["/proc/cpuinfo"] =
      "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nphysical id\t: 0\ncore id\t\t: 0\n"
      "flags\t\t: fpu\n\n"
      "processor\t: 1\nmodel name\t: Some CPU @ 2.00GHz\nphysical id\t: 0\ncore id\t\t: 0\n";
  source.directories["/sys/block"] = {"sdb", "sda", "loop0", "sdc"};
  source.files["/sys/block/sda/size"] = "1000\n";
  source.files["/sys/block/sda/queue/rotational"] = "0\n";
  source.files["/sys/block/sda/device/model"] = "Quick Disk 9   \n";
  source.files["/sys/block/sdb/size"] = "4000\n";
  source.files["/sys/block/sdb/queue/rotational"] = "1\n";
  source.files["/sys/block/sdc/size"] = "0\n";
  source.files["/sys/class/net/eth0/speed"] = "1000\n";
  source.links["/etc/localtime"] = "/usr/share/zoneinfo/Europe/Berlin";
  source.directories["/var/lib/dpkg/info"] = {"bash.list", "bash.md5sums", "libc6:amd64.list"};
  source.files["/var/lib/update-notifier/updates-available"] =
      "\n12 updates can be applied immediately.\n"
      "5 of these updates are standard security updates.\n"
      "7 additional security updates can be applied with ESM Apps.\n";
  source.files["/proc/meminfo"] = "MemTotal:        2048 kB\n";
  source.kernel_found = {"Linux", "6.1.0-18-amd64", "#1 SMP", "x86_64"};
  using Kind = NetworkAddress::Kind;
  source.addresses_found = {{"lo", Kind::ipv4, "127.0.0.1", true},
                            {"eth0", Kind::ipv6, "2001:db8::7", false},
                            {"eth0", Kind::ipv6, "fe80::1", false},
                            {"eth0", Kind::ipv4, "192.0.2.7", false},
                            {"eth0", Kind::mac, "AC-DE-48-00-11-22", false}};
  return source;
}

TEST(Inventory, DescribesTheHost) {
  const auto inventory = host_inventory(machine(), kObserver);
  EXPECT_TRUE(inventory.problems.empty());
  EXPECT_EQ(inventory.host.type, "host");
  EXPECT_EQ(inventory.host.id,
            (std::vector<Attribute>{{"host.id", "3d1219c7c4c5404aaa1f6d2a48adfda4"},
                                    {"host.name", "a1.example.org"}}));
  const std::vector<Attribute> expected = {
      {"host.name", "a1.example.org"},
      {"host.arch", "amd64"},
      {"host.kernel.release", "6.1.0-18-amd64"},
      {"os.type", "linux"},
      {"postern.time_zone", "Europe/Berlin"},
      {"os.name", "Debian GNU/Linux"},
      {"os.version", "12"},
      {"os.description", "Debian GNU/Linux 12 (bookworm)"},
      {"host.cpu.model.name", "Some CPU @ 2.00GHz"},
      {"host.cpu.count", std::int64_t{2}},
      {"postern.cpu.cores", std::int64_t{1}},
      {"postern.cpu.sockets", std::int64_t{1}},
      {"host.memory.total", std::int64_t{2048 * 1024}},
      {"postern.disks", std::vector<std::string>{"sda size=512000 rotational=no model=Quick Disk 9",
                                                 "sdb size=2048000 rotational=yes"}},
      {"host.ip", std::vector<std::string>{"192.0.2.7", "2001:db8::7"}},
      {"host.mac", std::vector<std::string>{"AC-DE-48-00-11-22"}},
      {"postern.interfaces", std::vector<std::string>{"eth0 mac=AC-DE-48-00-11-22 speed=1000Mbit/s "
                                                      "addresses=192.0.2.7,2001:db8::7"}},
      {"postern.virtualization", "none"},
      {"postern.packages", std::int64_t{2}},
      {"postern.packages.updates", std::int64_t{12}},
      {"postern.packages.security_updates", std::int64_t{5}},
      {"postern.version", "1.2.3"}};
  EXPECT_EQ(inventory.host.attributes, expected);
}

TEST(Inventory, IsTheSameWhateverOrderTheKernelListsAddressesIn) {
  FakeSource source = machine();
  const auto before = host_inventory(source, kObserver);
  std::reverse(source.addresses_found.begin(), source.addresses_found.end());
  source.addresses_found.push_back(source.addresses_found.front());
  EXPECT_EQ(host_inventory(source, kObserver).host, before.host);
}

// Containers come and go every second on some machines.
TEST(Inventory, WhatContainersPlugInIsNoChangeOfTheMachine) {
  FakeSource source = machine();
  const auto before = host_inventory(source, kObserver);
  source.addresses_found.push_back(
      {"veth1234", NetworkAddress::Kind::mac, "02-00-00-00-00-01", false});
  source.addresses_found.push_back({"veth1234", NetworkAddress::Kind::ipv6, "fe80::2", false});
  EXPECT_EQ(host_inventory(source, kObserver).host, before.host);
  source.directories["/sys/class/net/veth1234/device"] = {};
  EXPECT_NE(host_inventory(source, kObserver).host, before.host)
      << "a real card without an address";
}

TEST(Inventory, KnowsWhatItRunsOnAndIn) {
  struct Case {
    std::string vendor, product, flags;
    Platform expected;
  };
  for (const Case& c :
       {Case{"Dell Inc.", "PowerEdge", "fpu", {"none", "", ""}},
        Case{"Amazon EC2", "m5.large", "hypervisor", {"kvm", "aws", ""}},
        Case{"Amazon EC2", "m5.metal", "fpu", {"none", "aws", ""}},
        Case{"Microsoft Corporation", "Virtual Machine", "hypervisor", {"hyperv", "", ""}},
        Case{"VMware, Inc.", "VMware7,1", "hypervisor", {"vmware", "", ""}},
        Case{"QEMU", "Standard PC (Q35 + ICH9, 2009)", "hypervisor", {"kvm", "", ""}},
        Case{"Nobody", "Nothing", "fpu hypervisor", {"other", "", ""}}}) {
    FakeSource source;
    source.files["/sys/class/dmi/id/sys_vendor"] = c.vendor + "\n";
    source.files["/sys/class/dmi/id/product_name"] = c.product + "\n";
    source.files["/proc/cpuinfo"] = "processor: 0\nflags\t: " + c.flags + "\n";
    EXPECT_EQ(platform_of(source), c.expected) << c.vendor << " " << c.product;
  }
  FakeSource source;
  source.files["/.dockerenv"] = "";
  EXPECT_EQ(platform_of(source).container, "docker");
}

TEST(Inventory, SaysWhatIsMissingAndStillNamesTheHost) {
  const FakeSource nothing;
  const auto inventory = host_inventory(nothing, kObserver);
  EXPECT_EQ(inventory.host.id, (std::vector<Attribute>{{"host.name", "a1.example.org"}}));
  EXPECT_EQ(inventory.problems.size(), 4u);  // machine-id, os-release, cpuinfo, meminfo

  FakeSource image = machine();
  image.files["/etc/machine-id"] = "\n";
  const auto fresh = host_inventory(image, kObserver);
  ASSERT_EQ(fresh.problems.size(), 1u);
  EXPECT_EQ(fresh.problems[0].message,
            "/etc/machine-id is empty: systemd-machine-id-setup fills it");
}

TEST(SystemSource, AnswersForThisMachine) {
  const SystemSource source;
  EXPECT_EQ(source.kernel().value().name, "Linux");
  const auto space = source.space("/");
  ASSERT_TRUE(space.has_value()) << space.error().message;
  EXPECT_GE(space->total, space->free);
  const auto addresses = source.addresses();
  ASSERT_TRUE(addresses.has_value());
  const auto names = source.list("/proc");
  ASSERT_TRUE(names.has_value());
  EXPECT_NE(std::find(names->begin(), names->end(), "self"), names->end());
}

TEST(SystemSource, NamesWhatItCannotRead) {
  const SystemSource source;
  const auto missing = source.read("/nonexistent/file");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().message, "open /nonexistent/file: No such file or directory");
  EXPECT_EQ(source.read("/dev/zero").error().code, Errc::exhausted);
  EXPECT_FALSE(source.list("/nonexistent").has_value());
  EXPECT_FALSE(source.space("/nonexistent").has_value());
}

}  // namespace
}  // namespace postern
