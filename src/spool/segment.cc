#include "spool/segment.h"

#include <algorithm>
#include <deque>

#include "base/crc32c.h"
#include "base/invariant.h"

namespace postern::spool {
namespace {

constexpr std::string_view kMagic = "PSTL";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kWindowBytes = 256u << 10;
constexpr std::uint64_t kSearchBytesMax = 64u << 20;  // checksums of one search (S28)

/// A view that moves over a file: memory stays the same however large the file is.
class Window {
 public:
  Window(const File& file, std::uint64_t limit) : file_(file), limit_(limit) {}

  /// At most kWindowBytes; shorter only at the limit or where the file ends before it.
  /// Valid until the next call.
  Result<ByteView> at(std::uint64_t offset, std::size_t size) {
    invariant(size <= kWindowBytes, "a window is asked for no more than it holds");
    if (offset >= limit_) return ByteView();
    size = static_cast<std::size_t>(std::min<std::uint64_t>(size, limit_ - offset));
    if (offset < start_ || offset + size > start_ + held_.size()) {
      held_.resize(
          static_cast<std::size_t>(std::min<std::uint64_t>(kWindowBytes, limit_ - offset)));
      auto got = file_.read_at(offset, held_);
      if (!got) return std::unexpected(got.error());
      held_.resize(*got);
      start_ = offset;
    }
    const auto skipped = static_cast<std::size_t>(offset - start_);
    return ByteView(held_).subspan(skipped, std::min(size, held_.size() - skipped));
  }
  /// What is at hand from `offset` on; at least a record header, unless the limit comes before.
  Result<ByteView> rest(std::uint64_t offset) {
    auto head = at(offset, kRecordHeaderBytes);
    if (!head || head->empty()) return head;
    return ByteView(held_).subspan(static_cast<std::size_t>(offset - start_));
  }
  std::uint64_t limit() const { return limit_; }

 private:
  const File& file_;
  std::uint64_t limit_;
  std::uint64_t start_ = 0;
  Bytes held_;
};

std::uint32_t checksum_of(Place place) {
  Writer out;
  out.u64(place.segment).u64(place.offset);
  return crc32c(out.written());
}

struct Plausible {
  std::uint32_t checksum = 0;
  RecordHeader header;
};

/// The fields, when they could be those of a record at `offset` with `left` bytes from there on.
std::optional<Plausible> read_fields(ByteView bytes, std::uint64_t offset, std::uint64_t left) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  // The kind alone refuses nearly every offset of a search, before anything is decoded.
  const auto kind = std::to_integer<std::uint8_t>(bytes[8]);
  if (kind != 1 && kind != 2) return std::nullopt;
  Reader in(bytes.first(kRecordHeaderBytes));
  Plausible found;
  found.checksum = in.u32();
  RecordHeader& header = found.header;
  header.length = in.u32();
  header.kind = static_cast<Kind>(in.u8());
  auto stream = wire::StreamKey::read(in);
  if (!stream) return std::nullopt;
  header.stream = *stream;
  header.synced = in.u64();
  header.sequence = in.u64();
  header.hash = in.array<32>();
  if (header.length > kContentBytesMax || kRecordHeaderBytes + header.length > left)
    return std::nullopt;
  if (header.synced > offset || (header.kind == Kind::batch) != (header.sequence != 0))
    return std::nullopt;
  return found;
}

/// Nothing when there is no readable record at `offset`. Adds what it took to `*checked`.
Result<std::optional<Scan::Found>> read_record(Window& window, Place place,
                                               std::uint64_t* checked) {
  std::optional<Scan::Found> none;
  auto bytes = window.at(place.offset, kRecordHeaderBytes);
  if (!bytes) return std::unexpected(bytes.error());
  auto fields = read_fields(*bytes, place.offset, window.limit() - place.offset);
  if (!fields) return none;
  std::uint32_t checksum = crc32c(bytes->subspan(4), checksum_of(place));
  Scan::Found found{fields->header, place.offset, std::nullopt};
  if (found.header.kind == Kind::batch) {
    const auto size = std::min<std::uint64_t>(found.header.length, kSummaryFrontBytes);
    auto front = window.at(place.offset + kRecordHeaderBytes, static_cast<std::size_t>(size));
    if (!front) return std::unexpected(front.error());
    found.summary = summary_of(*front, found.header.sequence);
  }
  for (std::uint64_t done = 0; done < fields->header.length;) {
    const auto size = std::min<std::uint64_t>(kWindowBytes / 2, fields->header.length - done);
    auto part = window.at(place.offset + kRecordHeaderBytes + done, static_cast<std::size_t>(size));
    if (!part) return std::unexpected(part.error());
    if (part->empty()) return none;  // the file is shorter than it said
    checksum = crc32c(*part, checksum);
    done += part->size();
  }
  *checked += fields->header.length;
  if (checksum != fields->checksum) return none;
  return found;
}

/// The next offset from `from` on where a record can be read; the limit when there is none.
Result<std::uint64_t> find_record(Window& window, Place from) {
  std::uint64_t checked = 0;
  while (from.offset + kRecordHeaderBytes <= window.limit()) {
    auto bytes = window.rest(from.offset);
    if (!bytes) return std::unexpected(bytes.error());
    std::size_t skipped = 0;
    const auto plausible = [&] {
      const std::uint64_t offset = from.offset + skipped;
      return read_fields(bytes->subspan(skipped), offset, window.limit() - offset).has_value();
    };
    while (skipped + kRecordHeaderBytes <= bytes->size() && !plausible()) ++skipped;
    const bool at_one = skipped + kRecordHeaderBytes <= bytes->size();
    if (!at_one && skipped == 0) break;  // the file is shorter than it said
    from.offset += skipped;
    if (!at_one) continue;
    auto record = read_record(window, from, &checked);
    if (!record) return std::unexpected(record.error());
    if (*record) return from.offset;
    if (checked > kSearchBytesMax) break;
    ++from.offset;
  }
  return window.limit();
}

/// Unreadable bytes of which it is not known yet whether they had been synced.
struct Suspect {
  std::uint64_t from = 0, to = 0;
  std::size_t records_before = 0;
};

void count_damage(Scan& scan, const Suspect& suspect) {
  scan.damage.push_back({suspect.from, suspect.to});
}

}  // namespace

