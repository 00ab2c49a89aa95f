#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/disk.h"
#include "spool/summary.h"
#include "wire/frame.h"
#include "wire/stream.h"

namespace postern::spool {

inline constexpr std::size_t kEndsMax = 8;  // stated in one segment header
inline constexpr std::size_t kSegmentHeaderBytes = 148;
inline constexpr std::size_t kRecordHeaderBytes = 86;
inline constexpr std::size_t kContentBytesMax = wire::kBatchLaneMessageMax;

/// Where a segment ends, by the word of a later one (spool.md#S5).
struct SegmentEnd {
  std::uint64_t segment = 0;
  std::uint64_t offset = 0;
  bool operator==(const SegmentEnd&) const = default;
};

/// The first bytes of a segment file (spool.md, "The segment").
struct SegmentHeader {
  std::uint64_t number = 0;
  std::vector<SegmentEnd> ends;  // at most kEndsMax
  bool operator==(const SegmentHeader&) const = default;
};
Bytes encode(const SegmentHeader& header);
/// `corrupt` when it is no header of segment `number`; `invalid` when it is one, but of a version
/// that this program does not know (S4).
Result<SegmentHeader> decode_segment_header(ByteView bytes, std::uint64_t number);
/// The checksum that stands in an encoded header.
std::uint32_t checksum_of_header(ByteView encoded);

enum class Kind : std::uint8_t { batch = 1, settled = 2 };

/// What stands before the content of a record (spool.md, "The record").
struct RecordHeader {
  std::uint32_t length = 0;  // of the content
  Kind kind = Kind::batch;
  wire::StreamKey stream;
  std::uint64_t synced = 0;  // end of the segment when this was written
  std::uint64_t sequence = 0;
  Digest hash{};
  bool operator==(const RecordHeader&) const = default;
};

struct Place {
  std::uint64_t segment = 0;
  std::uint64_t offset = 0;
  auto operator<=>(const Place&) const = default;
};

/// `header.length` is that of `content`.
void write_record_header(Writer& out, const RecordHeader& header, Place place, ByteView content);

/// The record at `place`, header and content and nothing behind it; `corrupt` when the checksum
/// does not fit (S8, S9).
Result<RecordHeader> decode_record(ByteView record, Place place);

/// What a segment file holds (spool.md, "Opening").
struct Scan {
  struct Found {
    RecordHeader header;
    std::uint64_t offset = 0;
    std::optional<Summary> summary;  // of a batch
  };
  struct Damage {
    std::uint64_t from = 0, to = 0;
    bool operator==(const Damage&) const = default;
  };
  std::vector<Found> records;
  std::uint64_t end = 0;       // behind the last record that counts
  std::uint64_t proved = 0;    // up to here it was synced: the last record says so itself
  std::vector<Damage> damage;  // had been synced, cannot be read (S22)
  std::uint64_t damaged_bytes() const;
};

/// Reads a segment from its first to its last byte, 256 KiB at a time. `told_end`: where the
/// segment ends if that is known; without it, what cannot be proved to have been synced is a torn
/// tail. Fails only when the disk does.
Result<Scan> scan_segment(const File& file, std::uint64_t number,
                          std::optional<std::uint64_t> told_end);

}  // namespace postern::spool
