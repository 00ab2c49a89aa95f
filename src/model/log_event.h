#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/measurement.h"

namespace postern {

/// OpenTelemetry's severity numbers, the ones we write.
enum class Severity : std::int32_t {
  unknown = 0,
  debug = 5,
  info = 9,
  notice = 10,
  warning = 13,
  error = 17,
  critical = 18,
  alert = 19,
  emergency = 21,
};

/// Something that was logged by somebody, as a plain value; model/payload.h makes it OTLP.
struct LogEvent {
  WallTime time{};      // when it happened; the epoch: not known
  WallTime observed{};  // when we read it
  Severity severity = Severity::unknown;
  std::string severity_text;  // as its source says it
  std::string body;
  std::string event_name;  // mostly empty
  std::vector<Attribute> attributes;
  bool operator==(const LogEvent&) const = default;
};

}  // namespace postern
