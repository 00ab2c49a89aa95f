#include "base/base64.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

TEST(Base64Url, WritesTheExamplesOfItsStandard) {  // RFC 4648, section 10, less the padding
  const std::pair<const char*, const char*> examples[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},         {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : examples) {
    EXPECT_EQ(to_base64url(as_bytes(plain)), text);
    EXPECT_EQ(from_base64url(text).value(), to_bytes(std::string_view(plain)));
  }
}

TEST(Base64Url, UsesTheAlphabetThatUrlsAndShellsLeaveAlone) {
  const Bytes all = {std::byte{0xfb}, std::byte{0xff}, std::byte{0xbf}};
  EXPECT_EQ(to_base64url(all), "-_-_");
  EXPECT_EQ(from_base64url("-_-_").value(), all);
  EXPECT_FALSE(from_base64url("+/+/"));
}

TEST(Base64Url, RefusesWhatItWouldNotHaveWritten) {
  EXPECT_FALSE(from_base64url("Z"));         // no bytes have this length
  EXPECT_FALSE(from_base64url("Zg=="));      // padding
  EXPECT_FALSE(from_base64url("Zh"));        // bits left over
  EXPECT_FALSE(from_base64url("Zm9v\nYg"));  // a line break
}

}  // namespace
}  // namespace postern
