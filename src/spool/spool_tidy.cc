// What can wait until nobody waits for the disk.

#include <algorithm>

#include "spool/spool_impl.h"

namespace postern::spool {
namespace {

constexpr std::uint64_t kTidyBytes = 1u << 20;  // written in one step
// Of a segment live: less is copied forward (S34).
constexpr std::uint64_t kSparsePercent = 20;
constexpr std::uint64_t kSparsePercentTight = 50;
constexpr std::uint64_t kFreeSegmentsMin = 4;  // free on the file system, for one in advance (S16)

}  // namespace

bool Spool::Impl::untidy() const {
  return !tidying_failed &&
         (!unindexed.empty() || !to_cut.empty() || !sparse.empty() || wants_prepared());
}

void Spool::Impl::tidy() {
  if (!untidy()) return;
  Result<> done;
  if (!unindexed.empty())
    done = write_next_index();
  else if (!to_cut.empty())
    done = cut_again(*to_cut.begin());
  else if (!sparse.empty())
    done = copy_forward();
  else
    prepare();
  if (done) return;
  tidying_failed = true;
  log.debug("{}: tried again later", done.error().message);
}

Result<> Spool::Impl::write_next_index() {
  const std::uint64_t number = unindexed.begin()->first;
  auto written = write_index(number);
  if (written) unindexed.erase(number);
  return written;
}

/// Behind this a start need not read the segment. Its name is not synced: without it, it is read.
Result<> Spool::Impl::write_index(std::uint64_t number) {
  Segment& segment = segments[number];
  const auto path = path_of(number, kIndexSuffix);
  if (segment.indexed) remove_index(number, segment);  // an attempt that failed
  auto file = disk.open(path, Disk::Open::create_new);
  if (!file) return fail(file.error(), "spool: writing an index");
  segment.indexed = true;
  auto written = (*file)->write_at(0, encode(unindexed.at(number)));
  if (written) written = (*file)->sync();
  if (written) return {};
  file->reset();
  remove_index(number, segment);
  return fail(written.error(), "spool: writing an index");
}

void Spool::Impl::remove_index(std::uint64_t number, Segment& segment) {
  if (auto removed = disk.remove(path_of(number, kIndexSuffix)); !removed)
    log.warning("spool: {}: tried again later", removed.error().message);
  else
    segment.indexed = false;
}

// ---- Copying forward

Location Spool::Impl::place_now(const Location& location) const {
  const auto at = moved.find({location.segment, location.offset});
  return at == moved.end() ? location : at->second;
}

void Spool::Impl::look_if_sparse(std::uint64_t number) {
  const Segment& segment = segments.at(number);
  const bool few =
      segment.live_bytes * 100 < segment.end * (tight ? kSparsePercentTight : kSparsePercent);
  if (few && segment.live > 0 && number != active && !segment.damaged) sparse.insert(number);
}

/// One step. The copies are on stable storage before anything of the old segment goes; should the
/// power fail in between, a batch is there twice, and its owner releases one.
Result<> Spool::Impl::copy_forward() {
  const std::uint64_t number = *sparse.begin();
  Segment& segment = segments.at(number);
  if (segment.live == 0 || segment.damaged) {
    sparse.erase(number);
    return {};
  }
  std::vector<Segment::Slot> slots;
  std::uint64_t bytes = 0;
  for (const Segment::Slot& slot : segment.slots) {
    if (!slot.live()) continue;
    if (bytes > 0 && bytes + slot.bytes > kTidyBytes) break;
    bytes += slot.bytes;
    slots.push_back(slot);
  }
  // A failed write would end the segment being written.
  const std::uint64_t wanted = bytes + slots.size() * kRecordHeaderBytes + kSegmentHeaderBytes;
  const std::uint64_t limit = options.bytes_max + options.segment_bytes / 2;
  auto free = disk.free_bytes(folder);
  if (!free) return std::unexpected(free.error());
  if (*free < wanted || used_bytes() + wanted > limit)
    return fail(Errc::exhausted, "spool: no room to copy {} bytes out of {}", bytes,
                path_of(number).string());
  if (auto copied = copy_records(number, slots); !copied)
    return fail(copied.error(), "spool: copying forward " + path_of(number).string());
  if (segments.at(number).live > 0) return {};
  sparse.erase(number);
  space_to_reclaim = true;
  reclaim();
  return {};
}

Result<> Spool::Impl::copy_records(std::uint64_t number, std::span<const Segment::Slot> slots) {
  auto file = disk.open(path_of(number), Disk::Open::read);
  if (!file) return std::unexpected(file.error());
  std::vector<Bytes> bytes;
  std::vector<RecordHeader> headers;
  for (const Segment::Slot& slot : slots) {
    Bytes record(kRecordHeaderBytes + slot.bytes);
    auto got = (*file)->read_at(slot.offset, record);
    if (!got) return std::unexpected(got.error());
    record.resize(*got);
    auto header = decode_record(record, {number, slot.offset});
    if (!header) {  // nothing of it moves: what is bad is found again by whoever wants it
      found_damage(number, {number, slot.offset, slot.bytes});
      sparse.erase(number);
      return {};
    }
    headers.push_back(*header);
    bytes.push_back(std::move(record));
  }
  std::vector<Outgoing> records;
  for (std::size_t i = 0; i < headers.size(); ++i)
    records.push_back({Kind::batch, &headers[i].stream, headers[i].sequence, headers[i].hash,
                       ByteView(bytes[i]).subspan(kRecordHeaderBytes)});
  auto locations = write(records);
  if (!locations) return std::unexpected(locations.error());

  Segment& segment = segments.at(number);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Location& copy = (*locations)[i];
    Segment::Slot& slot = *segment.slot_at(slots[i].offset);
    counted.live_bytes -= kRecordHeaderBytes + slot.bytes;
    --counted.entries;
    segment.give_up(slot);
    add_slot(segments.at(copy.segment), copy);
    Place first{number, slots[i].offset};
    if (const auto from = moved_from.find(first); from != moved_from.end()) {
      first = from->second;
      moved_from.erase(from);
    }
    moved[first] = copy;
    moved_from[{copy.segment, copy.offset}] = first;
  }
  return {};
}

