#include "cli/table.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>

#include "base/invariant.h"

namespace postern::cli {
namespace {

constexpr std::size_t kWordsColumnsMin = 30;

constexpr std::size_t kGap = 2;      // blanks between columns
constexpr std::size_t kCellMin = 8;  // no column is cut below this

std::string cut(const std::string& cell, std::size_t width) {
  if (cell.size() <= width) return cell;
  return cell.substr(0, width - 2) + "..";
}

/// Takes from the widest columns until the line fits, as far as kCellMin allows.
void fit(std::vector<std::size_t>& widths, std::size_t columns) {
  const auto total = [&] {
    return std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
  };
  while (total() > columns) {
    auto widest = std::ranges::max_element(widths);
    if (*widest <= kCellMin) return;
    --*widest;
  }
}

class TreeWriter {
 public:
  explicit TreeWriter(const std::vector<TreeNode>& nodes) : nodes_(nodes), written_(nodes.size()) {
    for (std::size_t i = 0; i < nodes.size(); ++i) by_name_.emplace(nodes[i].name, i);
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (by_name_.contains(nodes[i].parent)) children_[nodes[i].parent].push_back(i);
    for (auto& [parent, list] : children_) sort(list);
  }

  std::vector<TreeLine> lines() {
    std::vector<std::size_t> tops;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (!by_name_.contains(nodes_[i].parent)) tops.push_back(i);
    for (std::size_t top : tops) write(top, "", "");
    for (std::size_t i = 0; i < nodes_.size(); ++i) write(i, "", "");  // what is left: rings
    return std::move(lines_);
  }

 private:
  void sort(std::vector<std::size_t>& list) const {
    std::ranges::sort(list, {}, [&](std::size_t i) { return nodes_[i].name; });
  }

  void write(std::size_t index, const std::string& prefix, const std::string& below) {
    if (written_[index]) return;
    written_[index] = true;
    lines_.push_back({index, prefix});
    const auto found = children_.find(nodes_[index].name);
    if (found == children_.end()) return;
    std::vector<std::size_t> open;
    for (std::size_t child : found->second)
      if (!written_[child]) open.push_back(child);
    for (std::size_t child : open) {
      const bool last = child == open.back();
      write(child, below + (last ? "`- " : "+- "), below + (last ? "   " : "|  "));
    }
  }

  const std::vector<TreeNode>& nodes_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> children_;
  std::vector<bool> written_;
  std::vector<TreeLine> lines_;
};

}  // namespace

void Table::add(std::vector<std::string> row) {
  invariant(row.size() == headings_.size(), "a row has a cell for each heading");
  for (std::string& cell : row) cell = printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::text(std::size_t columns) const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < headings_.size(); ++column) {
    std::size_t width = headings_[column].size();
    for (const auto& row : rows_) width = std::max(width, row[column].size());
    widths.push_back(width);
  }
  fit(widths, columns);
  std::string text;
  const auto write = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      const std::string cell = cut(row[column], widths[column]);
      line += cell + std::string(widths[column] - cell.size() + kGap, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += cut(line, columns) + '\n';
  };
  write(headings_);
  for (const auto& row : rows_) write(row);
  return text;
}

std::vector<TreeLine> tree_lines(const std::vector<TreeNode>& nodes) {
  return TreeWriter(nodes).lines();
}

std::size_t screen_columns(const std::optional<std::string>& variable, std::size_t terminal) {
  std::size_t columns = 0;
  if (variable)
    std::from_chars(variable->data(), variable->data() + variable->size(), columns);  // else 0
  if (columns == 0) columns = terminal;
  if (columns == 0) columns = kScreenColumns;
  return std::clamp(columns, kScreenColumnsMin, kScreenColumnsMax);
}

std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c < 0x20 || c > 0x7e) c = '?';
  return out;
}

std::string wrapped(const std::string& head, const std::string& words, std::size_t columns) {
  const std::size_t width = std::max(columns, head.size() + kWordsColumnsMin);
  std::string text = head;
  std::size_t at = head.size();
  bool line_begins = true;
  std::size_t from = 0;
  while (from <= words.size()) {
    const std::size_t to = std::min(words.find(' ', from), words.size());
    const std::string word = printable(std::string_view(words).substr(from, to - from));
    if (!line_begins && at + 1 + word.size() > width) {
      text += '\n' + std::string(head.size(), ' ');
      at = head.size();
      line_begins = true;
    }
    text += (line_begins ? "" : " ") + word;
    at += word.size() + (line_begins ? 0 : 1);
    line_begins = false;
    from = to + 1;
  }
  return text + '\n';
}

}  // namespace postern::cli
