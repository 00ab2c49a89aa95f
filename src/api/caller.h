#pragma once

#include <cstdint>
#include <string_view>

#include "api/service.h"

namespace postern::api {

inline constexpr std::string_view kAdministratorGroup = "postern-admin";

/// The caller behind a Unix socket, by the credentials that the kernel vouches for (SO_PEERCRED):
/// uid 0, the user this very process runs as (the keys lie in its files) and the members of
/// `administrators` (primary or supplementary group) may change things, everybody else who may open
/// the socket may read. Blocking: it asks the user database.
Caller local_caller(std::uint32_t uid, std::uint32_t gid,
                    std::string_view administrators = kAdministratorGroup);

/// The group to give our socket to, so that its members may open it: `administrators` where there
/// is such a group and we may give files to it (root, or a member), else -1. Blocking.
int socket_group(std::string_view administrators = kAdministratorGroup);

}  // namespace postern::api
