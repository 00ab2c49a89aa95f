// batch.md, "Payload": OTLP metrics and entity states inside zstd, with their limits.

#include "model/payload.h"

#include "fuzz/target.h"
#include "model/compression.h"

namespace postern::fuzz {
namespace {

constexpr std::uint8_t kIsRaw = 1;  // what follows is protobuf: reach behind the compression

/// What can be read can be written (but for the limits), and reads as the same again.
void check_metrics(const DecodedMetrics& decoded) {
  claim(decoded.measurements.size() <= kPayloadRecordsMax, "no more records than the limit");
  const auto once = encode_metrics(decoded.resource, decoded.measurements);
  if (!once) {
    claim(decoded.measurements.empty() || once.error().code == Errc::exhausted,
          "only a limit keeps from writing what was read");
    return;
  }
  const auto again = decode_metrics(once->compressed, once->raw_bytes);
  claim(again.has_value(), "what we wrote can be read");
  claim(again->not_shown == 0, "what we wrote is shown whole");
  const auto twice = encode_metrics(again->resource, again->measurements);
  claim(twice && twice->compressed == once->compressed, "reading and writing change nothing");
}

void check_states(const DecodedEntityStates& decoded) {
  claim(decoded.states.size() <= kPayloadRecordsMax, "no more records than the limit");
  const auto once = encode_entity_states(decoded.resource, decoded.states, decoded.time);
  if (!once) {
    claim(decoded.states.empty() || once.error().code == Errc::exhausted,
          "only a limit keeps from writing what was read");
    return;
  }
  const auto again = decode_entity_states(once->compressed, once->raw_bytes);
  claim(again.has_value(), "what we wrote can be read");
  const auto twice = encode_entity_states(again->resource, again->states, again->time);
  claim(twice && twice->compressed == once->compressed, "reading and writing change nothing");
}

template <typename Decoded>
void check_refusal(const Result<Decoded>& decoded) {
  claim(decoded || (decoded.error().code == Errc::invalid && !decoded.error().message.empty()),
        "a fault of the input is `invalid`, with words");
}

}  // namespace

void one_input(ByteView bytes) {
  Input in(bytes);
  const std::uint8_t how = in.u8();
  auto raw_bytes = in.number<std::uint32_t>();
  Bytes compressed = to_bytes(in.rest());
  if (how & kIsRaw) {
    raw_bytes = static_cast<std::uint32_t>(compressed.size());
    auto packed = compress(as_text(compressed), 1);
    if (!packed) return;
    compressed = std::move(*packed);
  }
  const auto metrics = decode_metrics(compressed, raw_bytes);
  check_refusal(metrics);
  if (metrics) check_metrics(*metrics);
  const auto states = decode_entity_states(compressed, raw_bytes);
  check_refusal(states);
  if (states) check_states(*states);
}

std::vector<Bytes> seeds() {
  const Resource resource{{{"host.name", std::string("a.example")}}};
  Measurement gauge;
  gauge.name = "system.memory.usage";
  gauge.unit = "By";
  gauge.value = std::int64_t{7};
  gauge.attributes = {{"system.memory.state", std::string("used")}, {"on", true}};
  Measurement sum = gauge;
  sum.kind = MeasurementKind::monotonic_sum;
  sum.value = 0.5;
  sum.start = wall_from_ms(1);
  const EntityState host{"host",
                         {{"host.name", std::string("a.example")}},
                         {{"host.ip", std::vector<std::string>{"192.0.2.1"}}},
                         std::chrono::hours(1)};
  const Payload payloads[] = {
      encode_metrics(resource, std::vector{gauge, sum}).value(),
      encode_entity_states(resource, std::vector{host}, wall_from_ms(5)).value()};
  std::vector<Bytes> seeds;
  for (const Payload& payload : payloads) {
    Writer packed, raw;
    packed.u8(0).u32(payload.raw_bytes).bytes(payload.compressed);
    raw.u8(kIsRaw).u32(0).bytes(
        as_bytes(decompress(payload.compressed, payload.raw_bytes).value()));
    seeds.push_back(packed.take());
    seeds.push_back(raw.take());
  }
  // A frame that says it holds 16 MiB, and does: of zeros, in few bytes.
  const std::string bomb(kPayloadUncompressedBytesMax, '\0');
  Writer out;
  out.u8(0).u32(kPayloadUncompressedBytesMax).bytes(compress(bomb, 1).value());
  seeds.push_back(out.take());
  return seeds;
}

}  // namespace postern::fuzz
