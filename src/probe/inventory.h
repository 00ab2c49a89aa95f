#pragma once

#include <string>

#include "model/measurement.h"
#include "probe/host_metrics.h"
#include "probe/source.h"

namespace postern {

inline constexpr std::size_t kInventoryAddressesMax = 64;  // of host.ip and of host.mac each

struct Inventory {
  EntityState host;
  std::vector<Problem> problems;  // what is missing in `host`, and why
};

/// What this machine is, as the entity "host": the same machine gives the same value, so a caller
/// sees by == whether anything changed.
///
///   id          host.id (/etc/machine-id, when there is one), host.name
///   attributes  host.name, host.arch, host.ip, host.mac, host.cpu.model.name,
///               os.type, os.name, os.version, os.description
///   our own     host.cpu.count (logical processors), host.memory.total (bytes),
///               host.kernel.release
///
/// Both stand in the id because cloned machines share a machine id. `name` is the node's FQDN.
/// host.ip has neither loopback nor link-local addresses.
Inventory host_inventory(const Source& source, const std::string& name);

}  // namespace postern
