#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace postern {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;
/// Immutable bytes that disk, relay and socket hold at the same time: the shared_ptr is why one
/// batch is never copied on its way through a gateway.
using SharedBytes = std::shared_ptr<const Bytes>;

inline ByteView as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView view) { return {view.begin(), view.end()}; }
inline Bytes to_bytes(std::string_view text) { return to_bytes(as_bytes(text)); }
inline std::string to_string(ByteView bytes) { return std::string(as_text(bytes)); }

std::string to_hex(ByteView bytes);  // lower case, two digits a byte
/// `invalid` when the length is odd or a character is no hex digit.
Result<Bytes> from_hex(std::string_view hex);

/// Compares without telling by its time where the first difference is. False for unequal sizes.
bool equal_constant_time(ByteView a, ByteView b);

}  // namespace postern
