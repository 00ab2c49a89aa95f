#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "spool/segment.h"
#include "spool/summary.h"
#include "wire/stream.h"

namespace postern::spool {

/// What stands in a segment that is left, so that it need not be read to be known
/// (docs/formats/spool.md, "The index of a segment").
struct SegmentIndex {
  struct Record {
    Kind kind = Kind::batch;
    std::uint32_t stream = 0;  // its place in `streams`
    std::uint32_t offset = 0;
    std::uint32_t length = 0;  // of the content
    std::uint64_t sequence = 0;
    Digest hash{};
    std::optional<Summary> summary;
    bool operator==(const Record&) const = default;
  };
  std::uint64_t number = 0;
  std::uint32_t header_checksum = 0;  // as in the segment's header
  std::uint64_t end = 0;
  std::vector<wire::StreamKey> streams;
  std::vector<Record> records;  // by offset

  /// Records come by ascending offset.
  void add(const RecordHeader& header, std::uint64_t offset, const std::optional<Summary>& summary);
  bool operator==(const SegmentIndex&) const = default;

 private:
  std::uint32_t last_stream_ = 0;  // where the previous record's stream was found
};

/// The settled records that a later one of the same stream makes superfluous are left out.
Bytes encode(const SegmentIndex& index);
/// `corrupt` when it is no index of segment `number`, whole and plausible.
Result<SegmentIndex> decode_index(ByteView bytes, std::uint64_t number);

}  // namespace postern::spool
