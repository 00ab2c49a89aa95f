#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "identity/check.h"
#include "identity/key.h"

namespace postern {

inline constexpr std::size_t kGroupFileBytesMax = 64 << 10;
inline constexpr std::size_t kGroupServersMax = 16;
inline constexpr std::string_view kGroupFileName = "group.postern";  // what export suggests

/// A management server as the group file names it.
struct GroupServer {
  std::string name;     // lower-case FQDN
  std::string address;  // "192.0.2.1:5723", "[2001:db8::1]:5723" or "host.example:5723"
  bool operator==(const GroupServer&) const = default;
};

/// What `postern group export` writes and an operator carries to a node: enough to trust the group
/// without a token. Holds no secret, but whoever changes it on its way decides whom the node obeys:
/// compare root_fingerprint().
///
///   postern-group: 1
///   name: demo
///   server: ms.home.example 192.0.2.1:5723      one line a server, at least one
///
///   -----BEGIN PUBLIC KEY----- ...              the group root, exactly one
///   -----BEGIN CERTIFICATE----- ...             the anchors, at least one
///
/// Empty lines and lines that begin with '#' are skipped; an unknown header line is an error.
struct GroupFile {
  std::string name;
  std::vector<GroupServer> servers;
  PublicKey root;
  Anchors anchors;
};

/// Hex SHA-256 of the root's SubjectPublicKeyInfo: what two people read to each other.
std::string root_fingerprint(const PublicKey& root);

/// Whether a text says of itself that it is a group file.
bool is_group_file(std::string_view text);

std::string encode_group_file(const GroupFile& group);
/// `invalid` names the line and what is wrong with it.
Result<GroupFile> parse_group_file(std::string_view text);

}  // namespace postern
