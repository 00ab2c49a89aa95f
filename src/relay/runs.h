#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

namespace postern::relay {

/// Batches first to last of one stream.
struct Range {
  std::uint64_t first = 0, last = 0;
  bool operator==(const Range&) const = default;
};

/// A set of numbers, kept as ascending runs that do not touch. A plain value.
class Runs {
 public:
  void add(std::uint64_t number) {
    auto next = runs_.upper_bound(number);
    const bool joins_next = next != runs_.end() && next->first == number + 1;
    const bool joins_previous = next != runs_.begin() && std::prev(next)->second + 1 == number;
    const std::uint64_t last = joins_next ? next->second : number;
    if (joins_next) next = runs_.erase(next);
    if (joins_previous)
      std::prev(next)->second = last;
    else
      runs_.emplace_hint(next, number, last);
  }

  void remove(std::uint64_t number) {
    auto run = runs_.upper_bound(number);
    if (run == runs_.begin()) return;
    --run;
    const auto [first, last] = *run;
    if (last < number) return;
    if (first == number)
      runs_.erase(run);
    else
      run->second = number - 1;
    if (last > number) runs_.emplace(number + 1, last);
  }

  /// What of `range` is in the set.
  std::vector<Range> within(Range range) const {
    std::vector<Range> found;
    auto run = runs_.upper_bound(range.first);
    if (run != runs_.begin() && std::prev(run)->second >= range.first) --run;
    for (; run != runs_.end() && run->first <= range.last; ++run)
      found.push_back({std::max(run->first, range.first), std::min(run->second, range.last)});
    return found;
  }

  void clear() { runs_.clear(); }
  auto begin() const { return runs_.begin(); }  // pairs of first and last
  auto end() const { return runs_.end(); }

 private:
  std::map<std::uint64_t, std::uint64_t> runs_;
};

}  // namespace postern::relay
