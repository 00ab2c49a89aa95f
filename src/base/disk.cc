#include "base/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace postern {
namespace {

/// ENOSPC and EDQUOT end with space, everything else may end with a repair: all are worth a retry.
std::unexpected<Error> errno_failure(const char* call, const std::filesystem::path& path) {
  const int number = errno;
  const bool full = number == ENOSPC || number == EDQUOT;
  return fail(full ? Errc::exhausted : Errc::unavailable, "{} {}: {}", call, path.string(),
              std::strerror(number));
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  Result<> write_at(std::uint64_t offset, ByteView bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno_failure("write", path_);
      offset += static_cast<std::uint64_t>(n);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n =
          ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno_failure("read", path_);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<> sync() override {
    if (::fdatasync(fd_) != 0) return errno_failure("fdatasync", path_);
    return {};
  }

  Result<std::uint64_t> size() const override {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) return errno_failure("stat", path_);
    return static_cast<std::uint64_t>(info.st_size);
  }

  Result<> truncate(std::uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return errno_failure("truncate", path_);
    return {};
  }

 private:
  int fd_;
  std::filesystem::path path_;
};

}  // namespace

Result<Bytes> Disk::read_file(const std::filesystem::path& path, std::uint64_t bytes_max) {
  auto file = open(path, Open::read);
  if (!file) return std::unexpected(file.error());
  auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  if (*size > bytes_max)
    return fail(Errc::invalid, "{} has {} bytes, the limit is {}", path.string(), *size, bytes_max);
  Bytes bytes(static_cast<std::size_t>(*size));
  auto got = (*file)->read_at(0, bytes);
  if (!got) return std::unexpected(got.error());
  bytes.resize(*got);
  return bytes;
}

Result<std::unique_ptr<File>> PosixDisk::open(const std::filesystem::path& path, Open how) {
  int flags = O_CLOEXEC;
  if (how == Open::read) flags |= O_RDONLY;
  if (how == Open::write_existing) flags |= O_RDWR;
  if (how == Open::create_new) flags |= O_RDWR | O_CREAT | O_EXCL;
  const int fd = ::open(path.c_str(), flags, 0640);
  if (fd < 0) return errno_failure("open", path);
  return std::make_unique<PosixFile>(fd, path);
}

Result<> PosixDisk::make_directories(const std::filesystem::path& path) {
  if (path.empty()) return {};
  if (::mkdir(path.c_str(), 0750) == 0) return {};
  if (errno == EEXIST) return {};
  if (errno != ENOENT) return errno_failure("mkdir", path);
  if (auto parent = make_directories(path.parent_path()); !parent) return parent;
  if (::mkdir(path.c_str(), 0750) != 0 && errno != EEXIST) return errno_failure("mkdir", path);
  return {};
}

Result<> PosixDisk::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return errno_failure("rename", from);
  return {};
}

Result<> PosixDisk::remove(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return errno_failure("remove", path);
  return {};
}

Result<bool> PosixDisk::exists(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return errno_failure("stat", path);
}

Result<std::vector<std::string>> PosixDisk::list(const std::filesystem::path& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return errno_failure("list", path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

Result<> PosixDisk::sync_directory(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno_failure("open", path);
  const int failed = ::fsync(fd);
  const int number = errno;
  ::close(fd);
  errno = number;
  if (failed != 0) return errno_failure("fsync", path);
  return {};
}

Result<std::uint64_t> PosixDisk::free_bytes(const std::filesystem::path& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) return errno_failure("statvfs", path);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

Result<FileStatus> PosixDisk::status(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno_failure("stat", path);
  return FileStatus{S_ISDIR(info.st_mode), S_ISREG(info.st_mode), info.st_mode & 07777, info.st_uid,
                    info.st_gid};
}

Result<> PosixDisk::set_mode(const std::filesystem::path& path, unsigned mode) {
  if (::chmod(path.c_str(), mode) != 0) return errno_failure("chmod", path);
  return {};
}

Result<> PosixDisk::hand_over(const std::filesystem::path& path, unsigned user, unsigned group) {
  if (::geteuid() != 0) return {};
  const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno_failure("open", path);
  struct stat info {};
  const bool known = ::fstat(fd, &info) == 0;
  const bool ours = known && (info.st_uid == 0 || info.st_uid == user) &&
                    (S_ISDIR(info.st_mode) || (S_ISREG(info.st_mode) && info.st_nlink == 1));
  const bool done = ours && ::fchown(fd, user, group) == 0;
  const int why = errno;
  ::close(fd);
  errno = why;
  if (!ours) return fail(Errc::denied, "{} was replaced while it was written", path.string());
  if (!done) return errno_failure("chown", path);
  return {};
}

Result<> PosixDisk::write_file(const std::filesystem::path& path, ByteView bytes, unsigned mode) {
  const std::filesystem::path temporary = path.string() + ".new";
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT)
    return errno_failure("remove", temporary);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return errno_failure("create", temporary);
  PosixFile file(fd, temporary);
  if (::fchmod(fd, mode) != 0) return errno_failure("chmod", temporary);
  if (auto written = file.write_at(0, bytes); !written) return written;
  if (auto synced = file.sync(); !synced) return synced;
  if (auto renamed = rename(temporary, path); !renamed) return renamed;
  return sync_directory(path.parent_path().empty() ? "." : path.parent_path());
}

}  // namespace postern
