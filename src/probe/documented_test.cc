// docs/measurements.md and the code say the same.

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "probe/test_machine.h"
#include "probe/text.h"

namespace postern {
namespace {

struct Row {
  std::string unit, kind;
  std::set<std::string> attributes;
  std::set<std::string> collectors;
};

/// What stands in `backticks` of a cell.
std::set<std::string> words_in(std::string_view cell) {
  std::set<std::string> words;
  for (std::size_t from = cell.find('`'); from != std::string_view::npos;
       from = cell.find('`', from)) {
    const std::size_t to = cell.find('`', from + 1);
    if (to == std::string_view::npos) break;
    words.emplace(cell.substr(from + 1, to - from - 1));
    from = to + 1;
  }
  return words;
}

/// Rows of the tables whose last column names collectors; ROLE is this test's observer's.
std::map<std::string, Row> documented() {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/docs/measurements.md");
  EXPECT_TRUE(file) << "docs/measurements.md cannot be read";
  std::map<std::string, Row> rows;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> cells;
    for (std::size_t from = 0, bar = 0; (bar = line.find('|', from)) != std::string::npos;
         from = bar + 1)
      cells.push_back(line.substr(from, bar - from));
    if (cells.size() != 7 || cells[1].find('`') == std::string::npos) continue;
    std::string name = *words_in(cells[1]).begin();
    if (const std::size_t role = name.find("ROLE"); role != std::string::npos)
      name.replace(role, 4, test_observer().role);
    std::set<std::string> attributes;
    for (const std::string& word : words_in(cells[4]))
      if (word.find('.') != std::string::npos) attributes.insert(word);
    rows[name] = {*words_in(cells[2]).begin(), std::string(trim(cells[3])), attributes,
                  words_in(cells[6])};
  }
  return rows;
}

const char* kind_of(const Measurement& one) {
  switch (one.kind) {
    case MeasurementKind::gauge:
      return "gauge";
    case MeasurementKind::sum:
      return "sum";
    case MeasurementKind::monotonic_sum:
      break;
  }
  return "counter";
}

TEST(Documented, IsEverythingThatACollectorSaysAndNothingElse) {
  const auto rows = documented();
  ASSERT_GT(rows.size(), 40u);
  const auto machine = std::make_shared<FakeSource>(test_machine());
  std::set<std::pair<std::string, std::string>> said;  // name and collector
  for (const CollectorId id : all_collectors()) {
    Probe probe(id, machine, test_observer());
    *machine = test_machine();
    Collected all = probe.collect(WallTime{});
    make_time_pass(*machine);
    for (Measurement& one : probe.collect(WallTime{}).measurements)
      all.measurements.push_back(std::move(one));
    for (const Measurement& one : all.measurements) {
      const auto row = rows.find(one.name);
      ASSERT_NE(row, rows.end()) << one.name << " is not in docs/measurements.md";
      EXPECT_EQ(one.unit, row->second.unit) << one.name;
      EXPECT_EQ(kind_of(one), row->second.kind) << one.name;
      EXPECT_TRUE(row->second.collectors.contains(std::string(name_of(id)))) << one.name;
      for (const Attribute& attribute : one.attributes)
        EXPECT_TRUE(row->second.attributes.contains(attribute.key))
            << one.name << " has " << attribute.key;
      said.emplace(one.name, name_of(id));
    }
  }
  for (const auto& [name, row] : rows)
    for (const std::string& collector : row.collectors)
      if (collector != "self") {  // e2e/agent compares those with what comes from a running node
        EXPECT_TRUE(said.contains({name, collector})) << name << " is never said by " << collector;
      }
}

TEST(Documented, IsEveryAttributeOfTheInventory) {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/docs/measurements.md");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string section = text.substr(text.find("## Inventory"));
  FakeSource source = test_machine();
  source.files["/sys/class/dmi/id/sys_vendor"] = "Amazon EC2\n";
  source.files["/.dockerenv"] = "";
  for (const Attribute& attribute : host_inventory(source, test_observer()).host.attributes)
    EXPECT_NE(section.find("`" + attribute.key + "`"), std::string::npos) << attribute.key;
  for (const std::string_view name : kCollectorNames)
    EXPECT_NE(text.find("\n| `" + std::string(name) + "` |"), std::string::npos) << name;
}

}  // namespace
}  // namespace postern
