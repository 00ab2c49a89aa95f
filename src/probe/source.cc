#include "probe/source.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <optional>

namespace postern {
namespace {

std::unexpected<Error> errno_failure(const char* call, const std::string& path) {
  return fail(Errc::unavailable, "{} {}: {}", call, path, std::strerror(errno));
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
struct FreeAddresses {
  void operator()(ifaddrs* addresses) const { ::freeifaddrs(addresses); }
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

template <std::size_t N>
ssize_t read_some(int descriptor, std::array<char, N>& into) {
  ssize_t n = 0;
  do {
    n = ::read(descriptor, into.data(), into.size());
  } while (n < 0 && errno == EINTR);
  return n;
}

constexpr unsigned kMacBytes = 6;

/// Nothing for families we do not report and for hardware without an address.
std::optional<NetworkAddress> describe(const ifaddrs& entry) {
  NetworkAddress address;
  address.interface = entry.ifa_name;
  address.loopback = (entry.ifa_flags & IFF_LOOPBACK) != 0;
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = entry.ifa_addr->sa_family;
  if (family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(entry.ifa_addr);
    ::inet_ntop(AF_INET, &in->sin_addr, text.data(), text.size());
    address.kind = NetworkAddress::Kind::ipv4;
    address.text = text.data();
    return address;
  }
  if (family == AF_INET6) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr);
    ::inet_ntop(AF_INET6, &in->sin6_addr, text.data(), text.size());
    address.kind = NetworkAddress::Kind::ipv6;
    address.text = text.data();
    return address;
  }
  if (family == AF_PACKET) {
    const auto* link = reinterpret_cast<const sockaddr_ll*>(entry.ifa_addr);
    constexpr std::array<unsigned char, kMacBytes> kNone{};
    if (link->sll_halen != kMacBytes || std::memcmp(link->sll_addr, kNone.data(), kMacBytes) == 0)
      return std::nullopt;
    const unsigned char* mac = link->sll_addr;
    address.kind = NetworkAddress::Kind::mac;
    address.text = fmt::format("{:02X}-{:02X}-{:02X}-{:02X}-{:02X}-{:02X}", mac[0], mac[1], mac[2],
                               mac[3], mac[4], mac[5]);
    return address;
  }
  return std::nullopt;
}

}  // namespace

Result<std::string> SystemSource::read(const std::string& path) const {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return errno_failure("open", path);
  // Files in /proc have no size, and one read(2) sees a consistent state: enough at once.
  std::array<char, 16u << 10> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): read into
  std::string text;
  for (;;) {
    if (text.size() >= kSourceFileBytesMax)
      return fail(Errc::exhausted, "{} is larger than {} bytes", path, kSourceFileBytesMax);
    const ssize_t n = read_some(file.get(), buffer);
    if (n < 0) return errno_failure("read", path);
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

Result<> SystemSource::each_line(const std::string& path,
                                 const std::function<void(std::string_view)>& take) const {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return errno_failure("open", path);
  std::array<char, 16u << 10> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): read into
  std::string begun;                   // a line whose end has not come
  for (;;) {
    const ssize_t n = read_some(file.get(), buffer);
    if (n < 0) return errno_failure("read", path);
    if (n == 0) break;
    std::string_view text(buffer.data(), static_cast<std::size_t>(n));
    for (std::size_t end = 0; (end = text.find('\n')) != std::string_view::npos;
         text.remove_prefix(end + 1)) {
      if (begun.empty()) {
        take(text.substr(0, end));
        continue;
      }
      begun += text.substr(0, end);
      take(begun);
      begun.clear();
    }
    begun += text;
    if (begun.size() > kSourceLineMax)
      return fail(Errc::invalid, "{} has a line of more than {} bytes", path, kSourceLineMax);
  }
  if (!begun.empty()) take(begun);
  return {};
}

bool SystemSource::exists(const std::string& path) const {
  return ::access(path.c_str(), F_OK) == 0;
}

Result<std::string> SystemSource::link(const std::string& path) const {
  std::array<char, PATH_MAX> target{};
  const ssize_t n = ::readlink(path.c_str(), target.data(), target.size());
  if (n < 0) return errno_failure("readlink", path);
  return std::string(target.data(), static_cast<std::size_t>(n));
}

Result<std::vector<std::string>> SystemSource::list(const std::string& path) const {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (!directory) return errno_failure("opendir", path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == kSourceEntriesMax)
      return fail(Errc::exhausted, "{} has more than {} entries", path, kSourceEntriesMax);
    names.emplace_back(name);
  }
  if (errno != 0) return errno_failure("readdir", path);
  return names;
}

Result<FileSystemSpace> SystemSource::space(const std::string& mountpoint) const {
  struct statvfs status {};
  if (::statvfs(mountpoint.c_str(), &status) != 0) return errno_failure("statvfs", mountpoint);
  const std::uint64_t block = status.f_frsize;
  return FileSystemSpace{status.f_blocks * block, status.f_bfree * block, status.f_bavail * block,
                         status.f_files, status.f_ffree};
}

Result<std::vector<NetworkAddress>> SystemSource::addresses() const {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return errno_failure("getifaddrs", "of this machine");
  const std::unique_ptr<ifaddrs, FreeAddresses> list(raw);
  std::vector<NetworkAddress> found;
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    if (auto address = describe(*entry); address && found.size() < kSourceAddressesMax)
      found.push_back(std::move(*address));
  }
  return found;
}

Result<KernelInfo> SystemSource::kernel() const {
  utsname names{};
  if (::uname(&names) != 0) return errno_failure("uname", "of this machine");
  return KernelInfo{names.sysname, names.release, names.version, names.machine,
                    static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))};
}

Result<ClockState> SystemSource::clock() const {
  timex state{};
  const int answer = ::adjtimex(&state);
  if (answer < 0)
    return fail(Errc::unavailable, "adjtimex: {}; allow this system call to the program's unit",
                std::strerror(errno));
  const double unit = (state.status & STA_NANO) != 0 ? 1e-9 : 1e-6;
  return ClockState{answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0,
                    static_cast<double>(state.offset) * unit,
                    static_cast<double>(state.maxerror) * 1e-6};
}

}  // namespace postern
