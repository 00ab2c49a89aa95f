#include "net/http_date.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

constexpr WallTime kTime{std::chrono::milliseconds(1'769'847'300'250)};  // 2026-01-31 08:15:00.250

TEST(HttpDate, IsTheOneFormOfTheHeader) {
  EXPECT_EQ(http_date(kTime), "Sat, 31 Jan 2026 08:15:00 GMT");
  EXPECT_EQ(http_date(WallTime{}), "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST(HttpDate, IsReadBackToTheSecond) {
  const auto read = parse_http_date(http_date(kTime));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(kTime - *read, std::chrono::milliseconds(250));
}

TEST(HttpDate, WhatIsNoDateIsNotRead) {
  for (const char* text :
       {"", "now", "Sat, 31 Jan 2026 08:15:00 CET", "Sat, 31 Foo 2026 08:15:00 GMT",
        "Sat, 31 Feb 2026 08:15:00 GMT", "Sat, xx Jan 2026 08:15:00 GMT",
        "Sat, 31 Jan 2026 25:15:00 GMT", "Saturday, 31-Jan-26 08:15:00 GMT"})
    EXPECT_FALSE(parse_http_date(text).has_value()) << text;
}

}  // namespace
}  // namespace postern
