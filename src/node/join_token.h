#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/key.h"
#include "node/self.h"

namespace postern::node {

inline constexpr std::size_t kJoinTokenTextMax = 4096;  // join.md#J1
inline constexpr std::size_t kJoinSeedBytes = 32;
inline constexpr std::size_t kJoinAddressesMax = 8;
inline constexpr std::size_t kJoinAnchorsMax = 16;

/// What an administrator hands to a machine that shall become a node. Its seed is a secret: whoever
/// has it may join in its name.
struct JoinToken {
  std::string group;
  Digest root_sha256{};
  std::vector<Digest> anchors_sha256;
  Role role = Role::agent;
  WallTime expires{};
  std::vector<std::string> addresses;  // whom to ask, in order; see parse_parent()
  std::array<std::byte, kJoinSeedBytes> seed{};

  PrivateKey key() const;  // join.md#J2
};

/// The name of a token: 16 hex digits.
std::string join_token_id(const PublicKey& token_key);

std::string join_token_text(const JoinToken& token);
/// `invalid` says what is wrong with the line, and never repeats it.
Result<JoinToken> parse_join_token(std::string_view line);

}  // namespace postern::node
