#include "probe/inventory.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

/// The names of the semantic conventions for what uname(2) says; others pass as they are.
std::string to_arch(const std::string& machine) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kNames = {{
      {"x86_64", "amd64"},
      {"aarch64", "arm64"},
      {"armv7l", "arm32"},
      {"armv6l", "arm32"},
      {"i686", "x86"},
      {"i386", "x86"},
      {"ppc64le", "ppc64"},
      {"ppc", "ppc32"},
  }};
  for (const auto& [theirs, ours] : kNames)
    if (machine == theirs) return std::string(ours);
  return machine;
}

/// One value of os-release(5): KEY=value, KEY="value", backslashes quote.
std::optional<std::string> os_release(std::string_view text, std::string_view key) {
  for (std::string_view line : split_lines(text)) {
    line = trim(line);
    if (!line.starts_with(key) || line.substr(key.size(), 1) != "=") continue;
    std::string_view quoted = line.substr(key.size() + 1);
    if (quoted.size() >= 2 && (quoted[0] == '"' || quoted[0] == '\'') && quoted.back() == quoted[0])
      quoted = quoted.substr(1, quoted.size() - 2);
    std::string value;
    for (std::size_t i = 0; i < quoted.size(); ++i) {
      if (quoted[i] == '\\' && i + 1 < quoted.size()) ++i;
      value += quoted[i];
    }
    return value;
  }
  return std::nullopt;
}

bool is_link_local(const NetworkAddress& address) {
  return address.kind == NetworkAddress::Kind::ipv6 ? address.text.starts_with("fe80:")
                                                    : address.text.starts_with("169.254.");
}

/// "eth0 mac=AC-DE-48-00-11-22 speed=1000Mbit/s addresses=192.0.2.7,2001:db8::7"
struct Interface {
  std::string mac;
  std::vector<std::string> addresses;
};

/// What a device says of itself, in one printable piece.
std::string device_text(const Source& source, const std::string& path) {
  const auto text = source.read(path);
  if (!text) return {};
  std::string plain(trim(*text).substr(0, kInventoryTextMax));
  for (char& c : plain)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  return plain;
}

class Description {
 public:
  Description(const Source& source, const Observer& observer)
      : source_(source), observer_(observer) {
    inventory_.host.type = "host";
    identify();
    add("host.name", observer_.name);
    describe_kernel();
    describe_system();
    describe_processors();
    describe_memory();
    describe_disks();
    describe_interfaces();
    describe_platform();
    describe_packages();
    add("postern.version", observer_.version);
  }
  Inventory take() { return std::move(inventory_); }

 private:
  void add(const char* key, AttributeValue value) {
    inventory_.host.attributes.push_back({key, std::move(value)});
  }
  void add_text(const char* key, std::string value) {
    if (!value.empty()) add(key, std::move(value));
  }
  void problem(const Error& error) { inventory_.problems.push_back(error); }

  void identify() {
    if (const auto id = source_.read("/etc/machine-id"); !id)
      problem(id.error());
    else if (trim(*id).empty())
      problem({Errc::invalid, "/etc/machine-id is empty: systemd-machine-id-setup fills it"});
    else
      inventory_.host.id.push_back({"host.id", std::string(trim(*id))});
    inventory_.host.id.push_back({"host.name", observer_.name});
  }

  void describe_kernel() {
    const auto kernel = source_.kernel();
    if (!kernel) return problem(kernel.error());
    add("host.arch", to_arch(kernel->machine));
    add("host.kernel.release", kernel->release);
  }

  void describe_system() {
    add("os.type", std::string("linux"));
    describe_time_zone();
    auto text = source_.read("/etc/os-release");
    if (!text) text = source_.read("/usr/lib/os-release");
    if (!text) return problem(text.error());
    if (auto value = os_release(*text, "NAME")) add("os.name", std::move(*value));
    if (auto value = os_release(*text, "VERSION_ID")) add("os.version", std::move(*value));
    if (auto value = os_release(*text, "PRETTY_NAME")) add("os.description", std::move(*value));
  }

  /// Nothing when the system has its default, UTC.
  void describe_time_zone() {
    constexpr std::string_view kFolder = "/zoneinfo/";
    if (const auto link = source_.link("/etc/localtime")) {
      const std::size_t at = link->find(kFolder);
      if (at != std::string::npos)
        return add("postern.time_zone", link->substr(at + kFolder.size()));
    }
    add_text("postern.time_zone", device_text(source_, "/etc/timezone"));
  }

  /// Not every architecture names its model, its cores and its sockets.
  void describe_processors() {
    const auto text = source_.read("/proc/cpuinfo");
    if (!text) return problem(text.error());
    std::int64_t processors = 0;
    std::string model;
    std::string_view socket;
    std::set<std::string_view> sockets;
    std::set<std::pair<std::string_view, std::string_view>> cores;
    for (const std::string_view line : split_lines(*text)) {
      const std::size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      const std::string_view key = trim(line.substr(0, colon)),
                             value = trim(line.substr(colon + 1));
      if (key == "processor") ++processors;
      if (key == "model name" && model.empty()) model = value.substr(0, kInventoryTextMax);
      if (key == "physical id") sockets.insert(socket = value);
      if (key == "core id") cores.emplace(socket, value);
    }
    add_text("host.cpu.model.name", model);
    if (processors > 0) add("host.cpu.count", processors);
    if (!cores.empty()) add("postern.cpu.cores", static_cast<std::int64_t>(cores.size()));
    if (!sockets.empty()) add("postern.cpu.sockets", static_cast<std::int64_t>(sockets.size()));
  }

