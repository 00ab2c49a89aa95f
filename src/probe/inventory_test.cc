#include "probe/inventory.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace postern {
namespace {

FakeSource machine() {
  FakeSource source;
  source.files["/etc/machine-id"] = "3d1219c7c4c5404aaa1f6d2a48adfda4\n";
  source.files["/etc/os-release"] =
      "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n"
      "VERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n";
  source.files["/proc/cpuinfo"] =
      "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu\n\n"
      "processor\t: 1\nmodel name\t: Some CPU @ 2.00GHz\n";
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
  const auto inventory = host_inventory(machine(), "a1.example.org");
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
      {"os.name", "Debian GNU/Linux"},
      {"os.version", "12"},
      {"os.description", "Debian GNU/Linux 12 (bookworm)"},
      {"host.cpu.model.name", "Some CPU @ 2.00GHz"},
      {"host.cpu.count", std::int64_t{2}},
      {"host.memory.total", std::int64_t{2048 * 1024}},
      {"host.ip", std::vector<std::string>{"192.0.2.7", "2001:db8::7"}},
      {"host.mac", std::vector<std::string>{"AC-DE-48-00-11-22"}}};
  EXPECT_EQ(inventory.host.attributes, expected);
}

TEST(Inventory, IsTheSameWhateverOrderTheKernelListsAddressesIn) {
  FakeSource source = machine();
  const auto before = host_inventory(source, "a1.example.org");
  std::reverse(source.addresses_found.begin(), source.addresses_found.end());
  source.addresses_found.push_back(source.addresses_found.front());
  EXPECT_EQ(host_inventory(source, "a1.example.org").host, before.host);
}

TEST(Inventory, SaysWhatIsMissingAndStillNamesTheHost) {
  const FakeSource nothing;
  const auto inventory = host_inventory(nothing, "a1.example.org");
  EXPECT_EQ(inventory.host.id, (std::vector<Attribute>{{"host.name", "a1.example.org"}}));
  EXPECT_EQ(inventory.problems.size(), 4u);  // machine-id, os-release, cpuinfo, meminfo

  FakeSource image = machine();
  image.files["/etc/machine-id"] = "\n";
  const auto fresh = host_inventory(image, "a1.example.org");
  ASSERT_EQ(fresh.problems.size(), 1u);
  EXPECT_EQ(fresh.problems[0].error.message,
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
