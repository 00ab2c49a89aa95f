#include "node/join_token.h"

#include <algorithm>

#include "base/base64.h"

namespace postern::node {
namespace {

constexpr std::string_view kPrefix = "postern-join-1.";
constexpr std::string_view kUse = "postern join token v1";
constexpr std::size_t kSumBytes = 4;
constexpr std::size_t kIdBytes = 8;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

PrivateKey JoinToken::key() const { return PrivateKey::from_seed(seed, kUse); }

std::string join_token_id(const PublicKey& token_key) {
  return to_hex(ByteView(token_key.fingerprint()).first(kIdBytes));
}

std::string join_token_text(const JoinToken& token) {
  wire::pb::JoinToken body;
  body.set_group(token.group);
  body.set_root_sha256(field_of(token.root_sha256));
  for (const Digest& anchor : token.anchors_sha256) body.add_anchors_sha256(field_of(anchor));
  body.set_role(static_cast<std::uint32_t>(token.role));
  body.set_expires_ms(to_ms(token.expires));
  for (const std::string& address : token.addresses) body.add_addresses(address);
  body.set_seed(field_of(token.seed));
  std::string bytes = body.SerializeAsString();
  const Digest sum = sha256(as_bytes(bytes));
  bytes += as_text(ByteView(sum).first(kSumBytes));
  std::string text = std::string(kPrefix) + to_base64url(as_bytes(bytes));
  wipe(bytes);
  return text;
}

Result<JoinToken> parse_join_token(std::string_view line) {
  const std::string_view text = trimmed(line);
  if (!text.starts_with(kPrefix))
    return fail(Errc::invalid,
                "this is no join token: it begins with \"{}\" and is what `postern token create` "
                "printed",
                kPrefix);
  if (text.size() > kJoinTokenTextMax)
    return fail(Errc::invalid, "a join token of {} characters; the limit is {}", text.size(),
                kJoinTokenTextMax);
  const auto bytes = from_base64url(text.substr(kPrefix.size()));
  if (!bytes)
    return fail(Errc::invalid, "the join token is damaged, copy it again: {}",
                bytes.error().message);
  const std::size_t size = bytes->size() - std::min(bytes->size(), kSumBytes);
  const ByteView body_bytes = ByteView(*bytes).first(size);
  const Digest sum = sha256(body_bytes);
  if (bytes->size() <= kSumBytes ||
      !std::ranges::equal(ByteView(*bytes).subspan(size), ByteView(sum).first(kSumBytes)))
    return fail(Errc::invalid, "the join token is not complete; copy the whole line again");

  wire::pb::JoinToken body;
  JoinToken token;
  if (!body.ParseFromArray(body_bytes.data(), static_cast<int>(body_bytes.size())) ||
      body.root_sha256().size() != token.root_sha256.size() ||
      body.seed().size() != kJoinSeedBytes || body.anchors_sha256_size() == 0 ||
      static_cast<std::size_t>(body.anchors_sha256_size()) > kJoinAnchorsMax ||
      static_cast<std::size_t>(body.addresses_size()) > kJoinAddressesMax ||
      body.role() < static_cast<std::uint32_t>(Role::agent) ||
      body.role() > static_cast<std::uint32_t>(Role::server))
    return fail(Errc::invalid,
                "the join token was made by a version that this one does not understand");
  token.group = body.group();
  token.root_sha256 = digest_of_field(body.root_sha256());
  for (const std::string& anchor : body.anchors_sha256()) {
    if (anchor.size() != sizeof(Digest))
      return fail(Errc::invalid, "the join token names an anchor that is no SHA-256");
    token.anchors_sha256.push_back(digest_of_field(anchor));
  }
  token.role = static_cast<Role>(body.role());
  token.expires = wall_from_ms(body.expires_ms());
  token.addresses.assign(body.addresses().begin(), body.addresses().end());
  std::ranges::copy(as_bytes(body.seed()), token.seed.begin());
  return token;
}

}  // namespace postern::node
