#include "base/certificate_mark.h"

#include <algorithm>
#include <cctype>

namespace postern {

std::string serial_text(ByteView bytes) {
  while (bytes.size() > 1 && bytes.front() == std::byte{0}) bytes = bytes.subspan(1);
  if (bytes.empty() || bytes.size() > kSerialBytesMax) return {};
  std::string hex = to_hex(bytes);
  hex.erase(0, std::min(hex.find_first_not_of('0'), hex.size() - 1));
  return hex;
}

Bytes serial_bytes(std::string_view serial) {
  if (serial.empty() || serial.size() > 2 * kSerialBytesMax) return {};
  const auto bytes = from_hex((serial.size() % 2 != 0 ? "0" : "") + std::string(serial));
  return bytes ? *bytes : Bytes{};
}

Result<std::string> normal_serial(std::string_view text) {
  std::string hex;
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  for (const char c : text)
    if (c != ':' && c != ' ') hex += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  hex.erase(0, std::min(hex.find_first_not_of('0'), hex.empty() ? 0 : hex.size() - 1));
  if (serial_bytes(hex).empty())
    return fail(Errc::invalid,
                "'{}' is no serial number: hex digits, at most {} bytes; postern cert show FILE "
                "says it",
                text.substr(0, 64), kSerialBytesMax);
  return hex;
}

}  // namespace postern
