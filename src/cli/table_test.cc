#include "cli/table.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <sstream>

#include <yaml-cpp/yaml.h>

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

TEST(Table, IsAsWideAsTheScreenAndNoWider) {
  Table table({"A", "B", "C", "D", "E", "F"});
  table.add(std::vector<std::string>(6, std::string(30, 'x')));
  EXPECT_EQ(table.text(1000).find(".."), std::string::npos);
  for (const std::size_t columns : {40u, 80u, 120u}) {
    std::istringstream lines(table.text(columns));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), columns);
    EXPECT_NE(table.text(columns).find("..\n"), std::string::npos) << "what is cut shows it";
  }
}

TEST(Table, TheScreensWidthIsTheVariablesThenTheTerminals) {
  EXPECT_EQ(screen_columns("72", 120), 72u);
  EXPECT_EQ(screen_columns(std::nullopt, 120), 120u);
  EXPECT_EQ(screen_columns("", 120), 120u);
  EXPECT_EQ(screen_columns("wide", 0), kScreenColumns);
  EXPECT_EQ(screen_columns("-5", 0), kScreenColumns);
  EXPECT_EQ(screen_columns(std::nullopt, 3), kScreenColumnsMin);
  EXPECT_EQ(screen_columns("99999999999999999999999", 0), kScreenColumns);
  EXPECT_EQ(screen_columns("9999999", 0), kScreenColumnsMax);
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

// The types of YAML are guessed by how a text looks; none of ours may be taken for another.
TEST(Render, YamlKeepsTextsThatLookLikeSomethingElse) {
  for (const std::string text : {"1",
                                 "007",
                                 "1e3",
                                 "0x10",
                                 "1_000",
                                 "true",
                                 "no",
                                 "Off",
                                 "null",
                                 "~",
                                 "",
                                 " ",
                                 "- a",
                                 "a: b",
                                 "#x",
                                 "&a",
                                 "*a",
                                 "!t",
                                 "%d",
                                 "@x",
                                 "`",
                                 "'",
                                 "\"",
                                 "\\",
                                 "2026-01-31",
                                 "12:30:45",
                                 "two\nlines\n",
                                 "\ttab",
                                 "\x7f",
                                 "\xc2\x85",
                                 "\xc2\x9f",
                                 "\xef\xbb\xbf",
                                 "\xc3\xa4",
                                 "---",
                                 "...",
                                 ".inf",
                                 "<<",
                                 "="}) {
    boost::json::object object;
    object[text] = text;
    object["list"] = boost::json::array{text, 1, true, nullptr, 1.5, "1"};
    const std::string yaml = to_yaml_text(object);
    const YAML::Node read = YAML::Load(yaml);
    ASSERT_TRUE(read[text]) << yaml;
    EXPECT_EQ(read[text].as<std::string>(), text) << yaml;
    EXPECT_EQ(read[text].Tag(), "!") << "only in quotes nothing is guessed: " << yaml;
    EXPECT_EQ(read["list"][0].as<std::string>(), text);
    EXPECT_EQ(read["list"][0].Tag(), "!");
    EXPECT_EQ(read["list"][1].Tag(), "?");
    EXPECT_TRUE(read["list"][3].IsNull());
    for (const char c : yaml) EXPECT_NE(c, '\x7f') << "YAML takes no control characters";
  }
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
