#include "node/outbox.h"

#include "base/crc32c.h"

namespace postern::node {
namespace {

constexpr std::string_view kEpochFile = "epoch";

/// STATE/epoch: ordinal u32, random u64, damaged segments when it began u64, crc32c of all.
struct EpochFile {
  wire::Epoch epoch;
  std::uint64_t damaged = 0;
};

Bytes encode_epoch(const EpochFile& file) {
  Writer out;
  out.u32(file.epoch.ordinal).u64(file.epoch.random).u64(file.damaged);
  out.u32(crc32c(out.written()));
  return out.take();
}

std::optional<EpochFile> decode_epoch(ByteView bytes) {
  Reader in(bytes);
  EpochFile file;
  file.epoch.ordinal = in.u32();
  file.epoch.random = in.u64();
  file.damaged = in.u64();
  const std::uint32_t crc = in.u32();
  if (!in.exhausted() || crc != crc32c(bytes.first(20))) return std::nullopt;
  return file;
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
  const Bytes payload = encode(opening);
  wire::BatchHeader header;
  header.stream = stream(wire::Lane::state);
  header.kind = wire::PayloadKind::epoch_opening;
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
  return {header.stream, header.sequence, position.hash, std::make_shared<const Bytes>(out.take())};
}

Result<EpochChoice> choose_epoch(Disk& disk, const std::filesystem::path& state, const NodeId& self,
                                 const relay::Relay& relay, std::uint64_t damaged, Random& random) {
  const auto file = state / kEpochFile;
  wire::Epoch known;
  std::uint64_t damaged_before = 0;
  auto there = disk.exists(file);
  if (!there) return std::unexpected(there.error());
  if (*there) {
    auto bytes = disk.read_file(file, 64);
    if (!bytes) return std::unexpected(bytes.error());
    if (const auto read = decode_epoch(*bytes)) {
      known = read->epoch;
      damaged_before = read->damaged;
    }
  }
  for (const wire::StreamKey& stream : relay.streams())
    if (stream.node == self && stream.epoch.ordinal > known.ordinal) known = stream.epoch;

  const bool traced =
      known.ordinal != 0 && relay.last_of({self, known, wire::Lane::state}).has_value();
  if (traced && damaged <= damaged_before) {
    if (damaged < damaged_before)  // cleared away by an operator: the next damage is new again
      if (auto written = disk.write_file(file, encode_epoch({known, damaged}), 0600); !written)
        return std::unexpected(written.error());
    return EpochChoice{known, std::nullopt};
  }

  wire::EpochOpening opening;
  opening.previous = known;
  opening.reason = known.ordinal == 0 ? wire::EpochOpening::Reason::new_folder
                                      : wire::EpochOpening::Reason::unreadable;
  for (const wire::Lane lane : wire::kLanes)
    if (const auto last = relay.last_of({self, known, lane}))
      opening.lanes[wire::index_of(lane)] = {last->first, last->second};
  const wire::Epoch next{known.ordinal + 1, random.u64()};
  if (auto written = disk.write_file(file, encode_epoch({next, damaged}), 0600); !written)
    return std::unexpected(written.error());
  return EpochChoice{next, opening};
}

}  // namespace postern::node
