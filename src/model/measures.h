#pragma once

#include <concepts>
#include <vector>

#include "model/measurement.h"

namespace postern {

/// A list of measurements of one moment in the making: what a node says of itself.
class Measures {
 public:
  /// `start`: since when the counters count.
  Measures(WallTime now, WallTime start) : now_(now), start_(start) {}

  template <typename T>
  void gauge(const char* name, const char* unit, T value, const char* description) {
    add(MeasurementKind::gauge, name, unit, value, description);
  }
  template <typename T>
  void counter(const char* name, const char* unit, T value, const char* description) {
    add(MeasurementKind::monotonic_sum, name, unit, value, description);
  }
  void append(std::vector<Measurement> more) {
    for (Measurement& one : more) list_.push_back(std::move(one));
  }
  std::vector<Measurement> take() { return std::move(list_); }

 private:
  template <typename T>
  void add(MeasurementKind kind, const char* name, const char* unit, T value,
           const char* description) {
    Measurement m;
    m.name = name;
    m.unit = unit;
    m.description = description;
    m.kind = kind;
    if constexpr (std::floating_point<T>)
      m.value = static_cast<double>(value);
    else
      m.value = static_cast<std::int64_t>(value);
    if (kind != MeasurementKind::gauge) m.start = start_;
    m.time = now_;
    list_.push_back(std::move(m));
  }

  WallTime now_, start_;
  std::vector<Measurement> list_;
};

}  // namespace postern
