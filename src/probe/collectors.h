#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "probe/sample.h"
#include "settings/collectors.h"

/// The collectors, one a subject. docs/measurements.md lists what each of them says.
namespace postern {

// Beyond a limit the first are reported, and a problem says so.
inline constexpr std::size_t kProcessorsMax = 128;  // with times of their own; else all together
inline constexpr std::size_t kFileSystemsMax = 64;
inline constexpr std::size_t kDisksMax = 128;
inline constexpr std::size_t kInterfacesMax = 128;
inline constexpr std::size_t kConnectionsMax = 25'000;  // told apart by state
inline constexpr std::size_t kProcessesMax = 8'192;     // looked at
inline constexpr std::size_t kTopConsumersMax = 5;      // of memory and of processors each
inline constexpr std::size_t kTopNamesMax = 64;         // in 24 hours
inline constexpr std::size_t kSensorsMax = 64;
inline constexpr std::size_t kFailedUnitsMax = 32;  // named

/// Appends to a sample what it observes of its subject; an error says why it could not go on. What
/// a machine does not have (sensors, systemd) is no error.
class Collector {
 public:
  virtual ~Collector() = default;
  virtual Result<> collect(Sample& sample) = 0;
};
std::unique_ptr<Collector> make_collector(CollectorId id);

// Those that remember nothing.
Result<> collect_load(Sample& sample);
Result<> collect_pressure(Sample& sample);
Result<> collect_memory(Sample& sample);
Result<> collect_swap(Sample& sample);
Result<> collect_file_systems(Sample& sample);
Result<> collect_remote_file_systems(Sample& sample);
Result<> collect_disks(Sample& sample);
Result<> collect_network(Sample& sample);
Result<> collect_connections(Sample& sample);
Result<> collect_uptime(Sample& sample);
Result<> collect_clock(Sample& sample);
Result<> collect_temperature(Sample& sample);
Result<> collect_units(Sample& sample);
Result<> collect_inventory(Sample& sample);
Result<> collect_self(Sample& sample);

// Those that compare with the last call.
std::unique_ptr<Collector> make_cpu_collector();
std::unique_ptr<Collector> make_processes_collector();

/// Keeps the number of names that are ever told of small (rows in a store, series elsewhere),
/// however many a machine has over time.
class TopNames {
 public:
  /// `name`, or "(other)" when kTopNamesMax others were told of in the last 24 hours.
  std::string admit(const std::string& name, WallTime now);

 private:
  std::map<std::string, WallTime> last_told_;
};

/// "btime" of /proc/stat.
Result<WallTime> read_boot_time(const Source& source);

/// USER_HZ: what /proc counts in, the same on every architecture we run on, whatever the kernel's
/// own HZ is.
inline constexpr double kTicksPerSecond = 100;

inline constexpr std::uint64_t kSectorBytes = 512;  // of the kernel's words, whatever a disk has
/// False: memory and files that look like disks, and drives for media.
bool is_real_disk(std::string_view name);

Error over_limit(const char* what, std::size_t limit);

}  // namespace postern
