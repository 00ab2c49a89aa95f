#include "lossyfs/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "base/invariant.h"

namespace postern {
namespace {

constexpr std::int64_t kSlowerMax = 10'000;

std::string made_folder(const std::string& path, bool empty) {
  if (empty) std::filesystem::remove_all(path);
  if (std::filesystem::create_directories(path)) ::chmod(path.c_str(), 0700);
  return path;
}

int open_folder(const std::string& path) {
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  invariant(folder >= 0, "the backing folder can be opened");
  return folder;
}

FileSystem& self() { return *static_cast<FileSystem*>(fuse_get_context()->private_data); }

/// FUSE's paths begin with a slash; ours are relative to the root, which is ".".
const char* relative(const char* path) { return path[1] == '\0' ? "." : path + 1; }

int handle(const fuse_file_info* info) { return static_cast<int>(info->fh); }

int answer(int result) { return result == 0 ? 0 : -errno; }

}  // namespace

/// What FUSE calls. Each returns 0 or more, or a negative errno. With `info` it is about an open
/// file, whose path may be none any more.
struct FileSystem::Calls {
  static int look(const char* path, struct stat* status, fuse_file_info* info) {
    if (const int error = self().faults_.meet(Call::look)) return -error;
    if (info != nullptr) return answer(::fstat(handle(info), status));
    return answer(::fstatat(self().root_folder_, relative(path), status, AT_SYMLINK_NOFOLLOW));
  }

  static int read_link(const char* path, char* text, std::size_t size) {
    const auto length = ::readlinkat(self().root_folder_, relative(path), text, size - 1);
    if (length < 0) return -errno;
    text[length] = '\0';
    return 0;
  }

  static int open(const char* path, fuse_file_info* info) {
    if (const int error = self().faults_.meet(Call::open)) return -error;
    // To know what is overwritten we have to read. What the kernel does itself is not for us.
    int flags = info->flags & ~(O_APPEND | O_DIRECT | O_TRUNC | O_CREAT | O_EXCL);
    if ((flags & O_ACCMODE) == O_WRONLY) flags = (flags & ~O_ACCMODE) | O_RDWR;
    const int file = ::openat(self().root_folder_, relative(path), flags | O_CLOEXEC);
    if (file < 0) return -errno;
    info->fh = static_cast<std::uint64_t>(file);
    return 0;
  }

  /// Makes an entry and notes that it is not synced.
  template <typename Make>
  static int make(const char* path, Make make) {
    FileSystem& system = self();
    if (const int error = system.faults_.meet(Call::create)) return -error;
    const std::scoped_lock lock(system.mutex_);
    const int made = make(system.root_folder_, relative(path));
    if (made < 0) return -errno;
    system.unsynced_.created(relative(path));
    return made;
  }

  static int create(const char* path, mode_t mode, fuse_file_info* info) {
    const int file = make(path, [&](int root, const char* name) {
      return ::openat(root, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    });
    if (file == -EEXIST) return open(path, info);
    if (file < 0) return file;
    info->fh = static_cast<std::uint64_t>(file);
    return 0;
  }

  static int make_folder(const char* path, mode_t mode) {
    return make(path, [&](int root, const char* name) { return ::mkdirat(root, name, mode); });
  }

  static int make_node(const char* path, mode_t mode, dev_t device) {
    return make(path,
                [&](int root, const char* name) { return ::mknodat(root, name, mode, device); });
  }

  static int make_link(const char* target, const char* path) {
    return make(path, [&](int root, const char* name) { return ::symlinkat(target, root, name); });
  }

  static int remove(const char* path) {
    FileSystem& system = self();
    if (const int error = system.faults_.meet(Call::remove)) return -error;
    const std::scoped_lock lock(system.mutex_);
    return -system.unsynced_.remove(relative(path));
  }

  static int remove_folder(const char* path) {
    std::error_code failed;
    if (!std::filesystem::is_empty(self().root_ + path, failed))
      return failed ? -failed.value() : -ENOTEMPTY;
    return remove(path);
  }

  static int rename(const char* from, const char* to, unsigned flags) {
    FileSystem& system = self();
    if (const int error = system.faults_.meet(Call::rename)) return -error;
    if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0) return -EINVAL;
    const std::scoped_lock lock(system.mutex_);
    return -system.unsynced_.rename(relative(from), relative(to), flags == 0);
  }

  static int change_mode(const char* path, mode_t mode, fuse_file_info* info) {
    if (info != nullptr) return answer(::fchmod(handle(info), mode));
    return answer(::fchmodat(self().root_folder_, relative(path), mode, 0));
  }

  static int change_owner(const char* path, uid_t user, gid_t group, fuse_file_info* info) {
    if (info != nullptr) return answer(::fchown(handle(info), user, group));
    return answer(
        ::fchownat(self().root_folder_, relative(path), user, group, AT_SYMLINK_NOFOLLOW));
  }

