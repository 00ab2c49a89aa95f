#include "api/time.h"

#include <gtest/gtest.h>

namespace postern::api {
namespace {

TEST(Rfc3339, ReadsWhatItPrintsAndFractionsOfAnyLength) {
  const WallTime time = wall_from_ms(1'800'000'000'123);
  EXPECT_EQ(parse_rfc3339(to_rfc3339(time)), time);
  EXPECT_EQ(parse_rfc3339("2027-01-15T08:00:00.5Z"), wall_from_ms(1'800'000'000'500));
  EXPECT_EQ(parse_rfc3339("2027-01-15T08:00:00.123456789Z"), time);
  EXPECT_EQ(parse_rfc3339("2027-01-15T08:00:00Z"), wall_from_ms(1'800'000'000'000));
}

TEST(Rfc3339, RefusesEverythingElse) {
  for (const char* text :
       {"", "Z", "2027-01-15T08:00:00", "2027-01-15T08:00:00.Z", "2027-01-15T08:00:00.1234567890Z",
        "2027-01-15T08:00:00.1xZ", "2027-01-15T08:00:00+01:00", "2027-01-15T08:00:00x5Z"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

}  // namespace
}  // namespace postern::api
