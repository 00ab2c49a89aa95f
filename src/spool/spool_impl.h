#pragma once

// The inside of Spool, for its own files only: spool_open.cc, spool_write.cc, spool_space.cc and
// spool.cc are its parts.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spool/segment.h"
#include "spool/spool.h"

namespace postern::spool {

inline constexpr std::size_t kGatherBytes = 1u
                                            << 20;  // small records are written together up to this
inline constexpr std::string_view kSegmentSuffix = ".log";
inline constexpr std::string_view kQuarantineSuffix = ".quarantine";

inline std::string name_of(std::uint64_t segment, std::string_view suffix) {
  return fmt::format("{:016x}{}", segment, suffix);
}

/// A segment file as this process knows it.
struct Segment {
  struct Slot {
    std::uint64_t offset = 0;
    std::uint32_t bytes = 0;  // of the content
    bool live = true;
  };
  std::uint64_t file_bytes = 0;
  std::uint64_t end = 0;          // S5
  std::vector<Slot> slots;        // batches, by offset
  std::uint64_t live = 0;         // slots not released
  std::uint64_t batch_bytes = 0;  // records of all slots
  std::uint64_t settled = 0;      // newest settled records that stand here
  bool damaged = false;           // never written to again, never deleted (S23)
  bool tail_left = false;         // has bytes behind its end that could not be cut (S14)
};

/// A record on its way to the disk.
struct Outgoing {
  Kind kind = Kind::batch;
  const wire::StreamKey* stream = nullptr;
  std::uint64_t sequence = 0;
  Digest hash{};
  ByteView content;
};

struct Spool::Impl {
  Disk& disk;
  const Log& log;
  const std::filesystem::path folder;
  const Options options;

  std::map<std::uint64_t, Segment> segments;  // by number
  std::uint64_t next_number = 1;
  std::uint64_t active = 0;  // number of the segment being written; 0: none
  std::unique_ptr<File> active_file;

  std::map<wire::StreamKey, Location> settled;   // the newest on the disk
  std::map<wire::StreamKey, SharedBytes> noted;  // newer, not written yet

  Usage counted;  // bytes_max and file sizes are filled in by usage()
  bool space_to_reclaim = false;

  struct {
    std::uint64_t segment = 0;
    std::unique_ptr<File> file;
  } mutable last_read;  // one handle: batches are read in log order

  Impl(Disk& disk_, const Log& log_, std::filesystem::path folder_, Options options_)
      : disk(disk_), log(log_), folder(std::move(folder_)), options(options_) {}

  std::filesystem::path path_of(std::uint64_t segment) const {
    return folder / name_of(segment, kSegmentSuffix);
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [number, segment] : segments) sum += segment.file_bytes;
    return sum;
  }

  // Opening.
  Result<> load(Opened& opened);
  Result<> load_segment(std::uint64_t number, std::optional<std::uint64_t> told_end,
                        Opened& opened);
  static Result<> write_again(File& file, std::uint64_t from, std::uint64_t to);
  Result<> close_end(std::uint64_t number, const Scan& scan, std::uint64_t size, bool told);
  Result<> make_folder();

  // Writing.
  Result<std::vector<Location>> write(std::span<const Outgoing> records);
  Result<> begin_segment(Writer& gathered);
  Result<std::vector<Location>> write_records(std::span<const Outgoing> records, Writer gathered);
  void end_active();
  void cut_again(std::uint64_t number, Segment& segment);
  static bool cut(File& file, std::uint64_t end) { return file.truncate(end) && file.sync(); }
  std::vector<Outgoing> noted_records() const;
  void settled_written(std::span<const Outgoing> records, std::span<const Location> locations);

  // Reading.
  Result<Bytes> read(const Location& location) const;

  // Space.
  enum class Reserve : std::uint8_t { none, state, records };  // which may be used
  Result<> admit(Reserve reserve, std::uint64_t bytes_wanted);
  void add_slot(Segment& segment, const Location& location);
  bool release(const Location& location);
  void leave_active_if_released(std::uint64_t batch_bytes_min);
  void reclaim();
  Result<> copy_settled_forward();
  bool put_away(std::uint64_t number, const Segment& segment);
};

}  // namespace postern::spool
