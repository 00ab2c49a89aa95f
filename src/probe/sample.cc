#include "probe/sample.h"

#include <limits>

namespace postern {

std::int64_t to_integer(std::uint64_t value) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(value < kMax ? value : kMax);
}

void Sample::add(MeasurementKind kind, std::string name, const char* unit, Value value,
                 std::vector<Attribute> by) {
  Measurement measurement;
  measurement.name = std::move(name);
  measurement.unit = unit;
  measurement.kind = kind;
  measurement.value = value;
  measurement.attributes = std::move(by);
  if (kind != MeasurementKind::gauge) measurement.start = boot_;
  measurement.time = now_;
  collected_.measurements.push_back(std::move(measurement));
}

void Sample::gauge(std::string name, const char* unit, Value value, std::vector<Attribute> by) {
  add(MeasurementKind::gauge, std::move(name), unit, value, std::move(by));
}

void Sample::sum(std::string name, const char* unit, std::uint64_t value,
                 std::vector<Attribute> by) {
  add(MeasurementKind::sum, std::move(name), unit, to_integer(value), std::move(by));
}

void Sample::counter(std::string name, const char* unit, Value value, std::vector<Attribute> by) {
  add(MeasurementKind::monotonic_sum, std::move(name), unit, value, std::move(by));
}

}  // namespace postern