  static int change_times(const char* path, const timespec times[2], fuse_file_info* info) {
    if (info != nullptr) return answer(::futimens(handle(info), times));
    return answer(::utimensat(self().root_folder_, relative(path), times, AT_SYMLINK_NOFOLLOW));
  }

  static int resize(const char* path, off_t size, fuse_file_info* info) {
    FileSystem& system = self();
    if (const int error = system.faults_.meet(Call::truncate)) return -error;
    const int file = info != nullptr
                         ? ::fcntl(handle(info), F_DUPFD_CLOEXEC, 0)
                         : ::openat(system.root_folder_, relative(path), O_RDWR | O_CLOEXEC);
    if (file < 0) return -errno;
    const std::scoped_lock lock(system.mutex_);
    system.unsynced_.before_resize(file, static_cast<std::uint64_t>(size));
    const int done = answer(::ftruncate(file, size));
    ::close(file);
    return done;
  }

  static int allocate(const char*, int mode, off_t offset, off_t length, fuse_file_info* info) {
    FileSystem& system = self();
    if (const int error = system.faults_.meet(Call::allocate)) return -error;
    if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0)
      return -EOPNOTSUPP;
    const std::scoped_lock lock(system.mutex_);
    // Plain allocation changes no byte, at most the size.
    const bool zeroes = (mode & ~FALLOC_FL_KEEP_SIZE) != 0;
    system.unsynced_.before_write(handle(info), static_cast<std::uint64_t>(offset),
                                  zeroes ? static_cast<std::uint64_t>(length) : 0);
    return answer(::fallocate(handle(info), mode, offset, length));
  }

  static int read(const char*, char* bytes, std::size_t size, off_t offset, fuse_file_info* info) {
    if (const int error = self().faults_.meet(Call::read)) return -error;
    const auto got = ::pread(handle(info), bytes, size, offset);
    return got < 0 ? -errno : static_cast<int>(got);
  }

  static int write(const char*, const char* bytes, std::size_t size, off_t offset,
                   fuse_file_info* info) {
    FileSystem& system = self();
    if (const int error = system.faults_.meet(Call::write)) return -error;
    const std::scoped_lock lock(system.mutex_);
    system.unsynced_.before_write(handle(info), static_cast<std::uint64_t>(offset), size);
    const auto put = ::pwrite(handle(info), bytes, size, offset);
    return put < 0 ? -errno : static_cast<int>(put);
  }

  static int release(const char*, fuse_file_info* info) {
    ::close(handle(info));
    return 0;
  }

  static int sync(const char*, int, fuse_file_info* info) {
    FileSystem& system = self();
    const int error = system.faults_.meet(Call::sync);
    const std::scoped_lock lock(system.mutex_);
    if (error != 0) {
      system.unsynced_.sync_failed(handle(info));
    } else {
      system.unsynced_.synced(handle(info));
    }
    return -error;
  }

