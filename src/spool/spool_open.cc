#include <algorithm>
#include <charconv>

#include "spool/spool_impl.h"

namespace postern::spool {

std::optional<std::uint64_t> number_of(std::string_view name, std::string_view suffix) {
  if (name.size() != 16 + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  std::uint64_t number = 0;
  const std::string_view digits = name.substr(0, 16);
  const char* const end = digits.data() + digits.size();
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): the end is given
  const auto [rest, error] = std::from_chars(digits.data(), end, number, 16);
  if (error != std::errc() || rest != end || number == 0 || name_of(number, suffix) != name)
    return std::nullopt;
  return number;
}

Names sort_names(const std::vector<std::string>& names) {
  Names sorted;
  for (const std::string& name : names) {
    const auto segment = number_of(name, kSegmentSuffix);
    const auto index = number_of(name, kIndexSuffix);
    const auto quarantined = number_of(name, kQuarantineSuffix);
    if (segment) sorted.segments.push_back(*segment);
    if (index) sorted.indexes.push_back(*index);
    if (quarantined) sorted.quarantined.push_back(*quarantined);
    sorted.highest =
        std::max({sorted.highest, segment.value_or(0), index.value_or(0), quarantined.value_or(0)});
  }
  return sorted;
}

std::optional<std::uint64_t> Headers::end_of(std::uint64_t number, std::uint64_t size) const {
  if (const auto told = ends.find(number); told != ends.end()) return told->second;
  if (number < newest()) return size;  // it was closed in order: all of the file counts
  return std::nullopt;
}

Result<> read_header(const File& file, std::uint64_t number, Headers& headers) {
  Bytes bytes(kSegmentHeaderBytes);
  auto got = file.read_at(0, bytes);
  if (!got) return std::unexpected(got.error());
  bytes.resize(*got);
  auto header = decode_segment_header(bytes, number);
  if (!header && header.error().code == Errc::invalid) return std::unexpected(header.error());
  if (!header) return {};
  headers.readable[number] = {checksum_of_header(bytes)};
  for (const SegmentEnd& end : header->ends) headers.ends[end.segment] = end.offset;
  return {};
}

std::optional<SegmentIndex> read_index(Disk& disk, const std::filesystem::path& path,
                                       std::uint64_t number, std::uint64_t segment_size,
                                       const Headers& headers) {
  const auto own = headers.readable.find(number);
  if (own == headers.readable.end()) return std::nullopt;
  // More than the index of nothing but empty records.
  auto bytes = disk.read_file(path, 2 * segment_size + kSegmentHeaderBytes);
  if (!bytes) return std::nullopt;
  auto index = decode_index(*bytes, number);
  if (!index || index->header_checksum != own->second.checksum || index->end > segment_size)
    return std::nullopt;
  const auto told = headers.ends.find(number);
  if (told != headers.ends.end() && told->second != index->end) return std::nullopt;
  return std::move(*index);
}

namespace {

/// Whether there is more than the zeros of a pre-written segment; looks at the first only.
bool something_behind(const File& file, std::uint64_t end) {
  Bytes bytes(4096);
  const auto got = file.read_at(end, bytes);
  const auto size = static_cast<std::ptrdiff_t>(got.value_or(0));
  return std::any_of(bytes.begin(), bytes.begin() + size,
                     [](std::byte b) { return b != std::byte{}; });
}

}  // namespace

Result<> Spool::Impl::make_folder() {
  if (auto made = disk.make_directories(folder); !made) return made;
  // Also when it was there: who made it may have died before this.
  const auto parent = folder.parent_path();
  return disk.sync_directory(parent.empty() ? "." : parent);
}

Result<> Spool::Impl::load(Opened& opened, const OnEntry& on_entry) {
  if (auto made = make_folder(); !made) return made;
  auto listed = disk.list(folder);
  if (!listed) return std::unexpected(listed.error());
  const Names names = sort_names(*listed);
  counted.quarantined += names.quarantined.size();
  next_number = names.highest + 1;

  for (const std::uint64_t number : names.segments) segments[number] = {};
  for (const std::uint64_t number : names.indexes) {
    const auto segment = segments.find(number);
    if (segment != segments.end())
      segment->second.indexed = true;
    else if (auto removed = disk.remove(path_of(number, kIndexSuffix)); !removed)
      log.warning("spool: {}", removed.error().message);
  }
  // The names too must be durable before anybody is told what they hold (S26), and what is gone
  // must stay gone, so that no new segment meets the index of an old one.
  if (auto synced = disk.sync_directory(folder); !synced) return synced;

  Headers headers;
  for (const std::uint64_t number : names.segments) {
    auto file = disk.open(path_of(number), Disk::Open::read);
    if (!file) return std::unexpected(file.error());
    if (auto read = read_header(**file, number, headers); !read) return read;
  }
  for (const std::uint64_t number : names.segments)
    if (auto loaded = load_segment(number, headers, on_entry); !loaded) return loaded;

  auto settled_messages = load_settled();
  if (!settled_messages) return std::unexpected(settled_messages.error());
  opened.settled = std::move(*settled_messages);
  for (const auto& [number, segment] : segments) look_if_sparse(number);
  space_to_reclaim = true;
  return {};
}

Result<> Spool::Impl::load_segment(std::uint64_t number, const Headers& headers,
                                   const OnEntry& on_entry) {
  auto file = disk.open(path_of(number), Disk::Open::read);
  if (!file) return std::unexpected(file.error());
  auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  Segment& segment = segments[number];
  segment.file_bytes = *size;
  if (segment.indexed) {
    const auto index = read_index(disk, path_of(number, kIndexSuffix), number, *size, headers);
    if (index) {
      segment.end = index->end;
      load_records(*index, on_entry);
      return close_end(number, *size, segment.end, true);
    }
    log.info("spool: {} does not count: its segment is read",
             path_of(number, kIndexSuffix).string());
    remove_index(number, segment);
  }

  const auto told_end = headers.end_of(number, *size);
  auto scan = scan_segment(**file, number, told_end);
  if (!scan) return std::unexpected(scan.error());
  SegmentIndex index;
  index.number = number;
  if (const auto own = headers.readable.find(number); own != headers.readable.end())
    index.header_checksum = own->second.checksum;
  for (const Scan::Found& found : scan->records)
    index.add(found.header, found.offset, found.summary);
  index.end = segment.end = scan->end;
  load_records(index, on_entry);
  if (!scan->damage.empty()) {
    segment.damaged = true;
    ++counted.quarantined;
    log.warning(
        "spool: {} has {} unreadable bytes from offset {} on: the batches in them are lost from "
        "this spool and will be asked for again; {} others of the file are served, and it will be "
        "kept as {}",
        path_of(number).string(), scan->damaged_bytes(), scan->damage.front().from,
        segment.slots.size(), name_of(number, kQuarantineSuffix));
  }
  if (auto closed = close_end(number, *size, scan->proved, told_end.has_value()); !closed)
    return closed;
  if (segment.live == 0 || segment.damaged || segment.indexed) return {};
  // At once, so that not the indexes of all segments wait in memory. Failing costs time only.
  unindexed[number] = std::move(index);
  if (auto written = write_index(number); !written)
    log.info("{}: the next start reads the segment again", written.error().message);
  unindexed.erase(number);
  return {};
}

void Spool::Impl::load_records(const SegmentIndex& index, const OnEntry& on_entry) {
  Segment& segment = segments[index.number];
  for (const SegmentIndex::Record& record : index.records) {
    const Location location{index.number, record.offset, record.length};
    const wire::StreamKey& stream = index.streams[record.stream];
    if (record.kind == Kind::settled) {
      settled_candidates[stream].push_back(location);
      continue;
    }
    add_slot(segment, location);
    on_entry({stream, record.sequence, record.hash, location, record.summary});
  }
  segment.slots.shrink_to_fit();
}

/// Of each stream the newest that can be read (S27, S41).
Result<std::map<wire::StreamKey, SharedBytes>> Spool::Impl::load_settled() {
  std::map<wire::StreamKey, SharedBytes> messages;
  for (auto& [stream, candidates] : std::exchange(settled_candidates, {})) {
    for (auto location = candidates.rbegin(); location != candidates.rend(); ++location) {
      auto message = read(*location);
      if (!message && message.error().code == Errc::corrupt) continue;
      if (!message) return std::unexpected(message.error());
      settled[stream] = *location;
      ++segments[location->segment].settled;
      messages[stream] = std::make_shared<const Bytes>(std::move(*message));
      break;
    }
  }
  return messages;
}

/// After a failed sync the kernel may hold bytes as clean that never reached the disk, and the next
/// sync would lie about them. Written again, they are dirty again.
Result<> Spool::Impl::write_again(File& file, std::uint64_t from, std::uint64_t to) {
  Bytes bytes;
  for (; from < to; from += bytes.size()) {
    bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(to - from, kGatherBytes)));
    auto got = file.read_at(from, bytes);
    if (!got) return std::unexpected(got.error());
    if (*got != bytes.size()) return fail(Errc::unavailable, "a segment shrank while it was read");
    if (auto written = file.write_at(from, bytes); !written) return written;
  }
  return file.sync();
}

/// Cuts what lies behind the end, and makes durable what lies before it from `proved` on, where
/// nobody vouches for it (S26).
Result<> Spool::Impl::close_end(std::uint64_t number, std::uint64_t size, std::uint64_t proved,
                                bool told) {
  Segment& segment = segments[number];
  if (told && segment.end >= size) return {};
  auto file = disk.open(path_of(number), Disk::Open::write_existing);
  if (!file) return std::unexpected(file.error());
  if (segment.end < size) {
    if (!told && something_behind(**file, segment.end))
      log.info("spool: {} ends at offset {}: the {} bytes behind it were never acknowledged",
               path_of(number).string(), segment.end, size - segment.end);
    segment.tail_left = segment.damaged || !cut(**file, segment.end);
    if (!segment.tail_left) segment.file_bytes = segment.end;
  }
  if (told) return {};
  return write_again(**file, proved, segment.end);
}

}  // namespace postern::spool
