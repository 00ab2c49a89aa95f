#pragma once

#include <chrono>
#include <cstdint>
#include <ratio>
#include <string>

namespace postern {

using Duration = std::chrono::nanoseconds;

/// CLOCK_BOOTTIME: never set back, and it counts while the machine sleeps (rule C7).
struct BootClock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = Duration;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
};
using TimePoint = BootClock::time_point;

/// Wall time as it goes into messages and documents: milliseconds since 1970-01-01 UTC.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;

inline std::int64_t to_ms(WallTime t) { return t.time_since_epoch().count(); }
inline WallTime wall_from_ms(std::int64_t ms) { return WallTime(std::chrono::milliseconds(ms)); }
/// RFC 3339 in UTC with milliseconds: 2026-01-31T08:15:00.000Z
std::string to_rfc3339(WallTime t);

/// The only door to time. Decisions take the time as an argument; shells ask a Clock.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual WallTime wall() const = 0;
};

class SystemClock final : public Clock {
 public:
  TimePoint now() const override;
  WallTime wall() const override;
};

/// Stands still until it is told to move.
class FakeClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  WallTime wall() const override { return wall_; }
  void advance(Duration by) {
    now_ += by;
    wall_ += std::chrono::duration_cast<std::chrono::milliseconds>(by);
  }
  void set_wall(WallTime wall) { wall_ = wall; }

 private:
  TimePoint now_{std::chrono::hours(1)};
  WallTime wall_{std::chrono::milliseconds(1'800'000'000'000)};
};

}  // namespace postern
