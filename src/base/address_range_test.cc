#include "base/address_range.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

bool contains(const char* range, const char* address) {
  auto parsed = AddressRange::parse(range);
  EXPECT_TRUE(parsed) << range;
  return parsed && parsed->contains(address);
}

TEST(AddressRange, HoldsWhatHasItsPrefixAndNothingElse) {
  EXPECT_TRUE(contains("192.0.2.0/24", "192.0.2.255"));
  EXPECT_FALSE(contains("192.0.2.0/24", "192.0.3.0"));
  EXPECT_TRUE(contains("192.0.2.128/25", "192.0.2.128"));
  EXPECT_FALSE(contains("192.0.2.128/25", "192.0.2.127"));
  EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(contains("0.0.0.0/0", "203.0.113.7"));
  EXPECT_FALSE(contains("0.0.0.0/0", "2001:db8::1")) << "all of IPv4 is not all of IPv6";
  EXPECT_TRUE(contains("::1", "::1"));
  EXPECT_FALSE(contains("192.0.2.1", "192.0.2.2"));
}

TEST(AddressRange, TakesAddressesAsSocketsSayThem) {
  EXPECT_TRUE(contains("192.0.2.0/24", "192.0.2.1:40312"));
  EXPECT_TRUE(contains("2001:db8::/32", "[2001:db8::1]:40312"));
  EXPECT_TRUE(contains("192.0.2.0/24", "::ffff:192.0.2.1")) << "mapped";
  EXPECT_FALSE(contains("0.0.0.0/0", "unix"));
  EXPECT_FALSE(contains("0.0.0.0/0", ""));
  EXPECT_FALSE(contains("::/0", "[2001:db8::1"));
}

TEST(AddressRange, RefusesWhatIsNotOne) {
  for (const char* wrong : {"", "home", "192.0.2", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1",
                            "192.0.2.0/24x", "2001:db8::/129", "192.0.2.1/24", "2001:db8::1/32"})
    EXPECT_FALSE(AddressRange::parse(wrong)) << wrong;
}

}  // namespace
}  // namespace postern
