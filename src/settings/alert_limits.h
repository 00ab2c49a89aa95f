#pragma once

#include <algorithm>

#include "base/clock.h"

namespace postern {

/// Opens above `open`, closes below `close`: what flaps in between is one alert.
struct Threshold {
  double open = 0, close = 0;
  /// Another limit; where it closes moves along.
  Threshold at(double value) const { return {value, value * close / open}; }
  bool operator==(const Threshold&) const = default;
};

/// When something about a node is an alert.
struct AlertLimits {
  int heartbeats_missed = 3;
  Duration heartbeat_slack = std::chrono::seconds(10);        // for the way, and the store
  Duration upward_interval = std::chrono::minutes(15);        // of a quiet node (channel.md#W41)
  Duration never_connected_after = std::chrono::hours(1);     // since its approval
  Threshold clock_warning{30, 20}, clock_critical{300, 240};  // seconds, either way
  Threshold fill_warning{80, 70}, fill_critical{95, 90};      // percent of the spool's limit
  Threshold age_warning{3600, 1800};                          // seconds, of the oldest unsettled
  double certificate_warning = 1.0 / 3, certificate_critical = 1.0 / 10;  // of its life, left
  Duration finding_quiet = std::chrono::hours(24);  // without a new one, before it closes

  /// How long a node may be silent before it counts as lost. `interval`: of its heads. Of one that
  /// is `behind` a gateway quiet heads come seldom.
  Duration patience(Duration interval, bool behind) const {
    return heartbeats_missed * (behind ? std::max(interval, upward_interval) : interval) +
           heartbeat_slack;
  }
  bool operator==(const AlertLimits&) const = default;
};

}  // namespace postern
