#include "probe/inventory.h"

#include <algorithm>

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

class Description {
 public:
  Description(const Source& source, const std::string& name) : source_(source) {
    inventory_.host.type = "host";
    identify(name);
    add("host.name", name);
    describe_kernel();
    describe_system();
    describe_processors();
    describe_memory();
    describe_addresses();
  }
  Inventory take() { return std::move(inventory_); }

 private:
  void add(const char* key, AttributeValue value) {
    inventory_.host.attributes.push_back({key, std::move(value)});
  }
  void problem(const Error& error) { inventory_.problems.push_back({"inventory", error}); }

  void identify(const std::string& name) {
    if (const auto id = source_.read("/etc/machine-id"); !id)
      problem(id.error());
    else if (trim(*id).empty())
      problem({Errc::invalid, "/etc/machine-id is empty: systemd-machine-id-setup fills it"});
    else
      inventory_.host.id.push_back({"host.id", std::string(trim(*id))});
    inventory_.host.id.push_back({"host.name", name});
  }

  void describe_kernel() {
    const auto kernel = source_.kernel();
    if (!kernel) return problem(kernel.error());
    add("host.arch", to_arch(kernel->machine));
    add("host.kernel.release", kernel->release);
  }

  void describe_system() {
    add("os.type", std::string("linux"));
    auto text = source_.read("/etc/os-release");
    if (!text) text = source_.read("/usr/lib/os-release");
    if (!text) return problem(text.error());
    if (auto value = os_release(*text, "NAME")) add("os.name", std::move(*value));
    if (auto value = os_release(*text, "VERSION_ID")) add("os.version", std::move(*value));
    if (auto value = os_release(*text, "PRETTY_NAME")) add("os.description", std::move(*value));
  }

  /// Not every architecture names its model.
  void describe_processors() {
    const auto text = source_.read("/proc/cpuinfo");
    if (!text) return problem(text.error());
    std::int64_t processors = 0;
    std::string model;
    for (const std::string_view line : split_lines(*text)) {
      const std::size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      const std::string_view key = trim(line.substr(0, colon));
      if (key == "processor") ++processors;
      if (key == "model name" && model.empty()) model = trim(line.substr(colon + 1));
    }
    if (!model.empty()) add("host.cpu.model.name", model);
    if (processors > 0) add("host.cpu.count", processors);
  }

  void describe_memory() {
    const auto text = source_.read("/proc/meminfo");
    if (!text) return problem(text.error());
    const auto total = meminfo_bytes(*text, "MemTotal");
    if (!total) return problem({Errc::invalid, "/proc/meminfo has no MemTotal"});
    add("host.memory.total", static_cast<std::int64_t>(*total));
  }

  void describe_addresses() {
    const auto found = source_.addresses();
    if (!found) return problem(found.error());
    std::vector<std::string> ip, mac;
    for (const NetworkAddress& address : *found) {
      if (address.loopback) continue;
      if (address.kind == NetworkAddress::Kind::mac)
        mac.push_back(address.text);
      else if (!is_link_local(address))
        ip.push_back(address.text);
    }
    add("host.ip", bounded(std::move(ip)));
    add("host.mac", bounded(std::move(mac)));
  }

  /// In a stable order: a changed order is no changed machine.
  static std::vector<std::string> bounded(std::vector<std::string> texts) {
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    if (texts.size() > kInventoryAddressesMax) texts.resize(kInventoryAddressesMax);
    return texts;
  }

  const Source& source_;
  Inventory inventory_;
};

}  // namespace

Inventory host_inventory(const Source& source, const std::string& name) {
  return Description(source, name).take();
}

}  // namespace postern
