#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::cli {

inline constexpr std::size_t kScreenColumns = 100;    // where there is no terminal
inline constexpr std::size_t kScreenColumnsMin = 40;  // narrower ones break lines by themselves
inline constexpr std::size_t kScreenColumnsMax = 1000;

/// Rows under headings, in plain ASCII, at most as wide as is asked: when it would be wider, the
/// widest columns are cut (".." at the end of a cell shows it), and when that is not enough the
/// lines; the other outputs cut nothing. Other characters, which may come from strangers, are
/// printed as '?'.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : headings_(std::move(headings)) {}
  void add(std::vector<std::string> row);  // as many cells as there are headings
  bool empty() const { return rows_.empty(); }
  std::string text(std::size_t columns = kScreenColumns) const;

 private:
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

/// One node of a tree, in any order.
struct TreeNode {
  std::string name;
  std::string parent;  // "" or unknown: it stands at the top
};

struct TreeLine {
  std::size_t index;   // into the nodes that were given
  std::string prefix;  // "|  +- "
};

/// The order and the branches in which to print a tree: parents before children, siblings by
/// name. Every node comes exactly once, also those of a ring.
std::vector<TreeLine> tree_lines(const std::vector<TreeNode>& nodes);

std::string printable(std::string_view text);

/// How wide to print: what the variable COLUMNS says, else the width of the terminal (0: there is
/// none), else kScreenColumns; always from kScreenColumnsMin to kScreenColumnsMax.
std::size_t screen_columns(const std::optional<std::string>& variable, std::size_t terminal);

/// `head`, then `words` broken between them at `columns`; the following lines begin under the first
/// word. Ends the line.
std::string wrapped(const std::string& head, const std::string& words, std::size_t columns);

}  // namespace postern::cli
