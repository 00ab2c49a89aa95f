#pragma once

// Temporary folders and a disk that dies, for the tests of this folder.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/disk.h"

namespace postern::testing_support {

/// Removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    // In memory where there is such a folder: a sync costs nothing there, and crash tests do many.
    const std::filesystem::path memory = "/dev/shm";
    const bool usable = ::access(memory.c_str(), W_OK) == 0;
    const auto parent = usable ? memory : std::filesystem::temp_directory_path();
    std::string name = (parent / "postern-identity-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary folder";
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Does its first `changes` changes and fails every one after, as if the power had gone.
class DyingDisk final : public Disk {
 public:
  explicit DyingDisk(int changes) : left_(changes) {}

  Result<> make_directories(const std::filesystem::path& path) override {
    return alive() ? disk_.make_directories(path) : dead();
  }
  Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return alive() ? disk_.rename(from, to) : dead();
  }
  Result<> remove(const std::filesystem::path& path) override {
    return alive() ? disk_.remove(path) : dead();
  }
  Result<> write_file(const std::filesystem::path& path, ByteView bytes, unsigned mode) override {
    return alive() ? disk_.write_file(path, bytes, mode) : dead();
  }
  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) override {
    return disk_.open(path, how);
  }
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

 private:
  bool alive() { return left_-- > 0; }
  static Result<> dead() { return fail(Errc::unavailable, "the power is gone"); }
  PosixDisk disk_;
  int left_;
};

}  // namespace postern::testing_support
