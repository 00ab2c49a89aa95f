// What can wait until nobody waits for the disk.

#include <algorithm>

#include "spool/spool_impl.h"

namespace postern::spool {
namespace {

constexpr std::uint64_t kTidyBytes = 1u << 20;  // written in one step
constexpr std::uint64_t kFreeSegmentsMin = 4;   // free on the file system, for one in advance (S16)

}  // namespace

bool Spool::Impl::untidy() const {
  return !tidying_failed && (!unindexed.empty() || !to_cut.empty() || wants_prepared());
}

void Spool::Impl::tidy() {
  if (!untidy()) return;
  Result<> done;
  if (!unindexed.empty())
    done = write_next_index();
  else if (!to_cut.empty())
    done = cut_again(*to_cut.begin());
  else
    prepare();
  if (done) return;
  tidying_failed = true;
  log.info("{}: tried again later", done.error().message);
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
