#include "node/hook_times.h"

#include <algorithm>
#include <utility>

namespace postern::node {
namespace {

using std::chrono::milliseconds;

constexpr int kJitterParts = 20;  // of the life
constexpr int kRetryParts = 100;
constexpr int kRetryPartsLater = 20;

}  // namespace

milliseconds HookTimes::life() const { return std::max(not_after_ - not_before_, milliseconds(1)); }

milliseconds HookTimes::up_to(milliseconds most) {
  return milliseconds(random_.below(static_cast<std::uint64_t>(most.count()) + 1));
}

void HookTimes::use(WallTime not_before, WallTime not_after) {
  if (used_ && not_before == not_before_ && not_after == not_after_) return;
  used_ = true;
  elsewhere_ = false;
  not_before_ = not_before;
  not_after_ = not_after;
  wait_ = {};
  due_ = not_before_ + life() / 10 * 7 + up_to(life() / kJitterParts);
}

void HookTimes::issued_elsewhere() {
  if (!used_ || std::exchange(elsewhere_, true)) return;
  due_ = std::min(due_, not_before_ + life() / 2 + up_to(life() / kJitterParts));
}

void HookTimes::ended(WallTime now) {
  running_ = false;
  const milliseconds first = std::clamp(life() / kRetryParts, kRetryMin, kRetryFirstMax);
  const milliseconds last =
      std::max(first, std::clamp(life() / kRetryPartsLater, kRetryMin, kRetryMax));
  wait_ = std::clamp(2 * wait_, first, last);
  // Another certificate may have come meanwhile, and is due much later.
  if (now >= due_) due_ = now + wait_ + up_to(wait_ / 4);
}

}  // namespace postern::node
