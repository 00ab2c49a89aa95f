#include "probe/collectors.h"

#include "base/invariant.h"

namespace postern {
namespace {

class Forgetful final : public Collector {
 public:
  using Collect = Result<> (*)(Sample&);
  explicit Forgetful(Collect function) : function_(function) {}
  Result<> collect(Sample& sample) override { return function_(sample); }

 private:
  const Collect function_;
};

Forgetful::Collect function_of(CollectorId id) {
  switch (id) {
    case CollectorId::load:
      return collect_load;
    case CollectorId::pressure:
      return collect_pressure;
    case CollectorId::memory:
      return collect_memory;
    case CollectorId::swap:
      return collect_swap;
    case CollectorId::filesystems:
      return collect_file_systems;
    case CollectorId::remote_filesystems:
      return collect_remote_file_systems;
    case CollectorId::disks:
      return collect_disks;
    case CollectorId::network:
      return collect_network;
    case CollectorId::connections:
      return collect_connections;
    case CollectorId::uptime:
      return collect_uptime;
    case CollectorId::clock:
      return collect_clock;
    case CollectorId::temperature:
      return collect_temperature;
    case CollectorId::units:
      return collect_units;
    case CollectorId::inventory:
      return collect_inventory;
    case CollectorId::self:
      return collect_self;
    case CollectorId::cpu:
    case CollectorId::processes:
      break;
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Collector> make_collector(CollectorId id) {
  if (id == CollectorId::cpu) return make_cpu_collector();
  if (id == CollectorId::processes) return make_processes_collector();
  const auto function = function_of(id);
  invariant(function != nullptr, "every collector has its function");
  return std::make_unique<Forgetful>(function);
}

Error over_limit(const char* what, std::size_t limit) {
  return {Errc::exhausted,
          fmt::format("more than {} {}: the first {} are reported", limit, what, limit)};
}

}  // namespace postern
