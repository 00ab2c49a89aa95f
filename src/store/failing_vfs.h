#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <string>

// For tests: SQLite's own way to the disk, which breaks when it is told to.
namespace postern::store {

/// From its making to its end every SQLite file is opened through it. One at a time, and no file
/// open when it ends. Calls that reach the disk are counted: open, read, write, truncate, sync,
/// size, delete, and making room for the log's index.
class FailingVfs {
 public:
  enum class Failing { once, from_then_on };

  FailingVfs();
  ~FailingVfs();
  FailingVfs(const FailingVfs&) = delete;
  FailingVfs& operator=(const FailingVfs&) = delete;

  /// The `nth` call from now on fails with this result code of SQLite; 1 is the next.
  void fail_at(std::uint64_t nth, Failing how, int code);
  void heal();
  bool failed() const { return failed_; }  // since the last fail_at()

  // For its files.
  /// SQLITE_OK, or what this call fails with.
  int ask();
  sqlite3_vfs* below() const { return below_; }

 private:
  sqlite3_vfs vfs_{};
  sqlite3_vfs* below_;
  std::uint64_t left_ = 0;  // calls until one fails; 0: none
  Failing how_ = Failing::once;
  int code_ = 0;
  bool failed_ = false;
};

}  // namespace postern::store
