#include "spool/index.h"

#include <algorithm>

#include "base/crc32c.h"
#include "base/invariant.h"

namespace postern::spool {
namespace {

constexpr std::string_view kMagic = "PSIX";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kRecordBytesMin = 13;  // a settled record; a batch has more

void write_batch(Writer& out, const SegmentIndex::Record& record) {
  const Summary summary = record.summary.value_or(Summary{});
  out.u64(record.sequence).bytes(record.hash).u8(record.summary ? 1 : 0);
  out.bytes(summary.previous).i64(to_ms(summary.first_time)).i64(to_ms(summary.last_time));
  out.u32(summary.records);
}

void read_batch(Reader& in, SegmentIndex::Record& record) {
  record.sequence = in.u64();
  record.hash = in.array<32>();
  const bool known = in.u8() == 1;
  Summary summary;
  summary.previous = in.array<32>();
  summary.first_time = wall_from_ms(in.i64());
  summary.last_time = wall_from_ms(in.i64());
  summary.records = in.u32();
  if (known) record.summary = summary;
}

}  // namespace

void SegmentIndex::add(const RecordHeader& header, std::uint64_t offset,
                       const std::optional<Summary>& summary) {
  invariant(offset < UINT32_MAX, "a segment has less than 4 GiB");
  // Streams take turns, so the one behind the last is the likeliest.
  const auto size = static_cast<std::uint32_t>(streams.size());
  std::uint32_t found = 0;
  for (; found < size; ++found)
    if (const std::uint32_t at = (last_stream_ + found) % size; streams[at] == header.stream) {
      last_stream_ = at;
      break;
    }
  if (found == size) {
    last_stream_ = size;
    streams.push_back(header.stream);
  }
  records.push_back({header.kind, last_stream_, static_cast<std::uint32_t>(offset), header.length,
                     header.sequence, header.hash, summary});
}

Bytes encode(const SegmentIndex& index) {
  std::vector<std::uint32_t> newest_settled(index.streams.size(), UINT32_MAX);  // offsets
  for (const SegmentIndex::Record& record : index.records)
    if (record.kind == Kind::settled) newest_settled[record.stream] = record.offset;
  const auto stays = [&](const SegmentIndex::Record& record) {
    return record.kind == Kind::batch || newest_settled[record.stream] == record.offset;
  };
  const auto count = std::count_if(index.records.begin(), index.records.end(), stays);

  Writer out;
  out.bytes(as_bytes(kMagic)).u8(kVersion).u8(0).u16(0).u64(index.number);
  out.u32(index.header_checksum).u64(index.end);
  out.u32(static_cast<std::uint32_t>(index.streams.size())).u32(static_cast<std::uint32_t>(count));
  for (const wire::StreamKey& stream : index.streams) stream.write(out);
  for (const SegmentIndex::Record& record : index.records) {
    if (!stays(record)) continue;
    out.u32(record.stream).u8(static_cast<std::uint8_t>(record.kind));
    out.u32(record.offset).u32(record.length);
    if (record.kind == Kind::batch) write_batch(out, record);
  }
  out.u32(crc32c(out.written()));
  return out.take();
}

Result<SegmentIndex> decode_index(ByteView bytes, std::uint64_t number) {
  const auto corrupt = [&] { return fail(Errc::corrupt, "no index of segment {:016x}", number); };
  if (bytes.size() < 4) return corrupt();
  const ByteView covered = bytes.first(bytes.size() - 4);
  if (Reader(bytes.last(4)).u32() != crc32c(covered)) return corrupt();

  Reader in(covered);
  if (as_text(in.view(kMagic.size())) != kMagic || in.u8() != kVersion) return corrupt();
  in.view(3);
  SegmentIndex index;
  index.number = in.u64();
  index.header_checksum = in.u32();
  index.end = in.u64();
  const std::uint32_t streams = in.u32();
  const std::uint32_t records = in.u32();
  if (index.number != number || streams > in.left() / wire::StreamKey::kBytes) return corrupt();
  index.streams.reserve(streams);
  for (std::uint32_t i = 0; i < streams; ++i) {
    auto stream = wire::StreamKey::read(in);
    if (!stream) return corrupt();
    index.streams.push_back(*stream);
  }
  if (records > in.left() / kRecordBytesMin) return corrupt();
  index.records.reserve(records);
  std::uint64_t behind = kSegmentHeaderBytes;  // the record before
  for (std::uint32_t i = 0; i < records; ++i) {
    SegmentIndex::Record record;
    record.stream = in.u32();
    const std::uint8_t kind = in.u8();
    record.kind = static_cast<Kind>(kind);
    record.offset = in.u32();
    record.length = in.u32();
    if (record.kind == Kind::batch) read_batch(in, record);
    if (in.failed() || (kind != 1 && kind != 2) || record.stream >= streams ||
        record.offset < behind || record.length > kContentBytesMax ||
        (record.kind == Kind::batch) != (record.sequence != 0))
      return corrupt();
    behind = record.offset + kRecordHeaderBytes + record.length;
    index.records.push_back(record);
  }
  if (!in.exhausted() || behind > index.end) return corrupt();
  return index;
}

}  // namespace postern::spool
