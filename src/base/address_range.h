#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/result.h"

namespace postern {

/// A range of IP addresses, "192.0.2.0/24", "2001:db8::/32", or one address. IPv4 addresses that
/// were mapped into IPv6 count as what they are.
class AddressRange {
 public:
  /// `invalid` for anything else, also when bits behind the prefix are set: that is a typing error
  /// which would open more, or less, than was meant.
  static Result<AddressRange> parse(std::string_view text);

  /// `address` is an IP address, with or without a port: "192.0.2.1", "192.0.2.1:40312",
  /// "[2001:db8::1]:40312". False when it is none.
  bool contains(std::string_view address) const;
  std::string text() const;  // as it was written
  bool operator==(const AddressRange&) const = default;

 private:
  std::string text_;
  std::array<unsigned char, 16> bytes_{};  // IPv4: mapped
  unsigned bits_ = 128;
};

}  // namespace postern
