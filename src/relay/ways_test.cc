#include "relay/ways.h"

#include <gtest/gtest.h>

namespace postern::relay {
namespace {

NodeId node(std::uint32_t number) {
  NodeId id;
  std::memcpy(id.bytes.data(), &number, sizeof(number));
  return id;
}

TEST(Ways, TheNewestHeadShowsTheWay) {
  Ways ways;
  EXPECT_FALSE(ways.way_to(node(1)));
  ways.learned(node(1), 10);
  ways.learned(node(1), 11);
  EXPECT_EQ(ways.way_to(node(1)), 11u);
  ways.gone(10);
  EXPECT_EQ(ways.way_to(node(1)), 11u) << "the old one is not its way any more";
}

TEST(Ways, EndWithTheirChannel) {
  Ways ways;
  ways.learned(node(1), 10);
  ways.learned(node(2), 10);
  ways.learned(node(3), 11);
  ways.gone(10);
  ways.gone(10);
  EXPECT_FALSE(ways.way_to(node(1)));
  EXPECT_FALSE(ways.way_to(node(2)));
  EXPECT_EQ(ways.way_to(node(3)), 11u);
}

TEST(Ways, AreBounded) {
  Ways ways;
  for (std::uint32_t i = 0; i < Ways::kNodesMax; ++i) ASSERT_TRUE(ways.learned(node(i), 1));
  EXPECT_FALSE(ways.learned(node(1u << 30), 1));
  EXPECT_TRUE(ways.learned(node(5), 2)) << "a known node may move";
  EXPECT_EQ(ways.size(), Ways::kNodesMax);
  ways.gone(1);
  EXPECT_TRUE(ways.learned(node(1u << 30), 3));
}

}  // namespace
}  // namespace postern::relay
