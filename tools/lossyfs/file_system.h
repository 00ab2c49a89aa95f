#pragma once

#define FUSE_USE_VERSION 312
#include <fuse3/fuse.h>

#include <mutex>
#include <string>

#include "lossyfs/faults.h"
#include "lossyfs/unsynced.h"

namespace postern {

/// A folder seen through FUSE: what is written passes to BACKING/data at once, and Unsynced
/// remembers how to lose it. Calls come from FUSE's threads, commands from the control socket's.
class FileSystem {
 public:
  /// Makes BACKING/data and BACKING/removed; what an earlier run removed is gone.
  explicit FileSystem(const std::string& backing);

  /// One command line (see main.cc) and its answer, `ok ...` or `error ...`, without line ends.
  std::string command(const std::string& line);

  /// For fuse_new(): they expect `this` as the private data.
  static fuse_operations operations();

 private:
  struct Calls;  // one static function a call

  std::string lose(std::uint64_t seed);
  std::string figures() const;

  const std::string root_;
  const int root_folder_;
  Faults faults_;
  mutable std::mutex mutex_;  // over unsynced_, and that a change and its noting are one
  Unsynced unsynced_;
};

}  // namespace postern
