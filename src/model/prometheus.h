#pragma once

#include <span>
#include <string>

#include "model/measurement.h"

namespace postern {

inline constexpr const char* kPrometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

/// Measurements as Prometheus reads them (text exposition format 0.0.4). Names are translated as
/// OpenTelemetry's specification "Prometheus and OpenMetrics Compatibility" says: dots become
/// underscores, the unit is appended ("By": _bytes, "s": _seconds, "{batch}": nothing), counters
/// end in _total; milliseconds become seconds. Measurements of one name must have one unit and
/// kind.
std::string prometheus_text(std::span<const Measurement> measurements);

}  // namespace postern
