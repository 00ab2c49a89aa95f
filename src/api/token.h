#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "identity/key.h"

/// The text of a token of the API: "postern_ID_SECRET", ID 12 and SECRET 64 hex digits. The server
/// keeps the ID and the SHA-256 of the secret; 256 random bits need no slow hash.
namespace postern::api {

inline constexpr std::size_t kTokenIdBytes = 6;
inline constexpr std::size_t kTokenSecretBytes = 32;

struct ParsedToken {
  std::string id;  // lower-case hex
  Digest secret_sha256{};
};

std::string token_text(std::string_view id, ByteView secret);
/// Nothing when it does not look like a token.
std::optional<ParsedToken> parse_token(std::string_view text);
/// What stands behind "Bearer " in an Authorization header (RFC 6750), "" when it is something
/// else.
std::string_view bearer_token(std::string_view authorization);

}  // namespace postern::api
