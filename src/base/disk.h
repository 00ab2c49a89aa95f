#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace postern {

/// One open file. Offsets and sizes in bytes. Every call may fail; a failed sync() makes the file
/// untrustworthy from its last good sync on: the caller ends it there and never writes it again
/// (rule D2), because the kernel may have dropped the dirty pages.
class File {
 public:
  virtual ~File() = default;
  virtual Result<> write_at(std::uint64_t offset, ByteView bytes) = 0;
  /// Reads up to out.size() bytes; fewer only at the end of the file.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
  virtual Result<> sync() = 0;  // fdatasync
  virtual Result<std::uint64_t> size() const = 0;
  virtual Result<> truncate(std::uint64_t size) = 0;
};

/// What stands at a path (links are followed), whose it is and who may do what with it.
struct FileStatus {
  bool folder = false;
  bool regular = false;  // an ordinary file: no folder, device, pipe ...
  unsigned mode = 0;     // the permission bits, 0600
  unsigned user = 0;
  unsigned group = 0;
  bool operator==(const FileStatus&) const = default;
};

/// The only door to files. Durations of calls are unbounded: never call it on an event loop
/// except at start-up.
class Disk {
 public:
  enum class Open { read, write_existing, create_new };  // create_new fails when it exists

  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) = 0;
  virtual Result<> make_directories(const std::filesystem::path& path) = 0;
  virtual Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual Result<> remove(const std::filesystem::path& path) = 0;
  virtual Result<bool> exists(const std::filesystem::path& path) = 0;
  /// Names in a directory, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> list(const std::filesystem::path& path) = 0;
  /// Makes creations, renames and removals in `path` durable.
  virtual Result<> sync_directory(const std::filesystem::path& path) = 0;
  virtual Result<std::uint64_t> free_bytes(const std::filesystem::path& path) = 0;
  /// `unavailable` also when nothing stands there.
  virtual Result<FileStatus> status(const std::filesystem::path& path) = 0;
  virtual Result<> set_mode(const std::filesystem::path& path, unsigned mode) = 0;
  /// Gives what we just made at `path` to somebody else; only root does anything. That somebody may
  /// have put another thing in its place meanwhile: `denied`, as a link must not make root give
  /// away a foreign file.
  virtual Result<> hand_over(const std::filesystem::path& path, unsigned user, unsigned group) = 0;

  /// Whole small files. write_file is atomic and durable: temporary file, fdatasync, rename,
  /// directory sync; mode is applied before the first byte is written.
  Result<Bytes> read_file(const std::filesystem::path& path, std::uint64_t bytes_max = 16u << 20);
  virtual Result<> write_file(const std::filesystem::path& path, ByteView bytes,
                              unsigned mode = 0640) = 0;
};

/// The real one. Files are opened with O_CLOEXEC and created 0640, directories 0750.
class PosixDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) override;
  Result<> make_directories(const std::filesystem::path& path) override;
  Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Result<> remove(const std::filesystem::path& path) override;
  Result<bool> exists(const std::filesystem::path& path) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& path) override;
  Result<> sync_directory(const std::filesystem::path& path) override;
  Result<std::uint64_t> free_bytes(const std::filesystem::path& path) override;
  Result<FileStatus> status(const std::filesystem::path& path) override;
  Result<> set_mode(const std::filesystem::path& path, unsigned mode) override;
  Result<> hand_over(const std::filesystem::path& path, unsigned user, unsigned group) override;
  Result<> write_file(const std::filesystem::path& path, ByteView bytes, unsigned mode) override;
};

}  // namespace postern
