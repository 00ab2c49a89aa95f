#pragma once

#include <chrono>

#include "base/clock.h"
#include "base/random.h"

namespace postern::node {

/// When the command that fetches the next certificate from elsewhere runs. Decides only: whoever
/// owns it has the clock and runs the command.
///
/// It is due when half of the certificate's life is over, up to a twentieth of it later, and nobody
/// here renews it; when seven tenths are over, whoever should have renewed it has not. Then again
/// and again at growing distances, until another certificate is in use.
class HookTimes {
 public:
  // Between two runs: at first a hundredth of the life, at most a twentieth, within these.
  static constexpr std::chrono::milliseconds kRetryMin{1000};
  static constexpr std::chrono::milliseconds kRetryFirstMax = std::chrono::hours(1);
  static constexpr std::chrono::milliseconds kRetryMax = std::chrono::hours(24);

  explicit HookTimes(Random& random) : random_(random) {}

  /// The certificate in use; again whenever it is another one.
  void use(WallTime not_before, WallTime not_after);
  /// The group's authority did not issue the one in use, or nobody asks it.
  void issued_elsewhere();
  /// When it runs next; max: not while nothing else is told.
  WallTime due() const { return running_ ? WallTime::max() : due_; }
  bool is_due(WallTime now) const { return now >= due(); }
  /// It runs: not due until it has ended, whatever came of it.
  void started() { running_ = true; }
  void ended(WallTime now);

 private:
  std::chrono::milliseconds life() const;
  std::chrono::milliseconds up_to(std::chrono::milliseconds most);

  Random& random_;
  bool used_ = false, elsewhere_ = false, running_ = false;
  WallTime not_before_{}, not_after_{};
  WallTime due_ = WallTime::max();
  std::chrono::milliseconds wait_{};
};

}  // namespace postern::node
