#include "api/caller.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

namespace postern::api {
namespace {

constexpr std::size_t kEntryBytes = 64 << 10;  // one entry of the user database
constexpr int kGroupsMax = 65536;              // NGROUPS_MAX of the kernel

std::string user_name(std::uint32_t uid) {
  std::vector<char> buffer(kEntryBytes);
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return {};
  return found->pw_name;
}

std::optional<gid_t> group_id(const std::string& name) {
  std::vector<char> buffer(kEntryBytes);
  group entry{};
  group* found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr)
    return std::nullopt;
  return found->gr_gid;
}

bool is_member(const std::string& user, std::uint32_t primary, gid_t wanted) {
  if (primary == wanted) return true;
  if (user.empty()) return false;
  std::vector<gid_t> groups(64);
  int count = static_cast<int>(groups.size());
  while (getgrouplist(user.c_str(), primary, groups.data(), &count) < 0) {
    if (groups.size() >= kGroupsMax) return false;
    groups.resize(std::min<std::size_t>(groups.size() * 4, kGroupsMax));
    count = static_cast<int>(groups.size());
  }
  groups.resize(static_cast<std::size_t>(count));
  return std::ranges::find(groups, wanted) != groups.end();
}

}  // namespace

Caller local_caller(std::uint32_t uid, std::uint32_t gid, std::string_view administrators) {
  Caller caller{uid, gid, user_name(uid)};
  bool administrator = uid == 0 || uid == ::geteuid();
  if (!administrator)
    if (const auto wanted = group_id(std::string(administrators)))
      administrator = is_member(caller.name, gid, *wanted);
  if (administrator) caller.scope = Scope::administrate;
  if (caller.name.empty()) caller.name = "uid " + std::to_string(uid);
  return caller;
}

int socket_group(std::string_view administrators) {
  const auto wanted = group_id(std::string(administrators));
  if (!wanted) return -1;
  if (::geteuid() == 0 || ::getegid() == *wanted) return static_cast<int>(*wanted);
  const int count = ::getgroups(0, nullptr);
  std::vector<gid_t> own(count > 0 ? static_cast<std::size_t>(count) : 0);
  if (count <= 0 || ::getgroups(count, own.data()) != count) return -1;
  return std::ranges::find(own, *wanted) == own.end() ? -1 : static_cast<int>(*wanted);
}

}  // namespace postern::api
