#include "cli/table.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <sstream>

#include "cli/render.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

using namespace std::chrono_literals;

std::string drawn(const std::vector<TreeNode>& nodes) {
  std::string text;
  for (const TreeLine& line : tree_lines(nodes))
    text += line.prefix + nodes[line.index].name + '\n';
  return text;
}

TEST(Table, AlignsColumnsUnderTheirHeadings) {
  Table table({"NAME", "ROLE"});
  table.add({"gw1.dmz.example", "gateway"});
  table.add({"a", ""});
  EXPECT_EQ(table.text(),
            "NAME             ROLE\n"
            "gw1.dmz.example  gateway\n"
            "a\n");
}

TEST(Table, NeverExceedsTheScreenAndCutsTheWidestColumn) {
  Table table({"NAME", "WHY", "ROLE"});
  table.add({std::string(70, 'n'), std::string(200, 'w'), "gateway"});
  const std::string text = table.text();
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), kScreenColumns);
  EXPECT_NE(text.find("gateway"), text.npos) << "a narrow column stays whole";
  EXPECT_NE(text.find("n..  w"), text.npos);
}

TEST(Table, PrintsNothingThatCouldCommandATerminal) {
  Table table({"NAME"});
  table.add({"a\x1b[2J\nb\xc3\xa9"});
  EXPECT_EQ(table.text(), "NAME\na?[2J?b??\n");
}

TEST(Tree, DrawsChildrenUnderTheirParentByName) {
  EXPECT_EQ(drawn({{"web2", "gw1"},
                   {"gw2", "gw1"},
                   {"ms1", ""},
                   {"gw1", "ms1"},
                   {"db1", "gw2"},
                   {"gw3", "ms1"}}),
            "ms1\n"
            "+- gw1\n"
            "|  +- gw2\n"
            "|  |  `- db1\n"
            "|  `- web2\n"
            "`- gw3\n");
}

TEST(Tree, ShowsEveryNodeOnceEvenOrphansAndRings) {
  EXPECT_EQ(drawn({{"ms1", ""}, {"lost", "gone"}, {"a", "b"}, {"b", "a"}, {"self", "self"}}),
            "ms1\n"
            "lost\n"
            "a\n"
            "`- b\n"
            "self\n");
}

TEST(Words, TimesAreRelativeAndAbsolute) {
  const WallTime now = *parse_rfc3339("2026-01-31T08:15:00.000Z");
  EXPECT_EQ(ago(now - 12s, now), "12 s ago, 08:14:48Z");
  EXPECT_EQ(ago(now - 5min, now), "5 min ago, 08:10:00Z");
  EXPECT_EQ(ago(now - 72h, now), "3 d ago, 2026-01-28");
  EXPECT_EQ(ago(now + 9s, now), "just now, 08:15:09Z");
  EXPECT_EQ(left(now + 240h, now), "10 d");
  EXPECT_EQ(left(now, now), "expired");
}

TEST(Words, OnlyTimesAreReadAsTimes) {
  EXPECT_EQ(to_rfc3339(*parse_rfc3339("2024-02-29T23:59:59Z")), "2024-02-29T23:59:59.000Z");
  for (const char* text : {"", "Z", "2026-02-29T00:00:00Z", "2026-01-31T08:15:00", "2026-01-31",
                           "2026-13-01T00:00:00Z", "2026-01-31 08:15:00Z", "2026-01-31T25:15:00Z",
                           "2o26-01-31T08:15:00Z"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

const boost::json::value kSample = boost::json::parse(
    R"({"items":[{"name":"a \"b\"","ranges":[[1,4],[7,9]],"empty":[],"os":null}],"n":1})");

TEST(Render, JsonIsIndentedAndReadsBackTheSame) {
  const std::string text = to_json_text(kSample);
  EXPECT_EQ(boost::json::parse(text), kSample);
  EXPECT_EQ(text,
            "{\n"
            "  \"items\": [\n"
            "    {\n"
            "      \"name\": \"a \\\"b\\\"\",\n"
            "      \"ranges\": [\n"
            "        [1,4],\n"
            "        [7,9]\n"
            "      ],\n"
            "      \"empty\": [],\n"
            "      \"os\": null\n"
            "    }\n"
            "  ],\n"
            "  \"n\": 1\n"
            "}\n");
}

TEST(Render, YamlSaysTheSameInBlocks) {
  EXPECT_EQ(to_yaml_text(kSample),
            "\"items\":\n"
            "  - \"name\": \"a \\\"b\\\"\"\n"
            "    \"ranges\":\n"
            "      - [1,4]\n"
            "      - [7,9]\n"
            "    \"empty\": []\n"
            "    \"os\": null\n"
            "\"n\": 1\n");
}

}  // namespace
}  // namespace postern::cli
