#pragma once

#include <cstdint>
#include <string>

#include "sim/events.h"

namespace postern::sim {

/// A process on a machine, as the network sees it.
class Host {
 public:
  virtual ~Host() = default;
  virtual const std::string& label() const = 0;  // its address, and its name in the trace
  virtual std::size_t index() const = 0;
  /// Rises at each start and at each end of the process: what was told to an earlier life is told
  /// to nobody.
  virtual std::uint64_t life() const = 0;
  virtual bool running() const = 0;  // false also while a process is being destroyed
  virtual bool powered() const = 0;  // its kernel answers for a process that is gone
  /// Runs `what` as one turn of its core loop, when it still is in the life `life`.
  virtual void enter(std::uint64_t life, Events::What what) = 0;
};

}  // namespace postern::sim
