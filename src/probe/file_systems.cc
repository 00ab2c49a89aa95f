#include <algorithm>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

/// Local file systems that hold data. A list of what is asked, not of what is skipped: statvfs on
/// a network file system can hang for ever.
constexpr std::array kLocalTypes = {
    std::string_view("ext4"),   std::string_view("xfs"),     std::string_view("btrfs"),
    std::string_view("ext3"),   std::string_view("ext2"),    std::string_view("zfs"),
    std::string_view("f2fs"),   std::string_view("jfs"),     std::string_view("reiserfs"),
    std::string_view("vfat"),   std::string_view("exfat"),   std::string_view("ntfs3"),
    std::string_view("nilfs2"), std::string_view("bcachefs")};

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

bool holds_data(const Mount& mount) {
  // In a container the root is all there is to see.
  if (mount.type == "overlay") return mount.mountpoint == "/";
  return std::find(kLocalTypes.begin(), kLocalTypes.end(), mount.type) != kLocalTypes.end();
}

/// One entry a device, under its shortest mountpoint (bind mounts show the same space again); of
/// several mounts on one mountpoint only the last can be seen.
std::vector<Mount> parse_mounts(std::string_view text) {
  std::vector<Mount> mounts;
  for (const std::string_view line : split_lines(text)) {
    const auto fields = split_fields(line);
    if (fields.size() < 4) continue;
    Mount mount{unescape(fields[0]), unescape(fields[1]), std::string(fields[2]), false};
    mount.read_only = fields[3] == "ro" || fields[3].starts_with("ro,");
    std::erase_if(mounts, [&](const Mount& m) { return m.mountpoint == mount.mountpoint; });
    mounts.push_back(std::move(mount));
  }
  std::erase_if(mounts, [](const Mount& mount) { return !holds_data(mount); });
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
}

}  // namespace

Result<> collect_file_systems(Sample& sample) {
  const auto text = sample.source.read("/proc/mounts");
  if (!text) return std::unexpected(text.error());
  auto mounts = parse_mounts(*text);
  if (mounts.size() > kFileSystemsMax) {
    sample.problem(
        "file systems",
        {Errc::exhausted, fmt::format("{} file systems are mounted, the first {} are reported",
                                      mounts.size(), kFileSystemsMax)});
    mounts.resize(kFileSystemsMax);
  }
  for (const Mount& mount : mounts) {
    const auto space = sample.source.space(mount.mountpoint);
    if (!space)
      sample.problem("file systems", space.error());
    else if (space->total > 0)
      report(sample, mount, *space);
  }
  return {};
}

}  // namespace postern
