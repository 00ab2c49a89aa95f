#include <algorithm>
#include <array>
#include <map>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

/// File systems that hold data. Lists of what is asked, not of what is skipped: statvfs on one
/// whose server is gone can hang for ever, so the remote ones have a collector, and thread, of
/// their own.
constexpr std::array kLocalTypes = {
    std::string_view("ext4"),   std::string_view("xfs"),     std::string_view("btrfs"),
    std::string_view("ext3"),   std::string_view("ext2"),    std::string_view("zfs"),
    std::string_view("f2fs"),   std::string_view("jfs"),     std::string_view("reiserfs"),
    std::string_view("vfat"),   std::string_view("exfat"),   std::string_view("ntfs3"),
    std::string_view("nilfs2"), std::string_view("bcachefs")};
constexpr std::array kRemoteTypes = {
    std::string_view("nfs"),        std::string_view("nfs4"),
    std::string_view("cifs"),       std::string_view("smb3"),
    std::string_view("ceph"),       std::string_view("fuse.ceph"),
    std::string_view("glusterfs"),  std::string_view("fuse.glusterfs"),
    std::string_view("fuse.sshfs"), std::string_view("9p"),
    std::string_view("virtiofs"),   std::string_view("lustre"),
    std::string_view("afs")};

struct Mount {
  std::string device;
  std::string mountpoint;
  std::string type;
  bool read_only = false;
};

/// Blanks, tabs, newlines and backslashes stand as \040 and the like in /proc/mounts.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto is_octal = [&](std::size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '7';
    };
    if (text[i] == '\\' && is_octal(i + 1) && is_octal(i + 2) && is_octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool is_local(const Mount& mount) {
  // In a container the root is all there is to see.
  if (mount.type == "overlay") return mount.mountpoint == "/";
  return std::find(kLocalTypes.begin(), kLocalTypes.end(), mount.type) != kLocalTypes.end();
}

bool is_remote(const Mount& mount) {
  return std::find(kRemoteTypes.begin(), kRemoteTypes.end(), mount.type) != kRemoteTypes.end();
}

/// One entry a device, under its shortest mountpoint (bind mounts show the same space again); of
/// several mounts on one mountpoint only the last can be seen.
std::vector<Mount> parse_mounts(std::string_view text, bool (*wanted)(const Mount&)) {
  std::map<std::string, Mount> seen;  // by mountpoint
  for (const std::string_view line : split_lines(text)) {
    const auto fields = split_fields(line);
    if (fields.size() < 4) continue;
    Mount mount{unescape(fields[0]), unescape(fields[1]), std::string(fields[2]), false};
    mount.read_only = fields[3] == "ro" || fields[3].starts_with("ro,");
    std::string mountpoint = mount.mountpoint;
    seen.insert_or_assign(std::move(mountpoint), std::move(mount));
  }
  std::vector<Mount> mounts;
  for (auto& [mountpoint, mount] : seen)
    if (wanted(mount)) mounts.push_back(std::move(mount));
  std::sort(mounts.begin(), mounts.end(), [](const Mount& a, const Mount& b) {
    return std::pair(a.mountpoint.size(), std::string_view(a.mountpoint)) <
           std::pair(b.mountpoint.size(), std::string_view(b.mountpoint));
  });
  std::vector<Mount> once;
  for (Mount& mount : mounts)
    if (std::none_of(once.begin(), once.end(),
                     [&](const Mount& m) { return m.device == mount.device; }))
      once.push_back(std::move(mount));
  return once;
}

void report(Sample& sample, const Mount& mount, const FileSystemSpace& space) {
  const std::vector<Attribute> which = {{"system.device", mount.device},
                                        {"system.filesystem.mountpoint", mount.mountpoint},
                                        {"system.filesystem.type", mount.type},
                                        {"system.filesystem.mode", mount.read_only ? "ro" : "rw"}};
  const auto with_state = [&](const char* state) {
    auto by = which;
    by.push_back({"system.filesystem.state", state});
    return by;
  };
  const std::uint64_t free = std::min(space.free, space.total);
  const std::uint64_t available = std::min(space.available, free);
  const std::initializer_list<std::pair<const char*, std::uint64_t>> states = {
      {"used", space.total - free}, {"free", available}, {"reserved", free - available}};
  for (const auto& [state, bytes] : states)
    sample.sum("system.filesystem.usage", "By", bytes, with_state(state));
  for (const auto& [state, bytes] : states)
    sample.gauge("system.filesystem.utilization", "1",
                 static_cast<double>(bytes) / static_cast<double>(space.total), with_state(state));
  sample.sum("system.filesystem.limit", "By", space.total, which);
  if (space.inodes == 0) return;
  const std::uint64_t inodes_free = std::min(space.inodes_free, space.inodes);
  sample.sum("system.filesystem.inodes.usage", "{inode}", space.inodes - inodes_free,
             with_state("used"));
  sample.sum("system.filesystem.inodes.usage", "{inode}", inodes_free, with_state("free"));
}

Result<> collect(Sample& sample, bool (*wanted)(const Mount&)) {
  const auto text = sample.source.read("/proc/mounts");
  if (!text) return std::unexpected(text.error());
  auto mounts = parse_mounts(*text, wanted);
  if (mounts.size() > kFileSystemsMax) {
    sample.problem(
        {Errc::exhausted, fmt::format("{} file systems are mounted, the first {} are reported",
                                      mounts.size(), kFileSystemsMax)});
    mounts.resize(kFileSystemsMax);
  }
  for (const Mount& mount : mounts) {
    const auto space = sample.source.space(mount.mountpoint);
    if (!space)
      sample.problem(space.error());
    else if (space->total > 0)
      report(sample, mount, *space);
  }
  return {};
}

}  // namespace

Result<> collect_file_systems(Sample& sample) { return collect(sample, is_local); }
Result<> collect_remote_file_systems(Sample& sample) { return collect(sample, is_remote); }

}  // namespace postern
