#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"

namespace postern {

/// What was observed, as plain values. Names, units and kinds follow OpenTelemetry's semantic
/// conventions; how they become bytes stands in model/payload.h.

using AttributeValue =
    std::variant<std::string, std::int64_t, double, bool, std::vector<std::string>>;

struct Attribute {
  std::string key;
  AttributeValue value;
  bool operator==(const Attribute&) const = default;
};

/// The one a whole payload is about: the node that observed it.
struct Resource {
  std::vector<Attribute> attributes;
  bool operator==(const Resource&) const = default;
};

enum class MeasurementKind : std::uint8_t {
  gauge,          // a value at a time
  sum,            // may go up and down, adds up over attributes ("up-down counter")
  monotonic_sum,  // only grows from `start` on ("counter")
};

struct Measurement {
  std::string name;         // "system.memory.usage"
  std::string unit;         // UCUM: "By", "s", "1", "{process}"
  std::string description;  // mostly empty: the conventions describe their names
  MeasurementKind kind = MeasurementKind::gauge;
  std::variant<std::int64_t, double> value;
  std::vector<Attribute> attributes;
  std::optional<WallTime> start;  // of a sum: since when it counts
  WallTime time{};
  bool operator==(const Measurement&) const = default;
};

/// The whole state of an entity at one time, never a change, so that the newest one alone is
/// enough (rule D4). It is valid until the next one, which comes after `interval` at the latest;
/// zero: not known.
struct EntityState {
  std::string type;  // "host"
  std::vector<Attribute> id;
  std::vector<Attribute> attributes;
  std::chrono::milliseconds interval{};
  bool operator==(const EntityState&) const = default;
};

/// The value under `key` as text, or nothing.
inline std::optional<std::string> find_text(const std::vector<Attribute>& attributes,
                                            const std::string& key) {
  for (const Attribute& attribute : attributes)
    if (attribute.key == key)
      if (const auto* text = std::get_if<std::string>(&attribute.value)) return *text;
  return std::nullopt;
}

}  // namespace postern
