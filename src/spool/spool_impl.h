#pragma once

// The inside of Spool, for its own files only: spool_open.cc, spool_write.cc, spool_space.cc and
// spool.cc are its parts.

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "spool/index.h"
#include "spool/segment.h"
#include "spool/spool.h"

namespace postern::spool {

inline constexpr std::size_t kGatherBytes = 1u
                                            << 20;  // small records are written together up to this
inline constexpr std::uint64_t kSegmentBytesMax = 1ull << 30;
/// Left segments whose zeros are not cut yet; with more, the next one is begun behind the cuts.
inline constexpr std::size_t kToCutMax = 3;
inline constexpr std::string_view kSegmentSuffix = ".log";
inline constexpr std::string_view kIndexSuffix = ".index";
inline constexpr std::string_view kQuarantineSuffix = ".quarantine";
/// Indexes that wait to be written; older ones are given up: the next open() reads their segments.
inline constexpr std::size_t kUnindexedMax = 8;

inline std::string name_of(std::uint64_t segment, std::string_view suffix) {
  return fmt::format("{:016x}{}", segment, suffix);
}

/// The segment number in a file name with this suffix; nothing for other names (S3).
std::optional<std::uint64_t> number_of(std::string_view name, std::string_view suffix);

/// The names in a spool's folder, sorted into what they are; numbers ascend.
struct Names {
  std::vector<std::uint64_t> segments, indexes, quarantined;
  std::uint64_t highest = 0;
};
Names sort_names(const std::vector<std::string>& names);

/// What the headers of all segments say.
struct Headers {
  struct Own {
    std::uint32_t checksum = 0;
  };
  std::map<std::uint64_t, Own> readable;
  std::map<std::uint64_t, std::uint64_t> ends;  // stated, by segment (S5)

  std::uint64_t newest() const { return readable.empty() ? 0 : readable.rbegin()->first; }  // S21
  /// Where a segment of `size` bytes ends, if that is known.
  std::optional<std::uint64_t> end_of(std::uint64_t number, std::uint64_t size) const;
};
/// Adds the header of one segment. `invalid` when it is of a version that is not known.
Result<> read_header(const File& file, std::uint64_t number, Headers& headers);
/// The index of a segment, if it counts (S40).
std::optional<SegmentIndex> read_index(Disk& disk, const std::filesystem::path& path,
                                       std::uint64_t number, std::uint64_t segment_size,
                                       const Headers& headers);

/// A segment file as this process knows it.
struct Segment {
  struct Slot {
    static constexpr std::uint32_t kReleased = UINT32_MAX;
    std::uint32_t offset = 0;
    std::uint32_t bytes = 0;  // of the content; or kReleased

    bool live() const { return bytes != kReleased; }
  };
  std::uint64_t file_bytes = 0;
  std::uint64_t end = 0;          // S5
  std::vector<Slot> slots;        // batches, by offset
  std::uint64_t live = 0;         // slots not released
  std::uint64_t live_bytes = 0;   // records of those
  std::uint64_t batch_bytes = 0;  // records of all slots
  std::uint64_t settled = 0;      // newest settled records that stand here
  bool damaged = false;           // never written to again, never deleted (S23)
  bool tail_left = false;         // has bytes behind its end that could not be cut (S14)
  bool indexed = false;           // has a file with its index

  Slot* slot_at(std::uint64_t offset) {  // nullptr when no batch begins there
    const auto slot =
        std::lower_bound(slots.begin(), slots.end(), offset,
                         [](const Slot& s, std::uint64_t wanted) { return s.offset < wanted; });
    return slot == slots.end() || slot->offset != offset ? nullptr : &*slot;
  }
  void give_up(Slot& slot) {
    --live;
    live_bytes -= kRecordHeaderBytes + slot.bytes;
    slot.bytes = Slot::kReleased;
  }
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
  SegmentIndex active_index;
  bool active_name_synced = false;

  std::map<std::uint64_t, SegmentIndex> unindexed;  // left segments whose index is to be written
  std::set<std::uint64_t> sparse;  // left segments to be copied forward, those being read first
  bool tight = false;              // three quarters of bytes_max are in use
  std::set<std::uint64_t> to_cut;  // left segments with zeros behind their end (S17)
  bool tidying_failed = false;     // since the last append or release

