#include "base/utf8.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

TEST(Utf8, AcceptsEveryWellFormedLength) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"));
  EXPECT_EQ(to_utf8("a\xc3\xbc"), "a\xc3\xbc");
}

TEST(Utf8, RefusesStrayCutOverlongSurrogateAndTooLarge) {
  for (const char* text : {"\x80", "\xc3", "\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3(", "\xff"})
    EXPECT_FALSE(is_utf8(text)) << static_cast<int>(text[0]);
  EXPECT_EQ(to_utf8("a\xff"
                    "b\xc3"),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd");
}

}  // namespace
}  // namespace postern
