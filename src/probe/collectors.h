#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "probe/host_metrics.h"

/// The collectors behind HostMetrics, one a subject. Each appends to a Sample what it could
/// observe and returns why it could not go on.
namespace postern {

inline constexpr std::size_t kFileSystemsMax = 64;  // file systems reported
inline constexpr std::size_t kDisksMax = 128;
inline constexpr std::size_t kInterfacesMax = 128;

/// One round of observation.
class Sample {
 public:
  Sample(const Source& source_in, WallTime now, std::optional<WallTime> boot)
      : source(source_in), now_(now), boot_(boot) {}

  const Source& source;

  using Value = decltype(Measurement::value);
  void gauge(const char* name, const char* unit, Value value, std::vector<Attribute> by = {});
  void sum(const char* name, const char* unit, std::uint64_t value, std::vector<Attribute> by = {});
  /// Counts since boot.
  void counter(const char* name, const char* unit, Value value, std::vector<Attribute> by = {});
  /// Something of a collector failed that does not stop it.
  void problem(const char* collector, Error error);

  Collected take() { return std::move(collected_); }

 private:
  void add(MeasurementKind kind, const char* name, const char* unit, Value value,
           std::vector<Attribute> by);

  WallTime now_;
  std::optional<WallTime> boot_;
  Collected collected_;
};

/// An integer value as OTLP has it; what does not fit (never seen) is the largest.
std::int64_t to_integer(std::uint64_t value);

Result<> collect_cpu(Sample& sample, std::optional<CpuTicks>& last);
Result<> collect_load(Sample& sample);
Result<> collect_memory(Sample& sample);
Result<> collect_swap(Sample& sample);
Result<> collect_file_systems(Sample& sample);
Result<> collect_disks(Sample& sample);
Result<> collect_network(Sample& sample);
Result<> collect_uptime(Sample& sample);
Result<> collect_processes(Sample& sample);

/// "btime" of /proc/stat.
Result<WallTime> read_boot_time(const Source& source);

}  // namespace postern
