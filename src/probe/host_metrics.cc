#include "probe/host_metrics.h"

#include <limits>

#include "probe/collectors.h"

namespace postern {

std::int64_t to_integer(std::uint64_t value) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(value < kMax ? value : kMax);
}

void Sample::add(MeasurementKind kind, const char* name, const char* unit, Value value,
                 std::vector<Attribute> by) {
  Measurement measurement;
  measurement.name = name;
  measurement.unit = unit;
  measurement.kind = kind;
  measurement.value = value;
  measurement.attributes = std::move(by);
  if (kind != MeasurementKind::gauge) measurement.start = boot_;
  measurement.time = now_;
  collected_.measurements.push_back(std::move(measurement));
}

void Sample::gauge(const char* name, const char* unit, Value value, std::vector<Attribute> by) {
  add(MeasurementKind::gauge, name, unit, value, std::move(by));
}

void Sample::sum(const char* name, const char* unit, std::uint64_t value,
                 std::vector<Attribute> by) {
  add(MeasurementKind::sum, name, unit, to_integer(value), std::move(by));
}

void Sample::counter(const char* name, const char* unit, Value value, std::vector<Attribute> by) {
  add(MeasurementKind::monotonic_sum, name, unit, value, std::move(by));
}

void Sample::problem(const char* collector, Error error) {
  collected_.problems.push_back({collector, std::move(error)});
}

Collected HostMetrics::collect() {
  if (!boot_) {
    // Without it the sums go out without a start; the CPU collector reports the same file.
    if (auto boot = read_boot_time(source_)) boot_ = *boot;
  }
  Sample sample(source_, clock_.wall(), boot_);
  const auto run = [&](const char* collector, const Result<>& result) {
    if (!result) sample.problem(collector, result.error());
  };
  run("cpu", collect_cpu(sample, last_cpu_));
  run("load", collect_load(sample));
  run("memory", collect_memory(sample));
  run("swap", collect_swap(sample));
  run("file systems", collect_file_systems(sample));
  run("disks", collect_disks(sample));
  run("network", collect_network(sample));
  run("uptime", collect_uptime(sample));
  run("processes", collect_processes(sample));
  return sample.take();
}

}  // namespace postern
