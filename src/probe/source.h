#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "probe/text.h"

namespace postern {

inline constexpr std::size_t kSourceFileBytesMax = 4u << 20;  // /proc/stat, /proc/mounts
inline constexpr std::size_t kSourceLineMax = 8u << 10;       // in each_line()
inline constexpr std::size_t kSourceEntriesMax = 200'000;     // names in a directory
inline constexpr std::size_t kSourceAddressesMax = 256;       // addresses of a machine

/// Space of a file system, in bytes, and its inodes; no inodes where they are made as needed.
struct FileSystemSpace {
  std::uint64_t total = 0;
  std::uint64_t free = 0;       // including what is reserved for the superuser
  std::uint64_t available = 0;  // to everybody
  std::uint64_t inodes = 0;
  std::uint64_t inodes_free = 0;
  bool operator==(const FileSystemSpace&) const = default;
};

struct NetworkAddress {
  enum class Kind { ipv4, ipv6, mac };
  std::string interface;
  Kind kind = Kind::ipv4;
  std::string text;  // "192.0.2.7", "2001:db8::7" (no zone), "AC-DE-48-00-11-22"
  bool loopback = false;
  bool operator==(const NetworkAddress&) const = default;
};

/// What uname(2) says.
struct KernelInfo {
  std::string name;     // "Linux"
  std::string release;  // "6.1.0-18-amd64"
  std::string version;
  std::string machine;  // "x86_64"
  std::uint64_t page_bytes = 4096;
  bool operator==(const KernelInfo&) const = default;
};

/// What the kernel says of its clock's discipline (adjtimex, which changes nothing here).
struct ClockState {
  bool synchronised = false;
  double offset_s = 0;     // that is still to be corrected
  double error_max_s = 0;  // what it may be wrong by
  bool operator==(const ClockState&) const = default;
};

/// The only door from the probes to the machine. Calls may block on a broken disk: not for an
/// event loop. A file that is not there is `unavailable`, one over a limit `exhausted`.
class Source {
 public:
  virtual ~Source() = default;
  virtual Result<std::string> read(const std::string& path) const = 0;
  /// The lines of a file, one by one and without their ends: for what may be large, because nothing
  /// of it is kept. A line of more than kSourceLineMax is `invalid`.
  virtual Result<> each_line(const std::string& path,
                             const std::function<void(std::string_view)>& take) const = 0;
  /// Names in a directory, in no order, without "." and "..".
  virtual Result<std::vector<std::string>> list(const std::string& path) const = 0;
  virtual bool exists(const std::string& path) const = 0;
  /// Where a symbolic link leads, as it is written.
  virtual Result<std::string> link(const std::string& path) const = 0;
  virtual Result<FileSystemSpace> space(const std::string& mountpoint) const = 0;
  virtual Result<std::vector<NetworkAddress>> addresses() const = 0;
  virtual Result<KernelInfo> kernel() const = 0;
  virtual Result<ClockState> clock() const = 0;
  /// What a program writes until it ends: `command` is its absolute path and its arguments. It is
  /// killed after `time_max` or kSourceFileBytesMax; then, and when it ends with another status
  /// than 0, an error. In the language "C", without input.
  virtual Result<std::string> run(const std::vector<std::string>& command,
                                  Duration time_max) const = 0;
};

class SystemSource final : public Source {
 public:
  Result<std::string> read(const std::string& path) const override;
  Result<> each_line(const std::string& path,
                     const std::function<void(std::string_view)>& take) const override;
  Result<std::vector<std::string>> list(const std::string& path) const override;
  bool exists(const std::string& path) const override;
  Result<std::string> link(const std::string& path) const override;
  Result<FileSystemSpace> space(const std::string& mountpoint) const override;
  Result<std::vector<NetworkAddress>> addresses() const override;
  Result<KernelInfo> kernel() const override;
  Result<ClockState> clock() const override;
  Result<std::string> run(const std::vector<std::string>& command,
                          Duration time_max) const override;
};

/// A machine on paper: what is not filled in is `unavailable`.
class FakeSource final : public Source {
 public:
  std::map<std::string, std::string> files;
  std::map<std::string, std::vector<std::string>> directories;
  std::map<std::string, FileSystemSpace> spaces;
  std::map<std::string, std::string> links;
  std::map<std::string, std::string> programs;  // what they write, by path
  ClockState clock_found;
  std::vector<NetworkAddress> addresses_found;
  KernelInfo kernel_found;

  Result<std::string> read(const std::string& path) const override { return find(files, path); }
  Result<> each_line(const std::string& path,
                     const std::function<void(std::string_view)>& take) const override {
    const auto text = find(files, path);
    if (!text) return std::unexpected(text.error());
    for (const std::string_view line : split_lines(*text)) take(line);
    return {};
  }
  Result<std::vector<std::string>> list(const std::string& path) const override {
    return find(directories, path);
  }
  bool exists(const std::string& path) const override {
    return files.contains(path) || directories.contains(path) || programs.contains(path);
  }
  Result<std::string> link(const std::string& path) const override { return find(links, path); }
  Result<FileSystemSpace> space(const std::string& mountpoint) const override {
    return find(spaces, mountpoint);
  }
  Result<std::vector<NetworkAddress>> addresses() const override { return addresses_found; }
  Result<KernelInfo> kernel() const override { return kernel_found; }
  Result<ClockState> clock() const override { return clock_found; }
  Result<std::string> run(const std::vector<std::string>& command, Duration) const override {
    return find(programs, command.front());
  }

 private:
  template <typename T>
  static Result<T> find(const std::map<std::string, T>& in, const std::string& path) {
    const auto found = in.find(path);
    if (found == in.end()) return fail(Errc::unavailable, "{}: no such file", path);
    return found->second;
  }
};

}  // namespace postern
