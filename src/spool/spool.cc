#include "spool/spool.h"

#include <array>

#include "base/invariant.h"
#include "spool/spool_impl.h"

namespace postern::spool {

Spool::Spool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Spool::~Spool() {
  if (!impl_->noted.empty()) {
    if (auto written = impl_->write(impl_->noted_records()); !written)
      impl_->log.warning("{}: the newest settled are not kept", written.error().message);
  }
  if (impl_->active != 0) impl_->leave_active();
  impl_->drop_prepared();
  // So that the next start is quick; what else there is to do can wait for it.
  impl_->tidying_failed = false;
  while (!impl_->tidying_failed && (!impl_->unindexed.empty() || !impl_->to_cut.empty()))
    impl_->tidy();
}

Result<Spool::Opened> Spool::open(Disk& disk, const Log& log, std::filesystem::path folder,
                                  Options options) {
  std::vector<Entry> entries;
  auto opened = open(disk, log, std::move(folder), options,
                     [&](Entry entry) { entries.push_back(std::move(entry)); });
  if (opened) opened->entries = std::move(entries);
  return opened;
}

Result<Spool::Opened> Spool::open(Disk& disk, const Log& log, std::filesystem::path folder,
                                  Options options, const std::function<void(Entry)>& on_entry) {
  invariant(options.segment_bytes <= kSegmentBytesMax, "a segment has at most 1 GiB");
  auto impl = std::make_unique<Impl>(disk, log, std::move(folder), options);
  Opened opened;
  if (auto loaded = impl->load(opened, on_entry); !loaded)
    return fail(loaded.error(), "opening the spool " + impl->folder.string());
  impl->reclaim();
  opened.spool.reset(new Spool(std::move(impl)));
  return opened;
}

Result<std::vector<Location>> Spool::append(std::span<const Append> batches) {
  if (batches.empty()) return std::vector<Location>();
  impl_->tidying_failed = false;
  if (impl_->space_to_reclaim) impl_->reclaim();
  using Reserve = Impl::Reserve;
  std::uint64_t wanted = 0;
  std::array<std::uint64_t, 4> wanted_up_to{};  // the last that may use this reserve and no other
  for (const Append& batch : batches) {
    invariant(batch.message != nullptr && batch.sequence != 0, "a batch has bytes and a number");
    if (batch.message->size() > kContentBytesMax)
      return fail(Errc::invalid, "spool: batch {} of {} has {} bytes, at most {} are kept",
                  batch.sequence, batch.stream.text(), batch.message->size(), kContentBytesMax);
    wanted += kRecordHeaderBytes + batch.message->size();
    const Reserve reserve = Impl::reserve_of(batch.stream.lane, batch.makes_room);
    wanted_up_to[static_cast<std::size_t>(reserve)] = wanted;
  }
  if (wanted > kSegmentBytesMax)
    return fail(Errc::invalid, "spool: {} batches of {} bytes at once, at most {} bytes are taken",
                batches.size(), wanted, kSegmentBytesMax);
  for (const Reserve reserve : {Reserve::none, Reserve::event, Reserve::state, Reserve::records}) {
    const std::uint64_t bytes = wanted_up_to[static_cast<std::size_t>(reserve)];
    if (bytes == 0) continue;
    if (auto admitted = impl_->admit(reserve, bytes); !admitted)
      return std::unexpected(admitted.error());
  }

  std::vector<Outgoing> records = impl_->noted_records();
  const std::size_t settled = records.size();
  for (const Append& batch : batches)
    records.push_back(
        {Kind::batch, &batch.stream, batch.sequence, batch.hash, ByteView(*batch.message)});
  auto locations = impl_->write(records);
  if (!locations) return locations;

  impl_->settled_written(std::span(records).first(settled), std::span(*locations).first(settled));
  impl_->noted.clear();
  locations->erase(locations->begin(), locations->begin() + static_cast<std::ptrdiff_t>(settled));
  for (const Location& location : *locations)
    impl_->add_slot(impl_->segments[location.segment], location);
  return locations;
}

Result<> Spool::admit(wire::Lane lane, std::uint64_t message_bytes, std::size_t messages,
                      bool makes_room) {
  const Impl::Reserve reserve = Impl::reserve_of(lane, makes_room);
  return impl_->admit(reserve, message_bytes + messages * kRecordHeaderBytes);
}

Result<Bytes> Spool::read(const Location& location) { return impl_->read(location); }

void Spool::release(std::span<const Location> locations) {
  impl_->tidying_failed = false;
  for (const Location& location : locations)
    if (impl_->release(location)) impl_->space_to_reclaim = true;
  impl_->reclaim();
}

void Spool::note_settled(const wire::StreamKey& stream, SharedBytes settled_message) {
  invariant(settled_message != nullptr && settled_message->size() <= kContentBytesMax,
            "a settled message has bytes, and fewer than a batch");
  impl_->noted[stream] = std::move(settled_message);
}

bool Spool::untidy() const { return impl_->untidy(); }
void Spool::tidy() { impl_->tidy(); }

Usage Spool::usage() const {
  Usage usage = impl_->counted;
  usage.bytes = impl_->disk_bytes();
  usage.bytes_max = impl_->options.bytes_max;
  return usage;
}

Result<Bytes> Spool::Impl::read(const Location& given) {
  const Location location = place_now(given);
  if (!segments.contains(location.segment))
    return fail(Errc::invalid, "spool: segment {:016x} is not there any more", location.segment);
  const File* file = active_file.get();
  if (location.segment != active) {
    if (last_read.segment != location.segment || !last_read.file) {
      auto opened = disk.open(path_of(location.segment), Disk::Open::read);
      if (!opened) return std::unexpected(opened.error());
      last_read.file = std::move(*opened);
      last_read.segment = location.segment;
    }
    file = last_read.file.get();
  }
  Bytes record(kRecordHeaderBytes + location.bytes);
  auto got = file->read_at(location.offset, record);
  if (!got) return std::unexpected(got.error());
  record.resize(*got);
  auto header = decode_record(record, {location.segment, location.offset});
  if (!header) {
    found_damage(location.segment, location);
    return fail(header.error(), "spool: reading " + path_of(location.segment).string());
  }
  record.erase(record.begin(), record.begin() + kRecordHeaderBytes);
  return record;
}

/// As open() does with what it finds (S23), but for the cut: there is nothing to be cut any more.
void Spool::Impl::found_damage(std::uint64_t number, const Location& location) {
  Segment& segment = segments[number];
  if (segment.damaged) return;
  if (number == active) leave_active();
  if (to_cut.contains(number)) (void)cut_again(number);  // nothing is written to it from here on
  segment.damaged = true;
  ++counted.quarantined;
  unindexed.erase(number);
  if (segment.indexed) {
    remove_index(number, segment);
    if (auto synced = disk.sync_directory(folder); !synced)
      log.warning("spool: {}", synced.error().message);
  }
  log.warning(
      "spool: {}: the record of {} bytes at offset {} cannot be read: its batch is lost from this "
      "spool and will be asked for again; the file will be kept as {}",
      path_of(number).string(), location.bytes, location.offset,
      name_of(number, kQuarantineSuffix));
}

}  // namespace postern::spool
