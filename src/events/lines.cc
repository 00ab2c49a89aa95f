#include "events/lines.h"

#include <algorithm>

#include "events/source.h"

namespace postern::events {
namespace {

/// The library's regular expressions take stack by the character: only a line's begin is looked at.
constexpr std::size_t kMatchedBytesMax = 256;

struct Line {
  std::string_view text;
  std::size_t next = 0;
  bool truncated = false;
};

std::optional<Line> line_at(std::string_view piece, std::size_t at, bool closed) {
  const std::string_view rest = piece.substr(at);
  const auto end = rest.substr(0, kLineBytesMax + 1).find('\n');
  if (end != std::string_view::npos) {
    std::string_view text = rest.substr(0, end);
    if (text.ends_with('\r')) text.remove_suffix(1);
    return Line{text, at + end + 1};
  }
  if (rest.size() > kLineBytesMax) {
    // Not in the middle of a character.
    std::size_t size = kLineBytesMax;
    while (size > kLineBytesMax - 4 && (static_cast<unsigned char>(rest[size]) & 0xC0u) == 0x80u)
      --size;
    return Line{rest.substr(0, size), at + size, true};
  }
  if (closed && !rest.empty()) return Line{rest, piece.size()};
  return std::nullopt;
}

}  // namespace

Lines::Lines(const std::string& start) {
  if (!start.empty()) start_.emplace(start, std::regex::ECMAScript | std::regex::optimize);
}

bool Lines::starts(std::string_view line) const {
  if (!start_) return true;
  const std::string_view begin = line.substr(0, kMatchedBytesMax);
  return std::regex_search(begin.begin(), begin.end(), *start_);
}

std::optional<Lines::Event> Lines::next(std::string_view piece, std::size_t at, bool end,
                                        bool closed) const {
  const auto first = line_at(piece, at, closed);
  if (!first) return std::nullopt;
  Event event{first->text, first->next, first->truncated};
  if (!start_ || first->truncated) return event;
  while (true) {
    const auto line = line_at(piece, event.next, closed);
    // More lines than an event may have go into the next one: nothing is cut off.
    if (!line) return end ? std::optional(event) : std::nullopt;
    const std::size_t size = line->next - at;
    if (line->truncated || size > kLineBytesMax || starts(line->text)) return event;
    event.text = piece.substr(
        at, static_cast<std::size_t>(line->text.data() - piece.data()) + line->text.size() - at);
    event.next = line->next;
  }
}

}  // namespace postern::events
