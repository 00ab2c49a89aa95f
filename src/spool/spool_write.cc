#include <algorithm>
#include <utility>

#include "spool/spool_impl.h"

namespace postern::spool {
namespace {

constexpr std::size_t kOwnWriteBytes = 64u << 10;  // contents from here on are not copied together

}  // namespace

Result<std::vector<Location>> Spool::Impl::write(std::span<const Outgoing> records) {
  std::uint64_t total = 0;
  for (const Outgoing& record : records) total += kRecordHeaderBytes + record.content.size();
  if (active != 0 && segments[active].end + total > options.segment_bytes) {
    leave_active();  // its end is its last sync, and the next header will say so
  }
  Writer gathered;
  if (active == 0)
    if (auto begun = begin_segment(gathered); !begun) return std::unexpected(begun.error());

  const std::uint64_t number = active;
  auto locations = write_records(records, std::move(gathered));
  if (!locations) {
    end_active();
    return fail(locations.error(), "spool: appending to segment " + name_of(number, ""));
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Outgoing& record = records[i];
    const auto length = static_cast<std::uint32_t>(record.content.size());
    active_index.add(
        {length, record.kind, *record.stream, 0, record.sequence, record.hash},
        (*locations)[i].offset,
        record.kind == Kind::batch ? summary_of(record.content, record.sequence) : std::nullopt);
  }
  return locations;
}

Result<> Spool::Impl::cut_again(std::uint64_t number) {
  Segment& segment = segments[number];
  auto file = disk.open(path_of(number), Disk::Open::write_existing);
  if (!file) return std::unexpected(file.error());
  if (!cut(**file, segment.end))
    return fail(Errc::unavailable, "spool: {} cannot be cut", path_of(number).string());
  segment.tail_left = false;
  segment.file_bytes = segment.end;
  to_cut.erase(number);
  return {};
}

Result<> Spool::Impl::begin_segment(Writer& gathered) {
  SegmentHeader header;
  for (auto& [number, segment] : segments) {
    const bool due = to_cut.size() > kToCutMax && to_cut.contains(number);
    if ((segment.tail_left && !segment.damaged) || due) (void)cut_again(number);
    if (segment.tail_left || to_cut.contains(number) || number == segments.rbegin()->first)
      header.ends.push_back({number, segment.end});
  }
  if (header.ends.size() > kEndsMax)
    return fail(
        Errc::unavailable,
        "spool: {} segments in {} have a tail that could not be cut, at most {} may: look for "
        "errors of the disk",
        header.ends.size() - 1, folder.string(), kEndsMax - 1);
  active_name_synced = prepared.file != nullptr;
  if (prepared.file) {
    active = prepared.number;
    active_file = std::move(prepared.file);
    segments[active].file_bytes = prepared.bytes;
    prepared = {};
  } else {
    const std::uint64_t number = next_number++;  // also when it fails: the file may be there
    auto file = disk.open(path_of(number), Disk::Open::create_new);
    if (!file) return fail(file.error(), "spool: beginning a segment");
    active = number;
    active_file = std::move(*file);
    segments[active] = Segment{};
  }
  header.number = active;
  const Bytes encoded = encode(header);
  active_index = {};
  active_index.number = active;
  active_index.header_checksum = checksum_of_header(encoded);
  gathered.bytes(encoded);
  return {};
}

/// `gathered` holds the header of a new segment or nothing. On failure the active segment is left
/// as it is: the caller ends it.
Result<std::vector<Location>> Spool::Impl::write_records(std::span<const Outgoing> records,
                                                         Writer gathered) {
  Segment& segment = segments[active];
  const bool fresh = segment.end == 0;
  std::vector<Location> locations;
  locations.reserve(records.size());
  std::uint64_t written = segment.end;
  const auto put = [&](ByteView bytes) -> Result<> {
    auto result = active_file->write_at(written, bytes);
    written += bytes.size();
    segment.file_bytes = std::max(segment.file_bytes, written);
    return result;
  };
  const auto flush = [&]() -> Result<> {
    if (gathered.size() == 0) return {};
    const Bytes bytes = std::exchange(gathered, Writer()).take();
    return put(bytes);
  };

  for (const Outgoing& record : records) {
    const Place place{active, written + gathered.size()};
    const auto length = static_cast<std::uint32_t>(record.content.size());
    write_record_header(
        gathered, {length, record.kind, *record.stream, segment.end, record.sequence, record.hash},
        place, record.content);
    locations.push_back({place.segment, place.offset, length});
    const bool large = length >= kOwnWriteBytes;
    if (!large) gathered.bytes(record.content);
    if (large || gathered.size() >= kGatherBytes)
      if (auto flushed = flush(); !flushed) return std::unexpected(flushed.error());
    if (large)
      if (auto result = put(record.content); !result) return std::unexpected(result.error());
  }
  if (auto flushed = flush(); !flushed) return std::unexpected(flushed.error());
  if (auto synced = active_file->sync(); !synced) return std::unexpected(synced.error());
  ++counted.syncs;
  if (fresh && !active_name_synced)
    if (auto synced = disk.sync_directory(folder); !synced) return std::unexpected(synced.error());
  segment.end = written;
  return locations;
}

/// After a failure: the segment ends at its last good sync and gets no further record (S13).
void Spool::Impl::end_active() {
  Segment& segment = segments[active];
  segment.tail_left = !cut(*active_file, segment.end);
  if (!segment.tail_left) segment.file_bytes = segment.end;
  leave_active();
}

/// No record comes to it any more.
void Spool::Impl::leave_active() {
  Segment& segment = segments[active];
  if (!segment.tail_left && segment.file_bytes > segment.end) to_cut.insert(active);
  active_index.end = segment.end;
  if (segment.live > 0 && !segment.damaged) {
    if (unindexed.size() == kUnindexedMax) unindexed.erase(unindexed.begin());
    unindexed[active] = std::exchange(active_index, {});
  }
  const std::uint64_t number = std::exchange(active, 0);
  active_file.reset();
  look_if_sparse(number);
  space_to_reclaim = true;  // it may have been all released while it was written
}

std::vector<Outgoing> Spool::Impl::noted_records() const {
  std::vector<Outgoing> records;
  records.reserve(noted.size());
  for (const auto& [stream, message] : noted)
    records.push_back({Kind::settled, &stream, 0, {}, ByteView(*message)});
  return records;
}

void Spool::Impl::settled_written(std::span<const Outgoing> records,
                                  std::span<const Location> locations) {
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto older = settled.find(*records[i].stream);
    if (older != settled.end()) --segments[older->second.segment].settled;
    settled[*records[i].stream] = locations[i];
    ++segments[locations[i].segment].settled;
  }
}

}  // namespace postern::spool