  void describe_memory() {
    const auto text = source_.read("/proc/meminfo");
    if (!text) return problem(text.error());
    const auto total = meminfo_bytes(*text, "MemTotal");
    if (!total) return problem({Errc::invalid, "/proc/meminfo has no MemTotal"});
    add("host.memory.total", static_cast<std::int64_t>(*total));
  }

  void describe_disks() {
    const auto names = source_.list("/sys/block");
    if (!names) return;  // containers may not see them
    std::vector<std::string> disks;
    for (const std::string& name : *names) {
      if (!is_real_disk(name)) continue;
      const std::string folder = "/sys/block/" + name;
      std::string disk = name;
      const auto sectors = to_unsigned(device_text(source_, folder + "/size"));
      if (!sectors || *sectors == 0) continue;  // an empty drive
      disk += fmt::format(" size={}", *sectors * kSectorBytes);
      const std::string rotational = device_text(source_, folder + "/queue/rotational");
      if (!rotational.empty()) disk += rotational == "0" ? " rotational=no" : " rotational=yes";
      const std::string model = device_text(source_, folder + "/device/model");
      if (!model.empty()) disk += " model=" + model;
      disks.push_back(std::move(disk));
    }
    add("postern.disks", bounded(std::move(disks)));
  }

  void describe_interfaces() {
    const auto found = source_.addresses();
    if (!found) return problem(found.error());
    std::map<std::string, Interface> interfaces;
    for (const NetworkAddress& address : *found) {
      if (address.loopback) continue;
      Interface& interface = interfaces[address.interface];
      if (address.kind == NetworkAddress::Kind::mac)
        interface.mac = address.text;
      else if (!is_link_local(address))
        interface.addresses.push_back(address.text);
    }
    std::vector<std::string> ip, mac, all;
    for (auto& [name, interface] : interfaces) {
      const std::string folder = "/sys/class/net/" + name;
      if (interface.addresses.empty() && !source_.exists(folder + "/device")) continue;
      if (!interface.mac.empty()) mac.push_back(interface.mac);
      ip.insert(ip.end(), interface.addresses.begin(), interface.addresses.end());
      all.push_back(describe(name, std::move(interface), folder));
    }
    add("host.ip", bounded(std::move(ip)));
    add("host.mac", bounded(std::move(mac)));
    add("postern.interfaces", bounded(std::move(all)));
  }

  std::string describe(const std::string& name, Interface interface, const std::string& folder) {
    std::string text = name;
    if (!interface.mac.empty()) text += " mac=" + interface.mac;
    const auto speed = to_unsigned(device_text(source_, folder + "/speed"));
    if (speed && *speed > 0) text += fmt::format(" speed={}Mbit/s", *speed);
    const auto addresses = bounded(std::move(interface.addresses));
    for (std::size_t i = 0; i < addresses.size(); ++i)
      text += (i == 0 ? " addresses=" : ",") + addresses[i];
    return text;
  }

  void describe_platform() {
    Platform platform = platform_of(source_);
    add("postern.virtualization", std::move(platform.virtualization));
    add_text("cloud.provider", std::move(platform.cloud));
    add_text("postern.container", std::move(platform.container));
  }

  /// Only what costs next to nothing: dpkg has one list of files a package, and what apt could
  /// update stands in a file where update-notifier runs.
  void describe_packages() {
    if (const auto lists = source_.list("/var/lib/dpkg/info"))
      add("postern.packages", static_cast<std::int64_t>(std::count_if(
                                  lists->begin(), lists->end(), [](const std::string& name) {
                                    return name.ends_with(".list");
                                  })));
    const auto updates = source_.read("/var/lib/update-notifier/updates-available");
    if (!updates) return;
    for (const std::string_view line : split_lines(*updates)) {
      const auto fields = split_fields(line);
      const auto count = fields.empty() ? std::nullopt : to_unsigned(fields[0]);
      if (!count || line.find("ESM") != std::string_view::npos) continue;
      const bool security = line.find("security") != std::string_view::npos;
      add(security ? "postern.packages.security_updates" : "postern.packages.updates",
          to_integer(*count));
    }
  }

  /// In a stable order: a changed order is no changed machine.
  static std::vector<std::string> bounded(std::vector<std::string> texts) {
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    if (texts.size() > kInventoryListMax) texts.resize(kInventoryListMax);
    return texts;
  }

  const Source& source_;
  const Observer& observer_;
  Inventory inventory_;
};

}  // namespace

Inventory host_inventory(const Source& source, const Observer& observer) {
  return Description(source, observer).take();
}

Result<> collect_inventory(Sample& sample) {
  Inventory inventory = host_inventory(sample.source, sample.observer);
  sample.entity(std::move(inventory.host));
  for (Error& error : inventory.problems) sample.problem(std::move(error));
  return {};
}

}  // namespace postern