// ---- The next segment, in advance

bool Spool::Impl::wants_prepared() const {
  if (!options.preallocate) return false;
  if (prepared.file) return prepared.bytes < options.segment_bytes;
  const auto at = segments.find(active);
  return at != segments.end() && prepared.given_up != active &&
         at->second.end > options.segment_bytes / 2 &&
         disk_bytes() + options.segment_bytes <= options.bytes_max / 2;
}

/// Failing costs nothing but that the next segment grows as it is written.
void Spool::Impl::prepare() {
  if (auto done = prepare_some(); !done) {
    log.info("{}: the next segment is not written in advance", done.error().message);
    drop_prepared();
    prepared.given_up = active;
  }
}

Result<> Spool::Impl::prepare_some() {
  if (!prepared.file) {
    auto free = disk.free_bytes(folder);
    if (!free) return std::unexpected(free.error());
    if (*free < kFreeSegmentsMin * options.segment_bytes)
      return fail(Errc::exhausted, "spool: {} bytes are free in {}", *free, folder.string());
    prepared.number = next_number++;
    auto file = disk.open(path_of(prepared.number), Disk::Open::create_new);
    if (!file) return std::unexpected(file.error());
    prepared.file = std::move(*file);
    if (auto synced = disk.sync_directory(folder); !synced) return synced;
  }
  const Bytes zeros(static_cast<std::size_t>(
      std::min<std::uint64_t>(kTidyBytes, options.segment_bytes - prepared.bytes)));
  if (auto written = prepared.file->write_at(prepared.bytes, zeros); !written) return written;
  if (auto synced = prepared.file->sync(); !synced) return synced;
  prepared.bytes += zeros.size();
  return {};
}

void Spool::Impl::drop_prepared() {
  if (!prepared.file) return;
  const std::uint64_t number = prepared.number;
  const std::uint64_t bytes = prepared.bytes;
  prepared = {};
  auto removed = disk.remove(path_of(number));
  if (removed) return;
  log.warning("spool: {}: tried again later", removed.error().message);
  Segment& segment = segments[number];  // one that ends before it begins
  segment.file_bytes = bytes;
  segment.tail_left = true;
  space_to_reclaim = true;
}

}  // namespace postern::spool
