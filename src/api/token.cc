#include "api/token.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace postern::api {
namespace {

constexpr std::string_view kPrefix = "postern_";
constexpr std::string_view kScheme = "bearer ";

}  // namespace

std::string token_text(std::string_view id, ByteView secret) {
  return fmt::format("{}{}_{}", kPrefix, id, to_hex(secret));
}

std::optional<ParsedToken> parse_token(std::string_view text) {
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  const auto id = from_hex(text.substr(0, text.find('_')));
  if (!id || id->size() != kTokenIdBytes || text.size() <= 2 * kTokenIdBytes) return std::nullopt;
  const auto secret = from_hex(text.substr(2 * kTokenIdBytes + 1));
  if (!secret || secret->size() != kTokenSecretBytes) return std::nullopt;
  return ParsedToken{to_hex(*id), sha256(*secret)};
}

std::string_view bearer_token(std::string_view authorization) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (authorization.size() <= kScheme.size() ||
      !std::ranges::equal(authorization.substr(0, kScheme.size()), kScheme, same))
    return {};
  return authorization.substr(kScheme.size());
}

}  // namespace postern::api
