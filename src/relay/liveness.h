#pragma once

#include <algorithm>

#include "base/clock.h"

namespace postern::relay {

/// Decides when to ping and when to give a connection up (rule C7, channel.md#W40). Any received
/// byte is a sign of life.
class Liveness {
 public:
  static constexpr Duration kBusyAfter = std::chrono::seconds(5);  // something is unanswered
  static constexpr Duration kIdleAfter = std::chrono::seconds(45);
  static constexpr int kMissedMax = 3;

  enum class Action { nothing, ping, give_up };

  void start(TimePoint now) { *this = Liveness{}, heard_ = pinged_ = now; }
  /// `heard`: when the last byte came. `unanswered`: something we sent waits for an answer.
  Action step(TimePoint now, TimePoint heard, bool unanswered) {
    if (heard > heard_) {
      heard_ = heard;
      missed_ = 0;
    }
    const Duration patience = unanswered || missed_ > 0 ? kBusyAfter : kIdleAfter;
    if (now - std::max(heard_, pinged_) < patience) return Action::nothing;
    if (missed_ == kMissedMax) return Action::give_up;
    ++missed_;
    pinged_ = now;
    return Action::ping;
  }

 private:
  TimePoint heard_{}, pinged_{};
  int missed_ = 0;  // pings since the last received byte
};

}  // namespace postern::relay