std::uint64_t Scan::damaged_bytes() const {
  std::uint64_t sum = 0;
  for (const Damage& range : damage) sum += range.to - range.from;
  return sum;
}

Bytes encode(const SegmentHeader& header) {
  invariant(header.ends.size() <= kEndsMax, "a segment header states at most 8 ends");
  Writer out;
  out.bytes(as_bytes(kMagic)).u8(kVersion).u8(0).u16(0).u64(header.number);
  for (std::size_t i = 0; i < kEndsMax; ++i) {
    const SegmentEnd end = i < header.ends.size() ? header.ends[i] : SegmentEnd{};
    out.u64(end.segment).u64(end.offset);
  }
  out.u32(crc32c(out.written()));
  return out.take();
}

Result<SegmentHeader> decode_segment_header(ByteView bytes, std::uint64_t number) {
  Reader in(bytes);
  const ByteView covered = bytes.first(std::min(bytes.size(), kSegmentHeaderBytes - 4));
  const ByteView magic = in.view(kMagic.size());
  const std::uint8_t version = in.u8();
  in.view(3);
  SegmentHeader header;
  header.number = in.u64();
  for (std::size_t i = 0; i < kEndsMax; ++i) {
    SegmentEnd end;
    end.segment = in.u64();
    end.offset = in.u64();
    if (end.segment != 0) header.ends.push_back(end);
  }
  const std::uint32_t checksum = in.u32();
  if (in.failed() || as_text(magic) != kMagic || checksum != crc32c(covered) ||
      header.number != number)
    return fail(Errc::corrupt, "no header of segment {}", number);
  if (version != kVersion)
    return fail(Errc::invalid,
                "segment {} has version {}, this program reads version {}: run the newer program "
                "again, or move the folder away",
                number, version, kVersion);
  return header;
}

std::uint32_t checksum_of_header(ByteView encoded) {
  invariant(encoded.size() >= kSegmentHeaderBytes, "an encoded header is whole");
  return Reader(encoded.subspan(kSegmentHeaderBytes - 4)).u32();
}

void write_record_header(Writer& out, const RecordHeader& header, Place place, ByteView content) {
  Writer fields;
  fields.reserve(kRecordHeaderBytes);
  fields.u32(header.length).u8(static_cast<std::uint8_t>(header.kind));
  header.stream.write(fields);
  fields.u64(header.synced).u64(header.sequence).bytes(header.hash);
  out.u32(crc32c(content, crc32c(fields.written(), checksum_of(place)))).bytes(fields.written());
}

Result<RecordHeader> decode_record(ByteView record, Place place) {
  auto fields = read_fields(record, place.offset, record.size());
  if (!fields || kRecordHeaderBytes + fields->header.length != record.size() ||
      crc32c(record.subspan(4), checksum_of(place)) != fields->checksum)
    return fail(Errc::corrupt, "the record at offset {} of segment {:016x} cannot be read",
                place.offset, place.segment);
  return fields->header;
}

Result<Scan> scan_segment(const File& file, std::uint64_t number,
                          std::optional<std::uint64_t> told_end) {
  auto size = file.size();
  if (!size) return std::unexpected(size.error());
  Window window(file, told_end ? std::min(*told_end, *size) : *size);
  Scan scan;
  std::deque<Suspect> suspects;

  auto first = window.at(0, kSegmentHeaderBytes);
  if (!first) return std::unexpected(first.error());
  std::uint64_t offset = std::min<std::uint64_t>(kSegmentHeaderBytes, window.limit());
  if (!decode_segment_header(*first, number) && offset > 0) suspects.push_back({0, offset, 0});

  std::uint64_t checked = 0;
  while (offset < window.limit()) {
    auto record = read_record(window, {number, offset}, &checked);
    if (!record) return std::unexpected(record.error());
    if (!*record) {
      auto next = find_record(window, {number, offset + 1});
      if (!next) return std::unexpected(next.error());
      suspects.push_back({offset, *next, scan.records.size()});
      offset = *next;
      continue;
    }
    // It was written when everything before `synced` was on the disk: that is no torn tail.
    for (; !suspects.empty() && suspects.front().from < (*record)->header.synced;
         suspects.pop_front())
      count_damage(scan, suspects.front());
    offset += kRecordHeaderBytes + (*record)->header.length;
    scan.records.push_back(std::move(**record));
  }

  scan.end = window.limit();
  if (told_end) {
    for (const Suspect& suspect : suspects) count_damage(scan, suspect);
    if (*size < *told_end) count_damage(scan, {*size, *told_end, 0});
    scan.end = *told_end;
  } else if (!suspects.empty()) {
    scan.end = suspects.front().from;
    scan.records.resize(suspects.front().records_before);
  }
  if (!scan.records.empty()) scan.proved = scan.records.back().header.synced;
  return scan;
}

}  // namespace postern::spool
