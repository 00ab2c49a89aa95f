#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/node_id.h"
#include "base/result.h"

namespace postern {

inline constexpr std::size_t kSerialBytesMax = 20;  // RFC 5280, 4.1.2.2

/// What a certificate is denied by (document.md#G13): its TLS key, or its issuer and serial.
struct CertificateMark {
  Digest tls_key{};    // SHA-256 of the SPKI; zeros: not known
  Digest issuer{};     // SHA-256 of the issuer's name in DER; zeros: not known
  std::string serial;  // lower-case hex without leading zeros; "": not known
  auto operator<=>(const CertificateMark&) const = default;
};

/// Big-endian without leading zeros, as it travels, and back. What is longer than kSerialBytesMax
/// or no hex becomes nothing, which is "not known".
Bytes serial_bytes(std::string_view serial);
std::string serial_text(ByteView bytes);

/// As people write serials: upper case, colons, blanks, "0x", leading zeros. `invalid` unless it is
/// one of at most kSerialBytesMax.
Result<std::string> normal_serial(std::string_view text);

}  // namespace postern
