#pragma once

#include <functional>
#include <memory>

#include "base/disk.h"

namespace postern {

/// A disk in memory that breaks when it is told to: for tests and the simulator.
///
/// It keeps apart what programs see and what would survive loss of power: bytes written become
/// durable by File::sync(), names by sync_directory(). Directories themselves are durable at once.
/// Thread-safe. It must outlive its files.
class FakeDisk final : public Disk {
 public:
  enum class Failing { once, from_then_on };

  explicit FakeDisk(std::uint64_t seed = 1);
  ~FakeDisk() override;

  /// The `nth` call from now on fails with `code`; 1 is the next. Every call of Disk and File
  /// counts. A write that fails may have written a part. After a sync that fails, programs still
  /// see what was written, but a part of it never reaches the disk and later syncs do not say so:
  /// as the kernel does when it drops dirty pages.
  void fail_at(std::uint64_t nth, Failing how = Failing::once, Errc code = Errc::unavailable);
  void heal();                  // no failure is planned any more
  bool failed() const;          // since the last fail_at()
  std::uint64_t calls() const;  // so far, failed ones included
  std::uint64_t syncs() const;  // File::sync() calls that succeeded

  /// Loss of power. Of every write not synced the whole, some sectors of 512 bytes, or nothing
  /// remains; of the changes to names not synced any may be undone. Files open now fail for good.
  void crash();

  /// Writes that would carry all files over this many bytes fail as `exhausted`.
  void set_bytes_max(std::uint64_t bytes_max);
  /// Called at the start of every File::sync(), outside all locks: it may block.
  void set_on_sync(std::function<void()> on_sync);

  /// A whole file, past all failures: for tests that look or do damage. Durable at once.
  /// contents() of a file that is not there is empty.
  Bytes contents(const std::filesystem::path& path) const;
  void set_contents(const std::filesystem::path& path, Bytes bytes);

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) override;
  Result<> make_directories(const std::filesystem::path& path) override;
  Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Result<> remove(const std::filesystem::path& path) override;
  Result<bool> exists(const std::filesystem::path& path) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& path) override;
  Result<> sync_directory(const std::filesystem::path& path) override;
  Result<std::uint64_t> free_bytes(const std::filesystem::path& path) override;
  /// It keeps no permissions: everything is root's and nobody else's.
  Result<FileStatus> status(const std::filesystem::path& path) override;
  Result<> set_mode(const std::filesystem::path& path, unsigned mode) override;
  Result<> hand_over(const std::filesystem::path& path, unsigned user, unsigned group) override;
  Result<> write_file(const std::filesystem::path& path, ByteView bytes,
                      unsigned mode = 0640) override;

 private:
  struct State;
  class OpenFile;
  std::unique_ptr<State> state_;
};

}  // namespace postern