  static int open_listing(const char* path, fuse_file_info* info) {
    if (const int error = self().faults_.meet(Call::open)) return -error;
    const int folder =
        ::openat(self().root_folder_, relative(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return -errno;
    info->fh = static_cast<std::uint64_t>(folder);
    return 0;
  }

  static int list(const char*, void* names, fuse_fill_dir_t fill, off_t, fuse_file_info* info,
                  fuse_readdir_flags) {
    if (const int error = self().faults_.meet(Call::look)) return -error;
    // A descriptor of its own: closedir() closes it, and the listing begins at the beginning.
    const int copy = ::openat(handle(info), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* const folder = copy < 0 ? nullptr : ::fdopendir(copy);
    if (folder == nullptr) return -errno;
    while (const dirent* entry = ::readdir(folder))
      if (fill(names, entry->d_name, nullptr, 0, fuse_fill_dir_flags{}) != 0) break;
    ::closedir(folder);
    return 0;
  }

  static int sync_folder(const char*, int, fuse_file_info* info) {
    FileSystem& system = self();
    if (const int error = system.faults_.meet(Call::sync)) return -error;
    // Its path may have changed since it was opened.
    char path[PATH_MAX];
    const std::string link = fmt::format("/proc/self/fd/{}", handle(info));
    const std::scoped_lock lock(system.mutex_);
    const auto length = ::readlink(link.c_str(), path, sizeof path);
    if (length < 0) return -errno;
    const std::string full(path, static_cast<std::size_t>(length));
    const std::size_t root = system.root_.size();
    system.unsynced_.folder_synced(full.size() > root ? full.substr(root + 1) : "");
    return 0;
  }

  static int space(const char*, struct statvfs* status) {
    return answer(::fstatvfs(self().root_folder_, status));
  }

  static void* begin(fuse_conn_info* connection, fuse_config* config) {
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC);
    // Nothing is believed longer than one call: after a power loss all is different.
    config->attr_timeout = config->entry_timeout = config->negative_timeout = 0;
    config->use_ino = 1;      // SQLite tells files by it
    config->hard_remove = 1;  // an open file without a name is reached by its handle
    config->nullpath_ok = 1;
    return fuse_get_context()->private_data;
  }
};

fuse_operations FileSystem::operations() {
  fuse_operations calls{};
  calls.init = Calls::begin;
  calls.getattr = Calls::look;
  calls.readlink = Calls::read_link;
  calls.mknod = Calls::make_node;
  calls.mkdir = Calls::make_folder;
  calls.symlink = Calls::make_link;
  calls.create = Calls::create;
  calls.unlink = Calls::remove;
  calls.rmdir = Calls::remove_folder;
  calls.rename = Calls::rename;
  calls.chmod = Calls::change_mode;
  calls.chown = Calls::change_owner;
  calls.utimens = Calls::change_times;
  calls.truncate = Calls::resize;
  calls.fallocate = Calls::allocate;
  calls.open = Calls::open;
  calls.read = Calls::read;
  calls.write = Calls::write;
  calls.release = Calls::release;
  calls.fsync = Calls::sync;
  calls.opendir = Calls::open_listing;
  calls.readdir = Calls::list;
  calls.releasedir = Calls::release;
  calls.fsyncdir = Calls::sync_folder;
  calls.statfs = Calls::space;
  return calls;
}

FileSystem::FileSystem(const std::string& backing)
    : root_(made_folder(backing + "/data", false)),
      root_folder_(open_folder(root_)),
      unsynced_(root_, made_folder(backing + "/removed", true)) {}

std::string FileSystem::command(const std::string& line) {
  std::istringstream words(line);
  std::string verb, calls_name, error_name, times = "once";
  words >> verb;
  if (verb == "lose") {
    std::uint64_t seed = 0;
    return words >> seed ? lose(seed) : "error lose needs a SEED";
  }
  if (verb == "sync") {
    const std::scoped_lock lock(mutex_);
    unsynced_.all_synced();
    return "ok";
  }
  if (verb == "heal") {
    faults_.heal();
    return "ok";
  }
  if (verb == "release") {
    faults_.let_go();
    return "ok";
  }
  if (verb == "figures") return figures();
  if (verb == "slow") {
    std::int64_t milliseconds = 0;
    words >> calls_name;
    const auto calls = parse_calls(calls_name);
    if (!calls || !(words >> milliseconds) || milliseconds < 0 || milliseconds > kSlowerMax)
      return fmt::format("error slow needs calls and 0 to {} milliseconds", kSlowerMax);
    faults_.slow_down(*calls, std::chrono::milliseconds(milliseconds));
    return "ok";
  }
  if (verb != "fail" && verb != "hang" && verb != "cut")
    return fmt::format("error no command '{}'", verb);

  Fault fault;
  words >> calls_name;
  if (verb == "cut" && calls_name == "now") {
    faults_.cut();
    return "ok";
  }
  fault.cuts = verb == "cut";
  const auto calls = parse_calls(calls_name);
  if (!calls) return fmt::format("error no calls '{}'", calls_name);
  fault.calls = *calls;
  if (verb == "fail") {
    words >> error_name;
    const auto error = parse_error(error_name);
    if (!error) return fmt::format("error no error '{}'", error_name);
    fault.error = *error;
  }
  if (!(words >> fault.in) || (!fault.cuts && !(words >> times)) || fault.in == 0 ||
      (times != "once" && times != "always"))
    return "error needs a number from 1 on, and once or always";
  fault.persistent = times == "always";
  faults_.add(fault);
  return "ok";
}

std::string FileSystem::lose(std::uint64_t seed) {
  // The programs are dead; what of theirs still hangs must not be written after the loss.
  faults_.let_go();
  SeededRandom random(seed);
  const std::scoped_lock lock(mutex_);
  const Loss loss = unsynced_.lose(random);
  faults_.power_on();
  return fmt::format(
      "ok blocks_kept={} blocks_lost={} blocks_torn={} entries_kept={} entries_lost={}", loss.kept,
      loss.lost, loss.torn, loss.entries_kept, loss.entries_lost);
}

std::string FileSystem::figures() const {
  std::string text =
      fmt::format("ok hanging={} cut={}", faults_.hanging(), faults_.is_cut() ? 1 : 0);
  const auto counted = faults_.counted();
  for (std::size_t call = 0; call < kCalls; ++call)
    text += fmt::format(" {}={}", kCallNames[call], counted[call]);
  const std::scoped_lock lock(mutex_);
  return text + fmt::format(" unsynced_blocks={} unsynced_entries={}", unsynced_.blocks(),
                            unsynced_.entries());
}

}  // namespace postern
