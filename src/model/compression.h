#pragma once

#include <string>

#include "base/bytes.h"

namespace postern {

/// One zstd frame that states its content's size.
Result<Bytes> compress(std::string_view raw, int level);

/// The content of exactly one zstd frame, `raw_bytes` long as declared, which the caller has
/// checked against its limit. Decodes straight into a buffer of that size: a frame cannot make it
/// grow, and no window is allocated whatever the frame asks for. Everything else is `invalid`.
Result<std::string> decompress(ByteView compressed, std::uint32_t raw_bytes);

}  // namespace postern
