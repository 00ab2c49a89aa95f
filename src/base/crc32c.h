#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace postern {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4). Extend by passing the previous value.
std::uint32_t crc32c(ByteView bytes, std::uint32_t previous = 0);

}  // namespace postern
