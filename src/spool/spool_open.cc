#include <algorithm>
#include <charconv>

#include "spool/spool_impl.h"

namespace postern::spool {
namespace {

/// The segment number in a file name with this suffix; nothing for other names (S3).
std::optional<std::uint64_t> number_of(std::string_view name, std::string_view suffix) {
  if (name.size() != 16 + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(name.data(), name.data() + 16, number, 16);
  if (error != std::errc() || rest != name.data() + 16 || number == 0 ||
      name_of(number, suffix) != name)
    return std::nullopt;
  return number;
}

}  // namespace

Result<> Spool::Impl::make_folder() {
  if (auto made = disk.make_directories(folder); !made) return made;
  // Also when it was there: who made it may have died before this.
  const auto parent = folder.parent_path();
  return disk.sync_directory(parent.empty() ? "." : parent);
}

Result<> Spool::Impl::load(Opened& opened) {
  if (auto made = make_folder(); !made) return made;
  auto names = disk.list(folder);
  if (!names) return std::unexpected(names.error());
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : *names) {
    const auto segment = number_of(name, kSegmentSuffix);
    const auto quarantined = number_of(name, kQuarantineSuffix);
    if (segment) numbers.push_back(*segment);
    if (quarantined) ++counted.quarantined;
    next_number = std::max({next_number, segment.value_or(0) + 1, quarantined.value_or(0) + 1});
  }

  std::uint64_t newest = 0;  // S21
  std::map<std::uint64_t, std::uint64_t> ends;
  for (const std::uint64_t number : numbers) {
    auto file = disk.open(path_of(number), Disk::Open::read);
    if (!file) return std::unexpected(file.error());
    Bytes bytes(kSegmentHeaderBytes);
    auto got = (*file)->read_at(0, bytes);
    if (!got) return std::unexpected(got.error());
    bytes.resize(*got);
    auto header = decode_segment_header(bytes, number);
    if (!header && header.error().code == Errc::invalid) return std::unexpected(header.error());
    if (!header) continue;
    newest = number;
    for (const SegmentEnd& end : header->ends) ends[end.segment] = end.offset;
  }

  for (const std::uint64_t number : numbers) {
    std::optional<std::uint64_t> told_end;
    if (const auto told = ends.find(number); told != ends.end())
      told_end = told->second;
    else if (number < newest)
      told_end = UINT64_MAX;  // it was closed in order: all of the file counts
    if (auto loaded = load_segment(number, told_end, opened); !loaded) return loaded;
  }
  // The names too must be durable before anybody is told what they hold (S26).
  if (!numbers.empty())
    if (auto synced = disk.sync_directory(folder); !synced) return synced;

  for (const auto& [stream, location] : settled) {
    auto message = read(location);
    if (!message) return std::unexpected(message.error());
    opened.settled[stream] = std::make_shared<const Bytes>(std::move(*message));
  }
  space_to_reclaim = true;
  return {};
}

Result<> Spool::Impl::load_segment(std::uint64_t number, std::optional<std::uint64_t> told_end,
                                   Opened& opened) {
  auto file = disk.open(path_of(number), Disk::Open::read);
  if (!file) return std::unexpected(file.error());
  auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  if (told_end == UINT64_MAX) told_end = *size;
  auto scan = scan_segment(**file, number, told_end);
  if (!scan) return std::unexpected(scan.error());

  Segment& segment = segments[number];
  segment.end = scan->end;
  segment.file_bytes = *size;
  for (const Scan::Found& found : scan->records) {
    const RecordHeader& header = found.header;
    const Location location{number, found.offset, header.length};
    if (header.kind == Kind::batch) {
      add_slot(segment, location);
      opened.entries.push_back({header.stream, header.sequence, header.hash, location});
      continue;
    }
    if (const auto older = settled.find(header.stream); older != settled.end())
      --segments[older->second.segment].settled;
    settled[header.stream] = location;
    ++segment.settled;
  }
  if (scan->damaged_bytes > 0) {
    segment.damaged = true;
    ++counted.quarantined;
    log.warning(
        "spool: {} has {} unreadable bytes from offset {} on: the batches in them are lost from "
        "this "
        "spool and will be asked for again; {} others of the file are served, and it will be kept "
        "as "
        "{}",
        path_of(number).string(), scan->damaged_bytes, scan->damaged_from, segment.slots.size(),
        name_of(number, kQuarantineSuffix));
  }
  return close_end(number, *scan, *size, told_end.has_value());
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

/// Cuts what lies behind the end, and makes durable what lies before it where nobody vouches for
/// it.
Result<> Spool::Impl::close_end(std::uint64_t number, const Scan& scan, std::uint64_t size,
                                bool told) {
  Segment& segment = segments[number];
  if (told && scan.end >= size) return {};
  auto file = disk.open(path_of(number), Disk::Open::write_existing);
  if (!file) return std::unexpected(file.error());
  if (scan.end < size) {
    if (!told)
      log.info("spool: {} ends at offset {}: the {} bytes behind it were never acknowledged",
               path_of(number).string(), scan.end, size - scan.end);
    segment.tail_left = segment.damaged || !cut(**file, scan.end);
    if (!segment.tail_left) segment.file_bytes = scan.end;
  }
  if (told) return {};
  return write_again(**file, scan.proved, scan.end);
}

}  // namespace postern::spool
