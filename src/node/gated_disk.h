#pragma once

#include <condition_variable>
#include <mutex>
#include <string>

#include "base/disk.h"

namespace postern::testing_support {

/// The real disk, whose syncs of the spool's files wait at a gate or fail when a test says so.
/// Thread-safe. Open the gate before the spool ends.
class GatedDisk final : public Disk {
 public:
  void close_gate() {
    const std::scoped_lock lock(mutex_);
    open_ = false;
  }
  void open_gate() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// From now on every sync of the spool fails; or none.
  void fail_syncs(bool failing) {
    const std::scoped_lock lock(mutex_);
    failing_ = failing;
  }
  bool something_waits() const {
    const std::scoped_lock lock(mutex_);
    return waiting_ > 0;
  }
  int failed() const {
    const std::scoped_lock lock(mutex_);
    return failed_;
  }

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) override {
    auto file = disk_.open(path, how);
    if (!file || path.parent_path().filename() != "spool") return file;
    return std::make_unique<GatedFile>(*this, std::move(*file));
  }
  Result<> make_directories(const std::filesystem::path& path) override {
    return disk_.make_directories(path);
  }
  Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return disk_.rename(from, to);
  }
  Result<> remove(const std::filesystem::path& path) override { return disk_.remove(path); }
  Result<bool> exists(const std::filesystem::path& path) override { return disk_.exists(path); }
  Result<std::vector<std::string>> list(const std::filesystem::path& path) override {
    return disk_.list(path);
  }
  Result<FileStatus> status(const std::filesystem::path& path) override {
    return disk_.status(path);
  }
  Result<> set_mode(const std::filesystem::path& path, unsigned mode) override {
    return disk_.set_mode(path, mode);
  }
  Result<> hand_over(const std::filesystem::path& path, unsigned user, unsigned group) override {
    return disk_.hand_over(path, user, group);
  }
  Result<> sync_directory(const std::filesystem::path& path) override {
    return disk_.sync_directory(path);
  }
  Result<std::uint64_t> free_bytes(const std::filesystem::path& path) override {
    return disk_.free_bytes(path);
  }
  Result<> write_file(const std::filesystem::path& path, ByteView bytes, unsigned mode) override {
    return disk_.write_file(path, bytes, mode);
  }

 private:
  class GatedFile final : public File {
   public:
    GatedFile(GatedDisk& disk, std::unique_ptr<File> file) : disk_(disk), file_(std::move(file)) {}
    Result<> write_at(std::uint64_t offset, ByteView bytes) override {
      return file_->write_at(offset, bytes);
    }
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
      return file_->read_at(offset, out);
    }
    Result<> sync() override {
      if (auto passed = disk_.pass(); !passed) return passed;
      return file_->sync();
    }
    Result<std::uint64_t> size() const override { return file_->size(); }
    Result<> truncate(std::uint64_t size) override { return file_->truncate(size); }

   private:
    GatedDisk& disk_;
    std::unique_ptr<File> file_;
  };

  Result<> pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
    if (!failing_) return {};
    ++failed_;
    return fail(Errc::unavailable, "the test's disk does not sync");
  }

  PosixDisk disk_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true, failing_ = false;
  int waiting_ = 0, failed_ = 0;
};

}  // namespace postern::testing_support
