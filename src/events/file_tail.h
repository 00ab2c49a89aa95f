#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "events/lines.h"
#include "events/source.h"

namespace postern::events {

/// One descriptor, closed at the end.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Descriptor();
  void close() { Descriptor gone = std::move(*this); }
  int get() const { return value_; }
  explicit operator bool() const { return value_ >= 0; }

 private:
  int value_ = -1;
};

/// Reads the lines of one log file through all its rotations.
///
/// A file is known by device, inode and a checksum of its first bytes, so what was begun is found
/// again under whatever name it was rotated to (NAME.1, NAME-20260131 ...): it is finished first,
/// then come the rotated files that are younger, by their time of change, then the file of that
/// name. A file that was cut (copytruncate) is found again as its copy, by its first bytes. What
/// was rotated away, or compressed, before it could be read is told as an event. Empty lines are no
/// events.
class FileTail final : public LogSource {
 public:
  struct Options {
    std::string multiline_start;
    Severity severity = Severity::unknown;
    std::string severity_text;
    bool from_beginning = true;
    /// So long a multi-line event waits for its next line, and a renamed file for its writer.
    Duration quiet = std::chrono::seconds(2);
  };
  FileTail(std::filesystem::path path, Options options);

  Read read(const ReadLimit& limit, TimePoint now, WallTime wall) override;
  void seek(const std::string& position) override;

 private:
  struct Position {
    std::uint64_t device = 0, inode = 0;  // of the file that is being read; 0: none
    std::uint64_t offset = 0;
    std::uint64_t size = 0;          // as last seen, to tell what was lost
    std::int64_t changed = 0;        // time of change, ns, as last seen
    std::uint64_t printed = 0;       // so many first bytes ...
    std::uint32_t print = 0;         // ... have this checksum
    bool skipping = false;           // in the rest of a line that was too long
    std::uint64_t done_inode = 0;    // of the file before,
    std::int64_t done_changed = -1;  // and its time of change; -1: there was none
  };
  struct Found {
    std::filesystem::path path;
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t changed = 0;
  };
  static std::string text_of(const Position& position);
  static std::optional<Position> position_of(const std::string& text);
  static std::optional<Found> look_at(const std::filesystem::path& path);
  std::vector<Found> rotated() const;  // oldest change first
  std::vector<Found> unread() const;   // of those, younger than the file before

  bool open_first(Read& out);
  bool open_again(Read& out, WallTime wall);
  bool open_next(Read& out, WallTime wall);
  bool open_file(const std::filesystem::path& path, Read& out);
  bool is_same(int descriptor) const;
  bool has_successor() const;
  void end_file();
  /// False: the file is not the one that was begun any more.
  bool read_piece(const ReadLimit& limit, TimePoint now, WallTime wall, Read& out);
  std::size_t take(std::string_view text, bool truncated, WallTime wall, Read& out) const;

  const std::filesystem::path path_;
  const Options options_;
  const Lines lines_;
  Position at_;
  Descriptor file_;
  std::optional<std::uint64_t> size_;  // at the last look, and since when it is that
  TimePoint unchanged_since_{};
};

/// Whether `name` is what a rotation makes of `base`: base.1, base-20260131, base.old, base.2.gz.
bool is_rotated_name(std::string_view name, std::string_view base);

}  // namespace postern::events
