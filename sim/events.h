#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "base/clock.h"

namespace postern::sim {

/// The one order of everything that happens in a run: by virtual time, and by the order of asking
/// when times are equal. Time stands still while something happens.
class Events {
 public:
  using What = std::move_only_function<void()>;

  TimePoint now() const { return now_; }
  void at(TimePoint when, What what) {
    queue_.push_back({std::max(when, now_), ++asked_, std::move(what)});
    std::push_heap(queue_.begin(), queue_.end(), later);
  }
  void after(Duration delay, What what) { at(now_ + delay, std::move(what)); }

  /// Does the next one that is due by `until`; false, and it is `until`, when there is none.
  bool step(TimePoint until) {
    if (queue_.empty() || queue_.front().when > until) {
      now_ = std::max(now_, until);
      return false;
    }
    std::pop_heap(queue_.begin(), queue_.end(), later);
    Entry next = std::move(queue_.back());
    queue_.pop_back();
    now_ = next.when;
    ++done_;
    next.what();
    return true;
  }
  std::uint64_t done() const { return done_; }
  /// Forgets what is still to come. What it holds must be there.
  void clear() { queue_.clear(); }

 private:
  struct Entry {
    TimePoint when;
    std::uint64_t asked;
    What what;
  };
  static bool later(const Entry& a, const Entry& b) {
    return a.when != b.when ? a.when > b.when : a.asked > b.asked;
  }

  TimePoint now_{std::chrono::hours(1)};
  std::uint64_t asked_ = 0, done_ = 0;
  std::vector<Entry> queue_;  // a heap
};

/// A machine's own idea of the time: its count goes with the virtual time, its wall clock may be
/// anywhere.
class MachineClock final : public Clock {
 public:
  explicit MachineClock(const Events& events) : events_(events) {}
  TimePoint now() const override { return events_.now(); }
  WallTime wall() const override {
    return true_time() + std::chrono::duration_cast<std::chrono::milliseconds>(off_);
  }
  void set_off(Duration off) { off_ = off; }
  Duration off() const { return off_; }
  WallTime true_time() const {
    return kStart +
           std::chrono::duration_cast<std::chrono::milliseconds>(events_.now().time_since_epoch());
  }

  static constexpr WallTime kStart{std::chrono::milliseconds(1'800'000'000'000)};

 private:
  const Events& events_;
  Duration off_{};
};

}  // namespace postern::sim
