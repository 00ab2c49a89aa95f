#include "wire/batch.h"

namespace postern::wire {
namespace {

constexpr std::string_view kMagic = "PSTB";
constexpr std::uint8_t kVersion = 1;

}  // namespace

Bytes encode_signed_part(const BatchHeader& h) {
  Writer out;
  out.reserve(kBatchHeaderBytes);
  out.bytes(as_bytes(kMagic)).u8(kVersion).u8(static_cast<std::uint8_t>(h.stream.lane));
  out.u8(static_cast<std::uint8_t>(h.kind)).u8(static_cast<std::uint8_t>(h.compression));
  out.bytes(h.stream.node.bytes).u32(h.stream.epoch.ordinal).u32(0).u64(h.stream.epoch.random);
  out.u64(h.sequence).bytes(h.previous);
  out.i64(to_ms(h.first)).i64(to_ms(h.last)).i64(to_ms(h.sealed));
  out.u32(h.records).u32(h.payload_bytes).u32(h.raw_bytes).u32(0).bytes(h.payload_hash);
  return out.take();
}

Result<BatchView> read_batch(ByteView bytes) {
  if (bytes.size() < kBatchHeaderBytes)
    return fail(Errc::invalid, "a batch of {} bytes; its header alone has {}", bytes.size(),
                kBatchHeaderBytes);
  Reader in(bytes);
  BatchView batch;
  BatchHeader& h = batch.header;
  if (as_text(in.view(4)) != kMagic) return fail(Errc::invalid, "a batch without its magic PSTB");
  const std::uint8_t version = in.u8();
  if (version != kVersion)
    return fail(Errc::invalid, "batch format version {}; this program reads version {}", version,
                kVersion);
  const std::uint8_t lane = in.u8();
  if (!is_lane(lane)) return fail(Errc::invalid, "a batch of lane {}; lanes are 1, 2, 3", lane);
  h.stream.lane = static_cast<Lane>(lane);
  h.kind = static_cast<PayloadKind>(in.u8());
  const std::uint8_t compression = in.u8();
  if (compression > 1)
    return fail(Errc::invalid, "a batch with compression {}; known are 0 and 1", compression);
  h.compression = static_cast<Compression>(compression);
  h.stream.node.bytes = in.array<16>();
  h.stream.epoch.ordinal = in.u32();
  const std::uint32_t flags = in.u32();
  h.stream.epoch.random = in.u64();
  h.sequence = in.u64();
  h.previous = in.array<32>();
  h.first = wall_from_ms(in.i64());
  h.last = wall_from_ms(in.i64());
  h.sealed = wall_from_ms(in.i64());
  h.records = in.u32();
  h.payload_bytes = in.u32();
  h.raw_bytes = in.u32();
  const std::uint32_t reserved = in.u32();
  h.payload_hash = in.array<32>();
  h.signature = in.array<64>();

  if (flags != 0 || reserved != 0)
    return fail(Errc::invalid, "a batch with unknown flags {:#x}", flags | reserved);
  if (h.sequence == 0) return fail(Errc::invalid, "a batch with sequence 0; the first is 1");
  if (h.sequence == 1 && h.previous != Digest{})
    return fail(Errc::invalid, "batch 1 of {} names a predecessor", h.stream.text());
  const std::uint32_t payload_max =
      h.kind == PayloadKind::sealed_again ? kSealedAgainBytesMax : kPayloadBytesMax;
  if (h.payload_bytes > payload_max)
    return fail(Errc::invalid, "a payload of {} bytes; the limit is {}", h.payload_bytes,
                payload_max);
  if (h.raw_bytes > kRawBytesMax)
    return fail(Errc::invalid, "a payload of {} bytes uncompressed; the limit is {}", h.raw_bytes,
                kRawBytesMax);
  if (h.records > kRecordsMax)
    return fail(Errc::invalid, "a batch of {} records; the limit is {}", h.records, kRecordsMax);
  if (h.compression == Compression::none && h.raw_bytes != h.payload_bytes)
    return fail(Errc::invalid, "an uncompressed payload of {} bytes that says {}", h.payload_bytes,
                h.raw_bytes);
  if (in.left() != h.payload_bytes)
    return fail(Errc::invalid, "a batch whose header says {} bytes of payload, and {} follow",
                h.payload_bytes, in.left());

  batch.signed_part = bytes.first(kBatchSignedBytes);
  batch.payload = in.view(h.payload_bytes);
  batch.whole = bytes;
  return batch;
}

Result<BatchView> read_sealed_again(const BatchView& batch) {
  auto first = read_batch(batch.payload);
  if (!first) return first;
  const BatchHeader& h = first->header;
  if (h.stream.node != batch.header.stream.node || h.stream.lane != batch.header.stream.lane)
    return fail(Errc::invalid, "a batch of {} sealed again that was one of {}",
                batch.header.stream.text(), h.stream.text());
  if (h.kind != PayloadKind::metrics && h.kind != PayloadKind::logs)
    return fail(Errc::invalid, "a batch of payload kind {} sealed again; only 1 and 2 are",
                static_cast<unsigned>(h.kind));
  return first;
}

Result<Stamped> read_stamped(ByteView bytes) {
  Reader in(bytes);
  const std::uint8_t count = in.u8();
  if (count > kStampsMax)
    return fail(Errc::invalid, "{} stamps; the limit is {}", count, kStampsMax);
  Stamped stamped;
  stamped.stamps.reserve(count);
  for (std::uint8_t i = 0; i < count; ++i) {
    Stamp stamp;
    stamp.from.bytes = in.array<16>();
    stamp.received = wall_from_ms(in.i64());
    stamped.stamps.push_back(stamp);
  }
  if (in.failed()) return fail(Errc::invalid, "a message that ends inside its {} stamps", count);
  stamped.body = in.view(in.left());
  return stamped;
}

Bytes write_stamped(std::span<const Stamp> stamps, ByteView body) {
  Writer out;
  out.reserve(1 + stamps.size() * kStampBytes + body.size());
  out.u8(static_cast<std::uint8_t>(stamps.size()));
  for (const Stamp& stamp : stamps) out.bytes(stamp.from.bytes).i64(to_ms(stamp.received));
  out.bytes(body);
  return out.take();
}

Result<Bytes> add_stamp(ByteView message, const Stamp& stamp) {
  auto stamped = read_stamped(message);
  if (!stamped) return std::unexpected(stamped.error());
  if (stamped->stamps.size() >= kStampsMax)
    return fail(Errc::exhausted,
                "a message that has passed {} hops already; a chain has at most {}",
                stamped->stamps.size(), kStampsMax);
  stamped->stamps.push_back(stamp);
  return write_stamped(stamped->stamps, stamped->body);
}

Bytes encode(const GapRecord& gap) {
  Writer out;
  gap.stream.write(out);
  out.u64(gap.first).u64(gap.last).bytes(gap.before).bytes(gap.at_last);
  out.i64(to_ms(gap.first_time)).i64(to_ms(gap.last_time)).u64(gap.records).u64(gap.bytes);
  out.u8(static_cast<std::uint8_t>(gap.reason));
  return out.take();
}

Result<GapRecord> decode_gap(ByteView payload) {
  Reader in(payload);
  auto stream = StreamKey::read(in);
  if (!stream) return std::unexpected(stream.error());
  GapRecord gap;
  gap.stream = *stream;
  gap.first = in.u64();
  gap.last = in.u64();
  gap.before = in.array<32>();
  gap.at_last = in.array<32>();
  gap.first_time = wall_from_ms(in.i64());
  gap.last_time = wall_from_ms(in.i64());
  gap.records = in.u64();
  gap.bytes = in.u64();
  const std::uint8_t reason = in.u8();
  if (!in.exhausted()) return fail(Errc::invalid, "a gap record of {} bytes", payload.size());
  if (gap.first == 0 || gap.last < gap.first)
    return fail(Errc::invalid, "a gap record from {} to {}", gap.first, gap.last);
  if (reason < 1 || reason > 5)
    return fail(Errc::invalid, "a gap record with reason {}; known are 1 to 5", reason);
  gap.reason = static_cast<GapRecord::Reason>(reason);
  return gap;
}

const char* to_string(GapRecord::Reason reason) {
  static constexpr const char* kWords[] = {"unknown",    "shed for space", "node removed",
                                           "unreadable", "export",         "state folder set back"};
  const auto index = static_cast<std::size_t>(reason);
  return index < std::size(kWords) ? kWords[index] : kWords[0];
}

Bytes encode(const ReleaseRecord& release) {
  Writer out;
  release.stream.write(out);
  out.u64(release.first).u64(release.last).bytes(release.at_last).bytes(release.parent.bytes);
  return out.take();
}

Result<ReleaseRecord> decode_release(ByteView payload) {
  Reader in(payload);
  auto stream = StreamKey::read(in);
  if (!stream) return std::unexpected(stream.error());
  ReleaseRecord release;
  release.stream = *stream;
  release.first = in.u64();
  release.last = in.u64();
  release.at_last = in.array<32>();
  release.parent.bytes = in.array<16>();
  if (!in.exhausted()) return fail(Errc::invalid, "a release record of {} bytes", payload.size());
  if (release.first == 0 || release.last < release.first)
    return fail(Errc::invalid, "a release record from {} to {}", release.first, release.last);
  return release;
}

Bytes encode(const EpochOpening& opening) {
  Writer out;
  out.u32(opening.previous.ordinal).u64(opening.previous.random);
  out.u8(static_cast<std::uint8_t>(opening.reason));
  for (const auto& lane : opening.lanes) out.u64(lane.sequence).bytes(lane.hash);
  return out.take();
}

Result<EpochOpening> decode_epoch_opening(ByteView payload) {
  Reader in(payload);
  EpochOpening opening;
  opening.previous.ordinal = in.u32();
  opening.previous.random = in.u64();
  const std::uint8_t reason = in.u8();
  for (auto& lane : opening.lanes) {
    lane.sequence = in.u64();
    lane.hash = in.array<32>();
  }
  if (!in.exhausted()) return fail(Errc::invalid, "an epoch opening of {} bytes", payload.size());
  if (reason < 1 || reason > 3)
    return fail(Errc::invalid, "an epoch opening with reason {}; known are 1 to 3", reason);
  opening.reason = static_cast<EpochOpening::Reason>(reason);
  return opening;
}

}  // namespace postern::wire
