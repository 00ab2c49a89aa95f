#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern {

/// What a file system is asked for, as far as it can fail.
enum class Call {
  look,  // attributes, names, folders' contents
  open,
  read,
  write,
  truncate,
  allocate,
  sync,    // of files and folders
  create,  // files, folders, links, sockets
  remove,
  rename,
};
inline constexpr std::array kCallNames{"look",     "open", "read",   "write",  "truncate",
                                       "allocate", "sync", "create", "remove", "rename"};
inline constexpr std::size_t kCalls = kCallNames.size();

/// Which calls a fault means: one kind, `change` (all that change something, sync included) or
/// `any`.
using CallSet = std::array<bool, kCalls>;
std::optional<CallSet> parse_calls(std::string_view name);
/// ENOSPC, EDQUOT, EIO, EROFS.
std::optional<int> parse_error(std::string_view name);

struct Fault {
  CallSet calls{};
  int error = 0;            // 0: the call hangs until heal()
  bool cuts = false;        // power fails before the call does anything, see cut()
  std::uint64_t in = 1;     // the in-th call from now on, 1 is the next
  bool persistent = false;  // and every one after it
};

/// Decides which call fails or hangs. Any thread; only a call that hangs waits, and it holds
/// nothing meanwhile.
class Faults {
 public:
  /// 0, or the error that the call has to return. Hangs as long as a fault says so.
  int meet(Call call);

  void add(const Fault& fault);
  /// These calls take so much longer, until heal().
  void slow_down(const CallSet& calls, std::chrono::milliseconds by);
  /// No fault any more. What hung goes on, or ends with EIO if `gave_up`; returns when nothing
  /// hangs any more.
  void heal(bool gave_up = false);

  /// Power fails: nothing changes any more. Calls that would hang, so a program does nothing more
  /// on account of it until it is killed.
  void cut();
  /// What hangs, and what would change something from now on, ends with EIO: a program that is
  /// being killed can end.
  void let_go();
  void power_on();
  bool is_cut() const;

  std::size_t hanging() const;
  std::array<std::uint64_t, kCalls> counted() const;

 private:
  enum class Power { on, cut, let_go };
  int wait_without_power(std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;  // over everything below
  std::condition_variable changed_;
  std::vector<Fault> faults_;
  std::array<std::uint64_t, kCalls> counted_{};
  std::array<std::chrono::milliseconds, kCalls> slower_{};
  std::size_t hanging_ = 0;
  std::uint64_t healed_ = 0;
  bool gave_up_ = false;
  Power power_ = Power::on;
};

}  // namespace postern
