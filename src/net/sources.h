#pragma once

// For net's own .cc files.

#include <algorithm>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace postern {

/// Who may connect how often (rule C5): a token bucket for each source, none for those that have
/// authenticated lately. Bounded tables; decisions only, the time is passed in.
class Sources {
 public:
  struct Limits {
    double rate;  // connections a second
    double burst;
    std::size_t sources_max;
    Duration trusted_for;
    std::size_t trusted_max;
  };
  explicit Sources(Limits limits) : limits_(limits) {}

  bool admit(const std::string& source, TimePoint now) {
    if (const auto known = trusted_.find(source); known != trusted_.end()) {
      if (now - known->second < limits_.trusted_for) return true;
      trusted_.erase(known);
    }
    if (!buckets_.contains(source)) make_room(now);
    Bucket& bucket = buckets_.try_emplace(source, Bucket{limits_.burst, now}).first->second;
    bucket.tokens = std::min(
        limits_.burst,
        bucket.tokens + std::chrono::duration<double>(now - bucket.at).count() * limits_.rate);
    bucket.at = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  void trust(const std::string& source, TimePoint now) {
    if (trusted_.size() >= limits_.trusted_max && !trusted_.contains(source))
      drop_oldest(trusted_, [](TimePoint at) { return at; });
    trusted_[source] = now;
  }

  std::size_t remembered() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens;
    TimePoint at;
  };

  void make_room(TimePoint now) {
    if (buckets_.size() < limits_.sources_max) return;
    // A bucket that is full again says no more than none does.
    const Duration full_after = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(limits_.burst / limits_.rate));
    std::erase_if(buckets_, [&](const auto& entry) { return now - entry.second.at >= full_after; });
    if (buckets_.size() >= limits_.sources_max)
      drop_oldest(buckets_, [](const Bucket& b) { return b.at; });
  }

  template <typename Table, typename When>
  static void drop_oldest(Table& table, When when) {
    const auto oldest = std::min_element(
        table.begin(), table.end(),
        [&](const auto& a, const auto& b) { return when(a.second) < when(b.second); });
    if (oldest != table.end()) table.erase(oldest);
  }

  Limits limits_;
  std::unordered_map<std::string, Bucket> buckets_;
  std::unordered_map<std::string, TimePoint> trusted_;
};

}  // namespace postern
