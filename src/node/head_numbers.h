#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/clock.h"
#include "base/disk.h"

namespace postern::node {

/// Numbers of heads: they rise always, also across restarts and when the clock was set back
/// (channel.md#W43). A number is the time in milliseconds, or one more than the last if that is
/// higher. STATE/head-number is a promise never to have gone above it; it is renewed about once an
/// hour, so a restart costs at most that much of a lead over the clock.
///
/// A plain value; the file is the caller's.
class HeadNumbers {
 public:
  static constexpr std::uint64_t kAhead = 3'600'000;

  HeadNumbers() = default;
  /// `promised`: what the file says; 0 when there is none.
  explicit HeadNumbers(std::uint64_t promised) : last_(promised) {}

  std::uint64_t next(WallTime now) {
    last_ = std::max(last_ + 1, static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_ms(now))));
    return last_;
  }
  /// What to write down now, before more is given out than was promised; nothing while it suffices.
  std::optional<std::uint64_t> to_promise() {
    if (last_ + kAhead / 2 < promised_) return std::nullopt;
    promised_ = last_ + kAhead;
    return promised_;
  }

 private:
  std::uint64_t last_ = 0, promised_ = 0;
};

Result<std::uint64_t> read_head_number(Disk& disk, const std::filesystem::path& state);
Result<> write_head_number(Disk& disk, const std::filesystem::path& state, std::uint64_t promised);

}  // namespace postern::node
