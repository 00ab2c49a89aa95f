// batch.md: the batch, the stamped message, the batch that was sealed again.

#include "wire/batch.h"

#include <algorithm>

#include "fuzz/target.h"

namespace postern::fuzz {
namespace {

bool equal(ByteView a, ByteView b) { return std::ranges::equal(a, b); }

void check_batch(const wire::BatchView& batch, ByteView bytes) {
  const wire::BatchHeader& h = batch.header;
  claim(wire::is_lane(static_cast<std::uint8_t>(h.stream.lane)), "a known lane");
  claim(h.sequence > 0, "numbers begin at 1");
  claim(h.raw_bytes <= wire::kRawBytesMax && h.records <= wire::kRecordsMax, "limits of B11");
  claim(batch.payload.size() == h.payload_bytes, "the payload is as long as its header says");
  claim(h.payload_bytes <= wire::kSealedAgainBytesMax, "no payload above its limit");
  claim(h.kind == wire::PayloadKind::sealed_again || h.payload_bytes <= wire::kPayloadBytesMax,
        "no payload above its limit");
  claim(equal(batch.whole, bytes) && equal(batch.signed_part, bytes.first(152)),
        "nothing is moved");
  Writer again;
  again.bytes(encode_signed_part(h)).bytes(h.signature).bytes(batch.payload);
  claim(equal(again.written(), bytes), "a batch has one encoding");

  if (auto first = wire::read_sealed_again(batch)) {
    claim(first->header.stream.node == h.stream.node && first->header.stream.lane == h.stream.lane,
          "what was sealed again is of the same node and lane");
    claim(equal(first->whole, batch.payload), "what was sealed again is all of the payload");
    claim(!wire::read_sealed_again(*first), "nothing is sealed again twice");
  }
}

}  // namespace

void one_input(ByteView bytes) {
  if (auto batch = wire::read_batch(bytes)) check_batch(*batch, bytes);
  auto stamped = wire::read_stamped(bytes);
  if (!stamped) return;
  claim(stamped->stamps.size() <= wire::kStampsMax, "no more hops than a chain may have");
  claim(equal(wire::write_stamped(stamped->stamps, stamped->body), bytes),
        "a stamped message has one encoding");
  const wire::Stamp stamp{{}, wall_from_ms(5)};
  auto longer = wire::add_stamp(bytes, stamp);
  claim(longer.has_value() == (stamped->stamps.size() < wire::kStampsMax),
        "stamps stop at the limit");
  if (longer) {
    auto again = wire::read_stamped(*longer);
    claim(again && equal(again->body, stamped->body) && again->stamps.back() == stamp &&
              std::equal(stamped->stamps.begin(), stamped->stamps.end(), again->stamps.begin()),
          "one stamp more and nothing else");
  }
  if (auto batch = wire::read_batch(stamped->body)) check_batch(*batch, stamped->body);
}

std::vector<Bytes> seeds() {
  wire::BatchHeader header;
  header.stream.node.bytes.fill(std::byte{0xab});
  header.stream.epoch = {3, 7};
  header.stream.lane = wire::Lane::metric;
  header.sequence = 7;
  header.payload_bytes = header.raw_bytes = 3;
  const auto whole = [](const wire::BatchHeader& h, ByteView payload) {
    Writer out;
    out.bytes(encode_signed_part(h)).bytes(h.signature).bytes(payload);
    return out.take();
  };
  const Bytes plain = whole(header, as_bytes("abc"));
  wire::BatchHeader outer = header;
  outer.kind = wire::PayloadKind::sealed_again;
  outer.payload_bytes = outer.raw_bytes = static_cast<std::uint32_t>(plain.size());
  const Bytes again = whole(outer, plain);
  const std::vector<wire::Stamp> stamps(2, {header.stream.node, wall_from_ms(1'800'000'000'000)});
  return {plain, again, wire::write_stamped({}, plain), wire::write_stamped(stamps, again),
          wire::write_stamped(std::vector<wire::Stamp>(wire::kStampsMax), plain)};
}

}  // namespace postern::fuzz
