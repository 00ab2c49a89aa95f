#pragma once

#include <string>
#include <vector>

#include "model/measurement.h"
#include "probe/sample.h"

namespace postern {

inline constexpr std::size_t kInventoryListMax = 64;   // entries of each list
inline constexpr std::size_t kInventoryTextMax = 128;  // bytes of what a device calls itself

struct Inventory {
  EntityState host;
  std::vector<Error> problems;  // what is missing in `host`, and why
};

/// What this machine is, as the entity "host": the same machine gives the same value, so a caller
/// sees by == whether anything changed. docs/measurements.md lists its attributes.
///
/// Its id is host.id (/etc/machine-id, when there is one) and host.name: cloned machines share a
/// machine id. host.ip has neither loopback nor link-local addresses. Interfaces are those of
/// hardware and those with an address: what containers plug in and out is no change of the machine.
/// May block on a broken disk or driver; asks nothing over the network.
Inventory host_inventory(const Source& source, const Observer& observer);

/// What the machine runs on and in, of the DMI's words, the hypervisor's and a container's marks.
struct Platform {
  std::string virtualization;  // "kvm", "vmware" ...; "other"; "none"
  std::string cloud;           // OpenTelemetry's cloud.provider, or empty
  std::string container;       // "docker", "podman", "lxc" ..., or empty
  bool operator==(const Platform&) const = default;
};
Platform platform_of(const Source& source);

}  // namespace postern
