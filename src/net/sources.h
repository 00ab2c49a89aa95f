#pragma once

// For net's own .cc files.

#include <algorithm>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/token_buckets.h"

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
  explicit Sources(Limits limits)
      : limits_(limits), buckets_({limits.rate, limits.burst, limits.sources_max}) {}

  bool admit(const std::string& source, TimePoint now) {
    if (const auto known = trusted_.find(source); known != trusted_.end()) {
      if (now - known->second < limits_.trusted_for) return true;
      trusted_.erase(known);
    }
    return buckets_.take(source, now) == Duration::zero();
  }

  void trust(const std::string& source, TimePoint now) {
    if (trusted_.size() >= limits_.trusted_max && !trusted_.contains(source))
      trusted_.erase(
          std::ranges::min_element(trusted_, {}, [](const auto& entry) { return entry.second; }));
    trusted_[source] = now;
  }

  std::size_t remembered() const { return buckets_.remembered(); }

 private:
  Limits limits_;
  TokenBuckets buckets_;
  std::unordered_map<std::string, TimePoint> trusted_;
};

}  // namespace postern
