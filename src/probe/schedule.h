#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/measurement.h"
#include "settings/collectors.h"

namespace postern {

/// When each collector is asked, and how each is doing. Decides only: whoever owns it has the
/// clock, asks the collectors and says what came of it.
///
/// Collectors of equal intervals are due together. One that has not answered is not asked again,
/// whatever became of its interval; after kAnswerMax it counts as hanging.
class Schedule {
 public:
  static constexpr Duration kAnswerMax = std::chrono::seconds(5);

  /// Everything is due at `now`.
  Schedule(const Sampling& sampling, TimePoint now, WallTime wall);

  /// Everything is due one interval from now. What is asked for stays so.
  void set(const Sampling& sampling, TimePoint now, WallTime wall);

  /// Those to ask now, in the order of CollectorId; each counts as asked until answered().
  std::vector<CollectorId> take_due(TimePoint now);
  /// `took`: by the collector itself. `problems`: empty when all went well. True when it became
  /// healthy or stopped being so.
  bool answered(CollectorId id, TimePoint now, WallTime wall, Duration took,
                const std::vector<Error>& problems);
  /// Notices what hangs: those that were healthy before.
  std::vector<CollectorId> look(TimePoint now, WallTime wall);
  /// When to take_due() and look() again.
  TimePoint next(TimePoint now) const;

  struct Standing {
    bool healthy = true;
    std::string reason;  // why not, or "switched off"
    WallTime since{};
    Duration took{};             // the last time
    std::uint64_t failures = 0;  // calls with problems, or that hung
    bool operator==(const Standing&) const = default;
  };
  const Standing& standing(CollectorId id) const { return each_[index_of(id)].standing; }
  bool is_asked(CollectorId id) const { return each_[index_of(id)].asked.has_value(); }
  bool is_on(CollectorId id) const { return sampling_.on(id); }

  /// The entity "postern.collector" that says so: id host.name and postern.collector, attributes
  /// state (healthy or warning), reason and since.
  EntityState state(CollectorId id, const std::string& host) const;

 private:
  struct One {
    TimePoint due{};
    std::optional<TimePoint> asked;
    bool hangs = false;
    Standing standing;
  };
  static bool becomes(One& one, bool healthy, std::string reason, WallTime wall);
  void move_on(CollectorId id, TimePoint now);

  Sampling sampling_;
  std::array<One, kCollectorCount> each_;
};

}  // namespace postern
