#include "lossyfs/faults.h"

#include <cerrno>
#include <thread>

namespace postern {
namespace {

bool changes_something(Call call) { return call >= Call::write; }

}  // namespace

std::optional<CallSet> parse_calls(std::string_view name) {
  CallSet set{};
  for (std::size_t call = 0; call < kCalls; ++call) {
    const bool changes = changes_something(static_cast<Call>(call));
    set[call] = name == "any" || name == kCallNames[call] || (name == "change" && changes);
  }
  if (set == CallSet{}) return std::nullopt;
  return set;
}

std::optional<int> parse_error(std::string_view name) {
  if (name == "ENOSPC") return ENOSPC;
  if (name == "EDQUOT") return EDQUOT;
  if (name == "EIO") return EIO;
  if (name == "EROFS") return EROFS;
  return std::nullopt;
}

int Faults::meet(Call call) {
  const auto index = static_cast<std::size_t>(call);
  std::unique_lock lock(mutex_);
  ++counted_[index];
  if (const auto slower = slower_[index]; slower.count() > 0) {
    lock.unlock();
    std::this_thread::sleep_for(slower);
    lock.lock();
  }
  if (power_ != Power::on && changes_something(call)) return wait_without_power(lock);
  bool hangs = false;
  int error = 0;
  for (std::size_t at = 0; at < faults_.size();) {
    Fault& fault = faults_[at];
    if (!fault.calls[index] || (fault.in > 1 && fault.in-- > 1)) {
      ++at;
      continue;
    }
    if (fault.cuts) power_ = Power::cut;
    if (fault.error == 0 && !fault.cuts) hangs = true;
    if (fault.error != 0 && error == 0) error = fault.error;
    if (fault.persistent) {
      ++at;
    } else {
      faults_.erase(faults_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  if (power_ != Power::on && changes_something(call)) return wait_without_power(lock);
  if (!hangs) return error;
  ++hanging_;
  changed_.wait(lock, [this, before = healed_] { return healed_ != before; });
  --hanging_;
  changed_.notify_all();
  return gave_up_ ? EIO : error;
}

int Faults::wait_without_power(std::unique_lock<std::mutex>& lock) {
  ++hanging_;
  changed_.wait(lock, [this] { return power_ != Power::cut; });
  --hanging_;
  changed_.notify_all();
  return EIO;
}

void Faults::cut() {
  const std::scoped_lock lock(mutex_);
  power_ = Power::cut;
}

void Faults::let_go() {
  {
    const std::scoped_lock lock(mutex_);
    power_ = Power::let_go;
  }
  heal(true);
}

void Faults::power_on() {
  const std::scoped_lock lock(mutex_);
  power_ = Power::on;
}

bool Faults::is_cut() const {
  const std::scoped_lock lock(mutex_);
  return power_ != Power::on;
}

void Faults::add(const Fault& fault) {
  const std::scoped_lock lock(mutex_);
  faults_.push_back(fault);
}

void Faults::slow_down(const CallSet& calls, std::chrono::milliseconds by) {
  const std::scoped_lock lock(mutex_);
  for (std::size_t call = 0; call < kCalls; ++call)
    if (calls[call]) slower_[call] = by;
}

void Faults::heal(bool gave_up) {
  std::unique_lock lock(mutex_);
  faults_.clear();
  slower_ = {};
  gave_up_ = gave_up;
  ++healed_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return hanging_ == 0; });
}

std::size_t Faults::hanging() const {
  const std::scoped_lock lock(mutex_);
  return hanging_;
}

std::array<std::uint64_t, kCalls> Faults::counted() const {
  const std::scoped_lock lock(mutex_);
  return counted_;
}

}  // namespace postern
