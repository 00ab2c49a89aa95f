#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"

namespace postern::relay {

/// Decides which parent to dial next, and when (rules P1, P2). The list is ordered: the primary
/// first. A lost parent is followed by the next one at once; a parent that fails again and again is
/// asked less often, up to kBackoffMax, with jitter, and is never given up.
class ParentOrder {
 public:
  static constexpr Duration kBackoffFirst = std::chrono::seconds(1);
  static constexpr Duration kBackoffMax = std::chrono::seconds(30);
  /// A refuser may ask for patience, not for eternity: it may be captured.
  static constexpr Duration kRetryAfterMax = std::chrono::minutes(5);

  explicit ParentOrder(Random& random) : random_(random) {}

  /// A new list; parents that stay keep their history.
  void set(const std::vector<std::string>& names);

  struct Next {
    std::size_t index = 0;
    TimePoint at{};  // not before this
  };
  /// The parent whose turn it is. The list must not be empty.
  Next next() const;

  /// It could not be reached or has refused us; not again before `retry_after`, if it said one.
  void failed(std::size_t index, TimePoint now, Duration retry_after = {});
  void attached(std::size_t index);
  /// An established connection has ended.
  void lost(std::size_t index, TimePoint now);

 private:
  struct Entry {
    std::string name;
    unsigned failures = 0;
    TimePoint not_before{};
  };
  Random& random_;
  std::vector<Entry> entries_;
};

}  // namespace postern::relay
