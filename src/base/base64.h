#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace postern {

/// base64url without padding (RFC 4648, section 5): letters, digits, '-' and '_'.
std::string to_base64url(ByteView bytes);
/// Of that form alone: `invalid` for any other character, a length that no bytes have, and bits
/// left over that are not zero, so that equal bytes have one text.
Result<Bytes> from_base64url(std::string_view text);

}  // namespace postern
