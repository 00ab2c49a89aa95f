#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/measurement.h"
#include "probe/source.h"

namespace postern {

/// Who observes; stands in what is observed.
struct Observer {
  std::string name;     // the node's FQDN
  std::string role;     // "agent"
  std::string version;  // "0.1.0"
};

struct Collected {
  std::vector<Measurement> measurements;
  std::vector<EntityState> entities;
  std::vector<Error> problems;  // why something could not be observed
};

/// One observation of one collector in the making.
class Sample {
 public:
  /// `boot`: since when the machine's counters count.
  Sample(const Source& source_in, const Observer& observer_in, WallTime now,
         std::optional<WallTime> boot)
      : source(source_in), observer(observer_in), now_(now), boot_(boot) {}

  const Source& source;
  const Observer& observer;
  WallTime now() const { return now_; }

  using Value = decltype(Measurement::value);
  void gauge(std::string name, const char* unit, Value value, std::vector<Attribute> by = {});
  void sum(std::string name, const char* unit, std::uint64_t value, std::vector<Attribute> by = {});
  /// Counts since boot.
  void counter(std::string name, const char* unit, Value value, std::vector<Attribute> by = {});
  void entity(EntityState state) { collected_.entities.push_back(std::move(state)); }
  /// Something failed that does not stop the collector.
  void problem(Error error) { collected_.problems.push_back(std::move(error)); }

  Collected take() { return std::move(collected_); }

 private:
  void add(MeasurementKind kind, std::string name, const char* unit, Value value,
           std::vector<Attribute> by);

  WallTime now_;
  std::optional<WallTime> boot_;
  Collected collected_;
};

/// An integer value as OTLP has it; what does not fit (never seen) is the largest.
std::int64_t to_integer(std::uint64_t value);

}  // namespace postern
