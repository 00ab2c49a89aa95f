#include <array>

#include "probe/inventory.h"
#include "probe/text.h"

namespace postern {
namespace {

struct Sign {
  std::string_view text;  // somewhere in the DMI's words
  const char* virtualization;
  const char* cloud;
};

/// The first that matches counts: clouds before the hypervisors that they run on.
constexpr std::array kSigns = {
    Sign{"Amazon EC2", "kvm", "aws"},
    Sign{"Google Compute Engine", "kvm", "gcp"},
    Sign{"Alibaba Cloud", "kvm", "alibaba_cloud"},
    Sign{"Tencent Cloud", "kvm", "tencent_cloud"},
    Sign{"OracleCloud.com", "kvm", "oracle_cloud"},
    Sign{"DigitalOcean", "kvm", "digitalocean"},
    Sign{"Hetzner", "kvm", "hetzner"},
    Sign{"Scaleway", "kvm", "scaleway"},
    Sign{"Linode", "kvm", "linode"},
    Sign{"Vultr", "kvm", "vultr"},
    Sign{"OpenStack", "kvm", "openstack"},
    // The chassis of every Azure machine.
    Sign{"7783-7084-3265-9085-8269-3286-77", "hyperv", "azure"},
    Sign{"VMware", "vmware", ""},
    Sign{"VirtualBox", "virtualbox", ""},
    Sign{"innotek", "virtualbox", ""},
    Sign{"Parallels", "parallels", ""},
    Sign{"Xen", "xen", ""},
    Sign{"KVM", "kvm", ""},
    Sign{"QEMU", "kvm", ""},
    Sign{"Bochs", "kvm", ""},
};

std::string dmi_words(const Source& source) {
  std::string words;
  for (const char* name :
       {"sys_vendor", "product_name", "bios_vendor", "board_vendor", "chassis_asset_tag"})
    if (const auto text = source.read(std::string("/sys/class/dmi/id/") + name))
      words += std::string(trim(*text)) + "\n";
  return words;
}

bool under_a_hypervisor(const Source& source) {
  const auto text = source.read("/proc/cpuinfo");
  if (!text) return false;
  for (const std::string_view line : split_lines(*text)) {
    if (!line.starts_with("flags")) continue;
    for (const std::string_view flag : split_fields(line))
      if (flag == "hypervisor") return true;
    return false;  // all processors have the same
  }
  return false;
}

std::string container_of(const Source& source) {
  if (const auto name = source.read("/run/systemd/container"); name && !trim(*name).empty())
    return std::string(trim(*name).substr(0, kInventoryTextMax));
  if (source.exists("/.dockerenv")) return "docker";
  if (source.exists("/run/.containerenv")) return "podman";
  const auto groups = source.read("/proc/1/cgroup");
  if (!groups) return {};
  for (const char* name : {"kubepods", "docker", "lxc"})
    if (groups->find(name) != std::string::npos) return name;
  return {};
}

}  // namespace

Platform platform_of(const Source& source) {
  Platform platform{"none", "", container_of(source)};
  const std::string words = dmi_words(source);
  for (const Sign& sign : kSigns) {
    if (words.find(sign.text) == std::string::npos) continue;
    platform.virtualization = sign.virtualization;
    platform.cloud = sign.cloud;
    if (words.find(".metal\n") != std::string::npos) platform.virtualization = "none";
    return platform;
  }
  if (words.find("Microsoft Corporation\nVirtual Machine\n") != std::string::npos)
    platform.virtualization = "hyperv";
  else if (const auto type = source.read("/sys/hypervisor/type"); type && trim(*type) == "xen")
    platform.virtualization = "xen";
  else if (under_a_hypervisor(source))
    platform.virtualization = "other";
  return platform;
}

}  // namespace postern
