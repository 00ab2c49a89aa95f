#pragma once

#include <array>
#include <compare>
#include <cstring>
#include <functional>
#include <string>

#include "base/bytes.h"

namespace postern {

using Digest = std::array<std::byte, 32>;     // SHA-256
using Signature = std::array<std::byte, 64>;  // ECDSA P-256, r and s big-endian (IEEE P1363)

/// First 128 bits of SHA-256 over the SubjectPublicKeyInfo (DER) of the identity key. Names and
/// TLS keys change under it; it never does. All zeros: nobody.
struct NodeId {
  std::array<std::byte, 16> bytes{};
  auto operator<=>(const NodeId&) const = default;
  explicit operator bool() const { return *this != NodeId{}; }
  std::string hex() const { return to_hex(bytes); }
};

inline NodeId node_id_of(const Digest& spki_digest) {
  NodeId id;
  std::memcpy(id.bytes.data(), spki_digest.data(), id.bytes.size());
  return id;
}
/// `invalid` unless it is 32 hex digits.
Result<NodeId> parse_node_id(std::string_view hex);

}  // namespace postern

template <>
struct std::hash<postern::NodeId> {
  std::size_t operator()(const postern::NodeId& id) const noexcept {
    std::size_t value;  // already the output of a hash
    std::memcpy(&value, id.bytes.data(), sizeof(value));
    return value;
  }
};