  std::map<wire::StreamKey, Location> settled;  // the newest on the disk
  // While it is opened: all that may turn out to be the newest that can be read, oldest first.
  std::map<wire::StreamKey, std::vector<Location>> settled_candidates;
  std::map<wire::StreamKey, SharedBytes> noted;  // newer, not written yet

  struct {
    std::uint64_t number = 0;  // of the segment that it will be
    std::unique_ptr<File> file;
    std::uint64_t bytes = 0;     // zeros that are on stable storage
    std::uint64_t given_up = 0;  // while this segment is written, it is not tried again
  } prepared;                    // S15

  // Batches that were copied: the owner goes on to name them by the place they had first (S34).
  std::map<Place, Location> moved;    // by that place
  std::map<Place, Place> moved_from;  // back

  Usage counted;  // bytes_max and file sizes are filled in by usage()
  bool space_to_reclaim = false;

  struct {
    std::uint64_t segment = 0;
    std::unique_ptr<File> file;
  } last_read;  // one handle: batches are read in log order

  Impl(Disk& the_disk, const Log& the_log, std::filesystem::path the_folder, Options the_options)
      : disk(the_disk), log(the_log), folder(std::move(the_folder)), options(the_options) {}

  std::filesystem::path path_of(std::uint64_t segment,
                                std::string_view suffix = kSegmentSuffix) const {
    return folder / name_of(segment, suffix);
  }
  std::uint64_t disk_bytes() const {  // of all files
    std::uint64_t sum = prepared.bytes;
    for (const auto& [number, segment] : segments) sum += segment.file_bytes;
    return sum;
  }
  /// Without the zeros that the next records overwrite.
  std::uint64_t used_bytes() const {
    std::uint64_t sum = disk_bytes() - prepared.bytes;
    if (const auto at = segments.find(active); at != segments.end())
      sum -= at->second.file_bytes - at->second.end;
    return sum;
  }

  // Opening.
  using OnEntry = std::function<void(Entry)>;
  Result<> load(Opened& opened, const OnEntry& on_entry);
  Result<> load_segment(std::uint64_t number, const Headers& headers, const OnEntry& on_entry);
  void load_records(const SegmentIndex& index, const OnEntry& on_entry);
  Result<std::map<wire::StreamKey, SharedBytes>> load_settled();
  void remove_index(std::uint64_t number, Segment& segment);
  static Result<> write_again(File& file, std::uint64_t from, std::uint64_t to);
  Result<> close_end(std::uint64_t number, std::uint64_t size, std::uint64_t proved, bool told);
  Result<> make_folder();

  // Writing.
  Result<std::vector<Location>> write(std::span<const Outgoing> records);
  Result<> begin_segment(Writer& gathered);
  Result<std::vector<Location>> write_records(std::span<const Outgoing> records, Writer gathered);
  void end_active();
  void leave_active();
  Result<> cut_again(std::uint64_t number);
  static bool cut(File& file, std::uint64_t end) { return file.truncate(end) && file.sync(); }
  std::vector<Outgoing> noted_records() const;
  void settled_written(std::span<const Outgoing> records, std::span<const Location> locations);

  // Reading.
  Result<Bytes> read(const Location& location);
  void found_damage(std::uint64_t number, const Location& location);

  // What can wait.
  bool untidy() const;
  void tidy();
  Result<> write_next_index();
  Result<> write_index(std::uint64_t number);
  bool wants_prepared() const;
  void prepare();
  Result<> prepare_some();
  void drop_prepared();
  void look_if_sparse(std::uint64_t number);
  Result<> copy_forward();
  Result<> copy_records(std::uint64_t number, std::span<const Segment::Slot> slots);
  Location place_now(const Location& location) const;

  // Space.
  enum class Reserve : std::uint8_t { none, event, state, records };  // which may be used (S33)
  static Reserve reserve_of(wire::Lane lane, bool makes_room);
  Result<> admit(Reserve reserve, std::uint64_t bytes_wanted);
  void add_slot(Segment& segment, const Location& location);
  bool release(const Location& location);
  void leave_active_if_released(std::uint64_t batch_bytes_min);
  void reclaim();
  Result<> copy_settled_forward();
  bool put_away(std::uint64_t number, Segment& segment);
};

}  // namespace postern::spool
