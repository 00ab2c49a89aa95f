#include "node/outbox.h"

#include <utility>

namespace postern::node {
namespace {

/// Zeros when it is not known; the server knows it then, or nobody needs it.
Digest hash_at(const relay::Relay& relay, const wire::StreamKey& stream, std::uint64_t sequence) {
  const wire::Coverage known = relay.coverage(stream, sequence);
  if (known.intervals.empty() || known.intervals.back().last != sequence) return {};
  return known.intervals.back().hash;
}

/// The copies that were to be made in file.epoch are over: those on disk are made, of the others
/// nobody can say.
std::vector<wire::GapRecord> give_up_plans(EpochFile& file, const NodeId& self,
                                           const relay::Relay& relay) {
  std::vector<wire::GapRecord> given_up;
  for (const wire::Lane lane : wire::kLanes) {
    EpochFile::Plan plan = std::exchange(file.plans[wire::index_of(lane)], {});
    const auto last = relay.last_of({self, file.epoch, lane});
    const std::size_t made = plan.made(last ? last->first : 0);
    for (std::size_t i = 0; i < plan.copies.size(); ++i) {
      const EpochFile::Copy& copy = plan.copies[i];
      file.done_up_to(copy, lane);
      if (i < made) continue;
      wire::GapRecord gap;
      gap.stream = {self, copy.epoch, lane};
      gap.first = gap.last = copy.sequence;
      gap.reason = wire::GapRecord::Reason::unreadable;
      gap.before = hash_at(relay, gap.stream, copy.sequence - 1);
      gap.at_last = hash_at(relay, gap.stream, copy.sequence);
      given_up.push_back(gap);
    }
  }
  return given_up;
}

}  // namespace

void Outbox::resume(const relay::Relay& relay) {
  for (const wire::Lane lane : wire::kLanes)
    if (const auto last = relay.last_of(stream(lane)))
      positions_[wire::index_of(lane)] = {last->first, last->second};
}

Outbox::Sealed Outbox::seal(wire::Lane lane, wire::PayloadKind kind, const Payload& payload,
                            WallTime now) {
  wire::BatchHeader header;
  header.stream = stream(lane);
  header.kind = kind;
  header.compression = wire::Compression::zstd;
  header.first = payload.first;
  header.last = payload.last;
  header.records = payload.records;
  header.raw_bytes = payload.raw_bytes;
  return seal(std::move(header), payload.compressed, now);
}

Outbox::Sealed Outbox::seal_opening(const wire::EpochOpening& opening, WallTime now) {
  return seal_record(wire::PayloadKind::epoch_opening, encode(opening), now);
}

Outbox::Sealed Outbox::seal_gap(const wire::GapRecord& gap, WallTime now) {
  return seal_record(wire::PayloadKind::gap, encode(gap), now);
}

Outbox::Sealed Outbox::seal_release(const wire::ReleaseRecord& release, WallTime now) {
  return seal_record(wire::PayloadKind::release, encode(release), now);
}

Outbox::Sealed Outbox::seal_probe(const std::array<std::byte, wire::kProbeIdBytes>& id,
                                  WallTime now) {
  return seal_record(wire::PayloadKind::probe, id, now);
}

Outbox::Sealed Outbox::seal_again(const wire::BatchView& batch, WallTime now) {
  wire::BatchHeader header = batch.header;
  header.stream = stream(batch.header.stream.lane);
  if (header.kind != wire::PayloadKind::metrics && header.kind != wire::PayloadKind::logs)
    return seal(std::move(header), batch.payload, now);
  header.kind = wire::PayloadKind::sealed_again;
  header.compression = wire::Compression::none;
  header.raw_bytes = static_cast<std::uint32_t>(batch.whole.size());
  return seal(std::move(header), batch.whole, now);
}

Outbox::Sealed Outbox::seal_record(wire::PayloadKind kind, ByteView payload, WallTime now) {
  wire::BatchHeader header;
  header.stream = stream(wire::Lane::state);
  header.kind = kind;
  header.first = header.last = now;
  header.records = 1;
  header.raw_bytes = static_cast<std::uint32_t>(payload.size());
  return seal(std::move(header), payload, now);
}

Outbox::Sealed Outbox::seal(wire::BatchHeader header, ByteView payload, WallTime now) {
  Position& position = positions_[wire::index_of(header.stream.lane)];
  header.sequence = position.sequence + 1;
  header.previous = position.hash;
  header.sealed = now;
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  header.payload_hash = sha256(payload);
  const Bytes signed_part = encode_signed_part(header);
  const Signature signature = identity_.sign(wire::kBatchContext, signed_part);
  Writer out;
  out.reserve(1 + wire::kBatchHeaderBytes + payload.size());
  out.u8(0).bytes(signed_part).bytes(signature).bytes(payload);
  position = {header.sequence, sha256(signed_part)};
  const bool makes_room =
      header.kind == wire::PayloadKind::gap || header.kind == wire::PayloadKind::release;
  return {header.stream, header.sequence, position.hash, std::make_shared<const Bytes>(out.take()),
          makes_room};
}

std::filesystem::path epoch_file(const std::filesystem::path& state) { return state / "epoch"; }

Result<EpochChoice> choose_epoch(Disk& disk, const std::filesystem::path& state, const NodeId& self,
                                 const relay::Relay& relay, std::uint64_t damaged, Random& random) {
  const auto path = epoch_file(state);
  EpochFile file;
  auto there = disk.exists(path);
  if (!there) return std::unexpected(there.error());
  if (*there) {
    auto bytes = disk.read_file(path, EpochFile::kBytesMax);
    if (!bytes) return std::unexpected(bytes.error());
    if (auto read = decode_epoch_file(*bytes)) file = std::move(*read);
  }
  const EpochFile before = file;
  wire::Epoch known = file.epoch;
  for (const wire::StreamKey& stream : relay.streams())
    if (stream.node == self && stream.epoch.ordinal > known.ordinal) known = stream.epoch;

  EpochChoice choice;
  const bool traced =
      known.ordinal != 0 && relay.last_of({self, known, wire::Lane::state}).has_value();
  const bool goes_on = traced && damaged <= file.damaged;
  if (!goes_on || known != file.epoch) choice.given_up = give_up_plans(file, self, relay);
  file.epoch = known;
  if (!goes_on) {
    wire::EpochOpening opening;
    opening.previous = known;
    opening.reason = known.ordinal == 0 ? wire::EpochOpening::Reason::new_folder
                                        : wire::EpochOpening::Reason::unreadable;
    for (const wire::Lane lane : wire::kLanes)
      if (const auto last = relay.last_of({self, known, lane}))
        opening.lanes[wire::index_of(lane)] = {last->first, last->second};
    choice.opening = opening;
    file.epoch = {known.ordinal + 1, random.u64()};
  }
  file.damaged = damaged;  // also when fewer: cleared away by an operator, the next is new again
  if (file != before)
    if (auto written = disk.write_file(path, encode(file), 0600); !written)
      return std::unexpected(written.error());
  choice.epoch = file.epoch;
  choice.file = std::move(file);
  return choice;
}

}  // namespace postern::node
