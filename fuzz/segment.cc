// spool.md: the headers of a segment and of a record, and the index of a segment, byte by byte.

#include "spool/segment.h"

#include "base/crc32c.h"
#include "fuzz/target.h"
#include "spool/index.h"

namespace postern::fuzz {
namespace {

constexpr std::uint64_t kNumber = 7;

/// What the checksum keeps out on a disk must do no harm either: with it repaired.
Bytes with_checksum(ByteView bytes) {
  Bytes repaired = to_bytes(bytes);
  if (repaired.size() < 4) return repaired;
  Writer crc;
  crc.u32(crc32c(ByteView(repaired).first(repaired.size() - 4)));
  std::ranges::copy(crc.written(), repaired.end() - 4);
  return repaired;
}

void check_index(ByteView bytes) {
  const auto index = spool::decode_index(bytes, kNumber);
  if (!index) {
    claim(index.error().code == Errc::corrupt, "a bad index is corrupt");
    return;
  }
  claim(index->number == kNumber, "of the segment that was asked for");
  std::uint64_t end = 0;
  for (const auto& record : index->records) {
    claim(record.stream < index->streams.size(), "a record has a stream");
    claim(record.offset >= end, "records ascend and do not overlap");
    end = std::uint64_t{record.offset} + spool::kRecordHeaderBytes + record.length;
  }
  claim(end <= index->end, "no record behind the end");
  claim(spool::decode_index(encode(*index), kNumber).has_value(), "what we wrote can be read");
}

}  // namespace

void one_input(ByteView bytes) {
  if (auto header = spool::decode_segment_header(bytes, kNumber)) {
    claim(header->number == kNumber && header->ends.size() <= spool::kEndsMax, "within limits");
    claim(spool::decode_segment_header(encode(*header), kNumber) == *header,
          "what we wrote can be read");
  }
  check_index(bytes);
  check_index(with_checksum(bytes));
  if (auto record = spool::decode_record(bytes, {kNumber, 200})) {
    claim(record->length + spool::kRecordHeaderBytes == bytes.size(), "nothing behind it");
    Writer again;
    const ByteView content = bytes.subspan(spool::kRecordHeaderBytes);
    spool::write_record_header(again, *record, {kNumber, 200}, content);
    again.bytes(content);
    claim(std::ranges::equal(again.written(), bytes), "a record has one encoding");
  }
}

std::vector<Bytes> seeds() {
  spool::RecordHeader record;
  record.length = 3;
  record.stream.lane = wire::Lane::event;
  record.sequence = 4;
  Writer whole;
  spool::write_record_header(whole, record, {kNumber, 200}, as_bytes("abc"));
  whole.bytes(as_bytes("abc"));
  spool::SegmentIndex index;
  index.number = kNumber;
  index.end = 4096;
  index.add(record, 148, std::nullopt);
  record.sequence = 5;
  index.add(record, 148 + spool::kRecordHeaderBytes + 3, std::nullopt);
  return {encode(spool::SegmentHeader{kNumber, {}}),
          encode(spool::SegmentHeader{kNumber, {{5, 100}, {6, 4096}}}), whole.take(),
          encode(index)};
}

}  // namespace postern::fuzz
