#include "base/address_range.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>
#include <optional>

namespace postern {
namespace {

using Address = std::array<unsigned char, 16>;
constexpr unsigned kMappedBits = 96;  // of ::ffff:0:0/96

std::optional<Address> parse_address(const std::string& text, bool& is_v4) {
  Address bytes{};
  is_v4 = ::inet_pton(AF_INET, text.c_str(), bytes.data() + 12) == 1;
  if (is_v4) {
    bytes[10] = bytes[11] = 0xff;
    return bytes;
  }
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  return std::nullopt;
}

bool bit(const Address& address, unsigned at) {
  return ((address[at / 8] >> (7 - at % 8)) & 1) != 0;
}

/// The address in "192.0.2.1:40312", "[2001:db8::1]:40312" and the like.
std::string without_port(std::string_view text) {
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    return std::string(end == text.npos ? "" : text.substr(1, end - 1));
  }
  const auto colon = text.find(':');
  const bool v4_with_port = colon != text.npos && text.find(':', colon + 1) == text.npos;
  return std::string(v4_with_port ? text.substr(0, colon) : text);
}

}  // namespace

Result<AddressRange> AddressRange::parse(std::string_view text) {
  AddressRange range;
  range.text_ = text;
  const auto slash = text.find('/');
  bool is_v4 = false;
  const auto address = parse_address(std::string(text.substr(0, slash)), is_v4);
  if (!address)
    return fail(Errc::invalid, "'{}' is neither an IP address nor a range like 192.0.2.0/24", text);
  range.bytes_ = *address;
  if (slash == text.npos) return range;
  const auto written = text.substr(slash + 1);
  const unsigned most = is_v4 ? 32 : 128;
  unsigned bits = 0;
  const auto [end, failed] = std::from_chars(written.data(), written.data() + written.size(), bits);
  if (failed != std::errc() || end != written.data() + written.size() || bits > most)
    return fail(Errc::invalid, "'{}': what follows the slash must be a number from 0 to {}", text,
                most);
  range.bits_ = is_v4 ? kMappedBits + bits : bits;
  for (unsigned at = range.bits_; at < 128; ++at)
    if (bit(range.bytes_, at))
      return fail(Errc::invalid,
                  "'{}' has bits set behind its prefix of {}; write the first address of the range",
                  text, bits);
  return range;
}

bool AddressRange::contains(std::string_view address) const {
  bool is_v4 = false;
  const auto bytes = parse_address(without_port(address), is_v4);
  if (!bytes) return false;
  for (unsigned at = 0; at < bits_; ++at)
    if (bit(*bytes, at) != bit(bytes_, at)) return false;
  return true;
}

std::string AddressRange::text() const { return text_; }

}  // namespace postern
