// What can wait until nobody waits for the disk.

#include "spool/spool_impl.h"

namespace postern::spool {

bool Spool::Impl::untidy() const { return !tidying_failed && !unindexed.empty(); }

void Spool::Impl::tidy() {
  if (!untidy()) return;
  const std::uint64_t number = unindexed.begin()->first;
  auto written = write_index(number);
  if (written) {
    unindexed.erase(number);
    return;
  }
  tidying_failed = true;
  log.info("{}: tried again later", written.error().message);
}

/// Behind this a start need not read the segment. Its name is not synced: without it, it is read.
Result<> Spool::Impl::write_index(std::uint64_t number) {
  Segment& segment = segments[number];
  if (segment.zeros_left) cut_again(number, segment);
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

}  // namespace postern::spool
