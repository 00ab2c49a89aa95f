#pragma once

#include <algorithm>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace postern {

/// A token bucket for each of many sources, in a bounded table. Decisions only, the time is passed
/// in; one owner.
class TokenBuckets {
 public:
  struct Limits {
    double rate;   // tokens a second
    double burst;  // at most, and at first
    std::size_t sources_max;
  };
  explicit TokenBuckets(Limits limits) : limits_(limits) {}

  /// Takes one token; zero when there was one, else how long until there is.
  Duration take(const std::string& source, TimePoint now) {
    if (!buckets_.contains(source)) make_room(now);
    Bucket& bucket = buckets_.try_emplace(source, Bucket{limits_.burst, now}).first->second;
    bucket.tokens = std::min(
        limits_.burst,
        bucket.tokens + std::chrono::duration<double>(now - bucket.at).count() * limits_.rate);
    bucket.at = now;
    if (bucket.tokens < 1) return seconds((1 - bucket.tokens) / limits_.rate);
    bucket.tokens -= 1;
    return Duration::zero();
  }

  std::size_t remembered() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens;
    TimePoint at;
  };

  static Duration seconds(double count) {
    return std::max(Duration(1),
                    std::chrono::duration_cast<Duration>(std::chrono::duration<double>(count)));
  }

  void make_room(TimePoint now) {
    if (buckets_.size() < limits_.sources_max) return;
    // A bucket that is full again says no more than none does.
    const Duration full_after = seconds(limits_.burst / limits_.rate);
    std::erase_if(buckets_, [&](const auto& entry) { return now - entry.second.at >= full_after; });
    if (buckets_.size() < limits_.sources_max) return;
    buckets_.erase(
        std::ranges::min_element(buckets_, {}, [](const auto& entry) { return entry.second.at; }));
  }

  Limits limits_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace postern
