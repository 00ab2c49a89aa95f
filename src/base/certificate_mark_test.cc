#include "base/certificate_mark.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

TEST(CertificateMark, ASerialTravelsAsBytesAndComesBackTheSame) {
  for (const char* serial :
       {"0", "1", "f", "10", "abc", "1f00", "ffffffffffffffffffffffffffffffffffffffff"})
    EXPECT_EQ(serial_text(serial_bytes(serial)), serial);
}

TEST(CertificateMark, WhatIsTooLongOrNoHexIsNotKnown) {
  EXPECT_TRUE(serial_bytes(std::string(41, 'a')).empty());
  EXPECT_TRUE(serial_bytes("xyz").empty());
  EXPECT_TRUE(serial_bytes("").empty());
  EXPECT_TRUE(serial_text({}).empty());
  EXPECT_TRUE(serial_text(Bytes(21, std::byte{1})).empty());
}

TEST(CertificateMark, PeopleWriteSerialsInManyWays) {
  EXPECT_EQ(normal_serial("0A:1B:00").value(), "a1b00");
  EXPECT_EQ(normal_serial("0x00ff").value(), "ff");
  EXPECT_EQ(normal_serial("AB CD").value(), "abcd");
  EXPECT_EQ(normal_serial("00").value(), "0");
  for (const char* wrong : {"", ":", "g1", "0x", "a1.site"})
    EXPECT_FALSE(normal_serial(wrong)) << wrong;
  EXPECT_FALSE(normal_serial(std::string(42, '1')));
}

}  // namespace
}  // namespace postern
