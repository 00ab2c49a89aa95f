#include <algorithm>
#include <utility>

#include "base/quantity.h"
#include "spool/spool_impl.h"

namespace postern::spool {
namespace {

// In hundredths of bytes_max (S33).
constexpr std::uint64_t kEventReserve = 10;  // for the event lane, and what is left of it for state
constexpr std::uint64_t kStateReserve = 5;
/// For records that make room, past bytes_max: without them a full spool would stay full.
constexpr std::uint64_t kRecordsPastMaxBytes = 64u << 10;

}  // namespace

Spool::Impl::Reserve Spool::Impl::reserve_of(wire::Lane lane, bool makes_room) {
  if (makes_room) return Reserve::records;
  if (lane == wire::Lane::state) return Reserve::state;
  return lane == wire::Lane::event ? Reserve::event : Reserve::none;
}

Result<> Spool::Impl::admit(Reserve reserve, std::uint64_t bytes_wanted) {
  std::uint64_t limit = options.bytes_max;
  const std::uint64_t hundredth = options.bytes_max / 100;
  if (reserve == Reserve::none) limit -= hundredth * kEventReserve;
  if (reserve == Reserve::none || reserve == Reserve::event) limit -= hundredth * kStateReserve;
  if (reserve == Reserve::records) limit += kRecordsPastMaxBytes;
  const auto fits = [&] { return used_bytes() + kSegmentHeaderBytes + bytes_wanted <= limit; };
  tight = used_bytes() > options.bytes_max / 4 * 3;
  if (fits()) return {};
  for (const std::uint64_t number : std::set(to_cut)) (void)cut_again(number);
  leave_active_if_released(1);
  reclaim();
  if (fits()) return {};
  for (const auto& [number, segment] : segments) look_if_sparse(number);
  return fail(
      Errc::exhausted,
      "spool: {} in use and {} more do not fit: spool.bytes_max is {}{}; raise it, or see why "
      "nothing is settled",
      format_bytes(used_bytes()), format_bytes(bytes_wanted), format_bytes(options.bytes_max),
      reserve == Reserve::none    ? ", of which 15 % are kept for the event and state lanes"
      : reserve == Reserve::event ? ", of which 5 % are kept for the state lane"
                                  : "");
}

void Spool::Impl::add_slot(Segment& segment, const Location& location) {
  const std::uint64_t record_bytes = kRecordHeaderBytes + location.bytes;
  segment.slots.push_back({static_cast<std::uint32_t>(location.offset), location.bytes});
  ++segment.live;
  segment.live_bytes += record_bytes;
  segment.batch_bytes += record_bytes;
  ++counted.entries;
  counted.live_bytes += record_bytes;
}

bool Spool::Impl::release(const Location& given) {
  const Location location = place_now(given);
  const auto found = segments.find(location.segment);
  if (found == segments.end()) return false;
  Segment& segment = found->second;
  Segment::Slot* const slot = segment.slot_at(location.offset);
  if (slot == nullptr || !slot->live()) return false;
  --counted.entries;
  counted.live_bytes -= kRecordHeaderBytes + slot->bytes;
  segment.give_up(*slot);
  const Place place{location.segment, location.offset};
  if (const auto from = moved_from.find(place); from != moved_from.end()) {
    moved.erase(from->second);
    moved_from.erase(from);
  }
  look_if_sparse(location.segment);
  return segment.live == 0;
}

void Spool::Impl::leave_active_if_released(std::uint64_t batch_bytes_min) {
  if (active == 0) return;
  const Segment& segment = segments[active];
  if (segment.live > 0 || segment.batch_bytes < batch_bytes_min) return;
  leave_active();
}

/// Deletes the segments in which nothing is live. What fails is tried again by the next append or
/// release.
void Spool::Impl::reclaim() {
  leave_active_if_released(options.segment_bytes / 2);
  if (!std::exchange(space_to_reclaim, false)) return;
  std::vector<std::uint64_t> dead;
  for (const auto& [number, segment] : segments)
    if (segment.live == 0 && number != active) dead.push_back(number);
  if (!dead.empty()) {
    if (auto copied = copy_settled_forward(); !copied) {
      log.warning("{}: {} segments stay until the next attempt", copied.error().message,
                  dead.size());
      space_to_reclaim = true;
      return;
    }
  }
  for (const std::uint64_t number : dead) {
    const auto found = segments.find(number);
    if (found->second.settled == 0 && put_away(number, found->second))
      segments.erase(found);
    else
      space_to_reclaim = true;
  }
}

/// The newest settled records that stand in segments about to go, and those not written yet, are
/// on stable storage elsewhere when this returns (S31).
Result<> Spool::Impl::copy_settled_forward() {
  std::vector<Outgoing> records = noted_records();
  std::vector<Bytes> copies;
  copies.reserve(settled.size());  // so that views into it stay valid
  std::vector<wire::StreamKey> unreadable;
  for (const auto& [stream, location] : settled) {
    const bool stays = location.segment == active || segments[location.segment].live > 0;
    if (stays || noted.contains(stream)) continue;
    auto message = read(location);
    if (!message && message.error().code != Errc::corrupt) return std::unexpected(message.error());
    if (!message) {
      log.warning("{}: the newest settled of stream {} is lost until the next one arrives",
                  message.error().message, stream.text());
      unreadable.push_back(stream);
      continue;
    }
    copies.push_back(std::move(*message));
    records.push_back({Kind::settled, &stream, 0, {}, ByteView(copies.back())});
  }
  for (const wire::StreamKey& stream : unreadable) {
    --segments[settled.at(stream).segment].settled;
    settled.erase(stream);
  }
  if (records.empty()) return {};
  auto locations = write(records);
  if (!locations) return std::unexpected(locations.error());
  settled_written(records, *locations);
  noted.clear();
  return {};
}

bool Spool::Impl::put_away(std::uint64_t number, Segment& segment) {
  unindexed.erase(number);
  to_cut.erase(number);
  sparse.erase(number);
  if (segment.indexed) remove_index(number, segment);
  if (segment.indexed) return false;
  if (last_read.segment == number) last_read = {};
  const auto gone = segment.damaged
                        ? disk.rename(path_of(number), folder / name_of(number, kQuarantineSuffix))
                        : disk.remove(path_of(number));
  if (!gone) log.warning("spool: {}: tried again later", gone.error().message);
  return gone.has_value();
}

}  // namespace postern::spool
