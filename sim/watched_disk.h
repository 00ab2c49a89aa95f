#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/fake_disk.h"

namespace postern::sim {

/// What a disk is seen to do, for the oracle. Only what succeeded is told, but for `failed`.
class DiskWatcher {
 public:
  virtual ~DiskWatcher() = default;
  virtual void on_write(const std::string& path, ByteView bytes) = 0;
  virtual void on_sync(const std::string& path) = 0;
  virtual void on_remove(const std::string& path) = 0;
  virtual void on_failure() = 0;
};

/// A FakeDisk that is watched, and whose whole content can be taken and put back.
class WatchedDisk final : public Disk {
 public:
  using Files = std::map<std::string, Bytes>;

  WatchedDisk(std::uint64_t seed, DiskWatcher& watcher)
      : watcher_(watcher), disk_(std::make_unique<FakeDisk>(seed)) {}

  FakeDisk& fake() { return *disk_; }
  /// As programs see them. No failure may be planned.
  Files files();
  /// A new disk with these files. Nobody may have one of the old disk open.
  void replace(std::uint64_t seed, const Files& files);

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) override;
  Result<> make_directories(const std::filesystem::path& path) override {
    return told(disk_->make_directories(path));
  }
  Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Result<> remove(const std::filesystem::path& path) override;
  Result<bool> exists(const std::filesystem::path& path) override {
    return told(disk_->exists(path));
  }
  Result<std::vector<std::string>> list(const std::filesystem::path& path) override {
    return told(disk_->list(path));
  }
  Result<> sync_directory(const std::filesystem::path& path) override {
    return told(disk_->sync_directory(path));
  }
  Result<std::uint64_t> free_bytes(const std::filesystem::path& path) override {
    return told(disk_->free_bytes(path));
  }
  Result<FileStatus> status(const std::filesystem::path& path) override {
    return told(disk_->status(path));
  }
  Result<> set_mode(const std::filesystem::path& path, unsigned mode) override {
    return told(disk_->set_mode(path, mode));
  }
  Result<> hand_over(const std::filesystem::path& path, unsigned user, unsigned group) override {
    return told(disk_->hand_over(path, user, group));
  }
  Result<> write_file(const std::filesystem::path& path, ByteView bytes,
                      unsigned mode = 0640) override {
    return told(disk_->write_file(path, bytes, mode));
  }

 private:
  class WatchedFile;
  template <typename T>
  T told(T result) {
    if (!result) watcher_.on_failure();  // also a file that is not there
    return result;
  }
  void collect(const std::filesystem::path& folder, Files& into);

  DiskWatcher& watcher_;
  std::unique_ptr<FakeDisk> disk_;
};

}  // namespace postern::sim
