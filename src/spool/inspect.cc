#include "spool/inspect.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "spool/index.h"
#include "spool/spool_impl.h"
#include "wire/coverage.h"

namespace postern::spool {

struct Inspection::Seen {
  std::uint64_t number = 0;
  const File& file;
  std::uint64_t size = 0;
  std::optional<std::uint64_t> told_end;
  bool has_index = false;             // a file, whatever is in it
  std::uint64_t index_bytes = 0;      // of that file
  std::optional<SegmentIndex> index;  // one that counts
  std::string name() const { return name_of(number, kSegmentSuffix); }
  std::string index_name() const { return name_of(number, kIndexSuffix); }
};

namespace {

/// What the segment holds, as its index says or as it is read.
Result<SegmentIndex> contents_of(const File& file, std::uint64_t number,
                                 const std::optional<SegmentIndex>& index,
                                 std::optional<std::uint64_t> told_end) {
  if (index) return *index;
  auto scan = scan_segment(file, number, told_end);
  if (!scan) return std::unexpected(scan.error());
  SegmentIndex contents;
  contents.number = number;
  contents.end = scan->end;
  for (const Scan::Found& found : scan->records)
    contents.add(found.header, found.offset, found.summary);
  return contents;
}

/// The record, header and content, or nothing when it is not readable.
Result<std::optional<Bytes>> read_record(const File& file, std::uint64_t number,
                                         const SegmentIndex::Record& record) {
  Bytes bytes(kRecordHeaderBytes + record.length);
  auto got = file.read_at(record.offset, bytes);
  if (!got) return std::unexpected(got.error());
  bytes.resize(*got);
  if (!decode_record(bytes, {number, record.offset})) return std::optional<Bytes>();
  return std::optional(std::move(bytes));
}

std::vector<Inspection::Range> ranges_of(std::vector<std::uint64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  std::vector<Inspection::Range> ranges;
  for (const std::uint64_t number : numbers) {
    if (!ranges.empty() && number <= ranges.back().last + 1)
      ranges.back().last = number;
    else
      ranges.push_back({number, number});
  }
  return ranges;
}

std::string batch_text(const SegmentIndex& index, const SegmentIndex::Record& record) {
  const std::string stream = index.streams[record.stream].text();
  if (record.kind == Kind::settled) return "the settled record of " + stream;
  return fmt::format("batch {} of {}", record.sequence, stream);
}

}  // namespace

Result<Inspection> Inspection::of(Disk& disk, std::filesystem::path folder) {
  auto there = disk.exists(folder);
  if (!there) return std::unexpected(there.error());
  if (!*there) return fail(Errc::unavailable, "there is no spool in {}", folder.string());
  return Inspection(disk, std::move(folder));
}

Result<std::vector<std::string>> Inspection::walk(
    const std::function<Result<>(const Seen& segment)>& on_segment) const {
  auto listed = disk_->list(folder_);
  if (!listed) return std::unexpected(listed.error());
  const Names names = sort_names(*listed);
  const auto gone = [&](std::uint64_t number) {
    auto there = disk_->exists(folder_ / name_of(number, kSegmentSuffix));
    return there && !*there;
  };
  Headers headers;
  for (const std::uint64_t number : names.segments) {
    auto file = disk_->open(folder_ / name_of(number, kSegmentSuffix), Disk::Open::read);
    if (!file && gone(number)) continue;
    if (!file) return std::unexpected(file.error());
    if (auto read = read_header(**file, number, headers); !read)
      return std::unexpected(read.error());
  }
  for (const std::uint64_t number : names.segments) {
    auto file = disk_->open(folder_ / name_of(number, kSegmentSuffix), Disk::Open::read);
    if (!file && gone(number)) continue;
    if (!file) return std::unexpected(file.error());
    auto size = (*file)->size();
    if (!size) return std::unexpected(size.error());
    Seen seen{number, **file, *size, headers.end_of(number, *size), false, 0, std::nullopt};
    const auto index_path = folder_ / name_of(number, kIndexSuffix);
    if (auto index = disk_->open(index_path, Disk::Open::read)) {
      seen.has_index = true;
      seen.index_bytes = (*index)->size().value_or(0);
      seen.index = read_index(*disk_, index_path, number, *size, headers);
      if (seen.index) seen.told_end = seen.index->end;
    }
    if (auto done = on_segment(seen); !done) return std::unexpected(done.error());
  }
  std::vector<std::string> quarantined;
  for (const std::uint64_t number : names.quarantined)
    quarantined.push_back(name_of(number, kQuarantineSuffix));
  return quarantined;
}

Result<Inspection::Listing> Inspection::list() const {
  Listing listing;
  std::map<wire::StreamKey, std::vector<std::uint64_t>> numbers;
  auto quarantined = walk([&](const Seen& segment) -> Result<> {
    auto contents = contents_of(segment.file, segment.number, segment.index, segment.told_end);
    if (!contents) return std::unexpected(contents.error());
    ++listing.segments;
    if (segment.has_index) ++listing.indexed;
    listing.bytes += segment.size + segment.index_bytes;
    for (const SegmentIndex::Record& record : contents->records) {
      const wire::StreamKey& key = contents->streams[record.stream];
      Stream& stream = listing.streams[key];
      if (record.kind == Kind::batch) {
        ++stream.batches;
        stream.bytes += kRecordHeaderBytes + record.length;
        numbers[key].push_back(record.sequence);
        continue;
      }
      auto bytes = read_record(segment.file, segment.number, record);
      if (!bytes) return std::unexpected(bytes.error());
      if (!*bytes) continue;
      auto settled = wire::read_settled(ByteView(**bytes).subspan(kRecordHeaderBytes));
      if (settled && !settled->settled.coverage.intervals.empty())
        stream.settled = settled->settled.coverage.intervals.back().last;
    }
    return {};
  });
  if (!quarantined) return std::unexpected(quarantined.error());
  listing.quarantined = quarantined->size();
  for (auto& [key, held] : numbers) listing.streams[key].ranges = ranges_of(std::move(held));
  return listing;
}

Result<Inspection::Verified> Inspection::verify() const {
  Verified verified;
  auto quarantined = walk([&](const Seen& segment) -> Result<> {
    auto scan = scan_segment(segment.file, segment.number, segment.told_end);
    if (!scan) return std::unexpected(scan.error());
    ++verified.segments;
    verified.records += scan->records.size();
    verified.bytes += segment.size + segment.index_bytes;
    for (const Scan::Damage& range : scan->damage)
      verified.damage.push_back(
          {segment.name(), range.from, range.to - range.from, "cannot be read"});
    if (segment.has_index && !segment.index)
      verified.damage.push_back({segment.index_name(), 0, segment.index_bytes,
                                 "is no index of its segment; the next start reads the segment"});
    if (!segment.index) return {};

    // Both ascend. Of the settled records an index names the newest only.
    auto found = scan->records.begin();
    const auto missing = [&](const Scan::Found& record) {
      if (record.header.kind == Kind::batch)
        verified.damage.push_back(
            {segment.index_name(), 0, segment.index_bytes,
             fmt::format("does not name batch {} of {}, at offset {}", record.header.sequence,
                         record.header.stream.text(), record.offset)});
    };
    for (const SegmentIndex::Record& record : segment.index->records) {
      for (; found != scan->records.end() && found->offset < record.offset; ++found)
        missing(*found);
      const bool there = found != scan->records.end() && found->offset == record.offset;
      const bool same = there && found->header.sequence == record.sequence &&
                        found->header.hash == record.hash && found->header.kind == record.kind &&
                        found->header.stream == segment.index->streams[record.stream];
      if (there) ++found;
      if (!same)
        verified.damage.push_back({segment.name(), record.offset,
                                   kRecordHeaderBytes + record.length,
                                   "held " + batch_text(*segment.index, record)});
    }
    for (; found != scan->records.end(); ++found) missing(*found);
    return {};
  });
  if (!quarantined) return std::unexpected(quarantined.error());
  verified.quarantined = quarantined->size();
  std::sort(verified.damage.begin(), verified.damage.end(), [](const Damage& a, const Damage& b) {
    return std::tie(a.file, a.offset, a.what) < std::tie(b.file, b.offset, b.what);
  });
  return verified;
}

Result<Inspection::Exported> Inspection::export_to(const std::filesystem::path& to) const {
  auto out = disk_->open(to, Disk::Open::create_new);
  if (!out) return std::unexpected(out.error());
  Writer head;
  head.bytes(as_bytes(kExportMagic)).u8(kExportVersion).u8(0).u16(0);
  std::uint64_t written = head.size();
  if (auto put = (*out)->write_at(0, head.written()); !put) return std::unexpected(put.error());

  Exported exported;
  auto walked = walk([&](const Seen& segment) -> Result<> {
    auto contents = contents_of(segment.file, segment.number, segment.index, segment.told_end);
    if (!contents) return std::unexpected(contents.error());
    for (const SegmentIndex::Record& record : contents->records) {
      if (record.kind != Kind::batch) continue;
      auto bytes = read_record(segment.file, segment.number, record);
      if (!bytes) return std::unexpected(bytes.error());
      if (!*bytes) {
        exported.damage.push_back({segment.name(), record.offset,
                                   kRecordHeaderBytes + record.length,
                                   "held " + batch_text(*contents, record)});
        continue;
      }
      Writer framed;
      framed.u32(record.length).bytes(ByteView(**bytes).subspan(kRecordHeaderBytes));
      if (auto put = (*out)->write_at(written, framed.written()); !put) return put;
      written += framed.size();
      ++exported.batches;
      exported.bytes += record.length;
    }
    return {};
  });
  if (!walked) return std::unexpected(walked.error());
  if (auto synced = (*out)->sync(); !synced) return std::unexpected(synced.error());
  const auto parent = to.parent_path();
  if (auto synced = disk_->sync_directory(parent.empty() ? "." : parent); !synced)
    return std::unexpected(synced.error());
  return exported;
}

}  // namespace postern::spool
