#include "model/otlp_values.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"
#include "model/compression.h"

namespace postern {
namespace {

constexpr std::int64_t kNanosecondsPerMillisecond = 1'000'000;
constexpr std::size_t kAttributeOverheadBytes = 32;  // four tags and lengths, a number

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

std::optional<AttributeValue> get_texts(const otlp::ArrayValue& from) {
  std::vector<std::string> texts;
  texts.reserve(static_cast<std::size_t>(from.values_size()));
  for (const otlp::AnyValue& value : from.values()) {
    if (value.value_case() != otlp::AnyValue::kStringValue) return std::nullopt;
    texts.push_back(value.string_value());
  }
  return texts;
}

}  // namespace

std::uint64_t to_otlp_time(WallTime time) {
  constexpr std::int64_t kMillisecondsMax =
      std::numeric_limits<std::int64_t>::max() / kNanosecondsPerMillisecond;
  const std::int64_t ms = std::clamp<std::int64_t>(to_ms(time), 0, kMillisecondsMax);
  return static_cast<std::uint64_t>(ms * kNanosecondsPerMillisecond);
}

WallTime from_otlp_time(std::uint64_t unix_nanoseconds) {
  return wall_from_ms(static_cast<std::int64_t>(unix_nanoseconds / kNanosecondsPerMillisecond));
}

void set_value(otlp::AnyValue& to, const AttributeValue& value) {
  std::visit(Overloaded{
                 [&](const std::string& text) { to.set_string_value(to_utf8(text)); },
                 [&](std::int64_t number) { to.set_int_value(number); },
                 [&](double number) { to.set_double_value(number); },
                 [&](bool flag) { to.set_bool_value(flag); },
                 [&](const std::vector<std::string>& texts) {
                   auto& array = *to.mutable_array_value();
                   for (const std::string& text : texts)
                     array.add_values()->set_string_value(to_utf8(text));
                 },
             },
             value);
}

std::optional<AttributeValue> get_value(const otlp::AnyValue& from) {
  switch (from.value_case()) {
    case otlp::AnyValue::kStringValue:
      return from.string_value();
    case otlp::AnyValue::kIntValue:
      return from.int_value();
    case otlp::AnyValue::kDoubleValue:
      return from.double_value();
    case otlp::AnyValue::kBoolValue:
      return from.bool_value();
    case otlp::AnyValue::kArrayValue:
      return get_texts(from.array_value());
    case otlp::AnyValue::kKvlistValue:
    case otlp::AnyValue::kBytesValue:
    case otlp::AnyValue::VALUE_NOT_SET:
      break;
  }
  return std::nullopt;
}

void add_attributes(KeyValues& to, const std::vector<Attribute>& attributes) {
  for (const Attribute& attribute : attributes) {
    otlp::KeyValue& pair = *to.Add();
    pair.set_key(to_utf8(attribute.key));
    set_value(*pair.mutable_value(), attribute.value);
  }
}

std::vector<Attribute> get_attributes(const KeyValues& from, std::uint32_t& not_shown) {
  std::vector<Attribute> attributes;
  attributes.reserve(static_cast<std::size_t>(from.size()));
  for (const otlp::KeyValue& pair : from) {
    if (auto value = get_value(pair.value()))
      attributes.push_back({pair.key(), std::move(*value)});
    else
      ++not_shown;
  }
  return attributes;
}

void describe_scope(otlp::InstrumentationScope& scope) { scope.set_name("postern.probe"); }

std::size_t encoded_bytes_max(const std::vector<Attribute>& attributes) {
  // A byte that is no UTF-8 becomes three.
  constexpr std::size_t kGrowth = 3;
  std::size_t bytes = 0;
  for (const Attribute& attribute : attributes) {
    bytes += kAttributeOverheadBytes + kGrowth * attribute.key.size();
    if (const auto* text = std::get_if<std::string>(&attribute.value))
      bytes += kGrowth * text->size();
    if (const auto* texts = std::get_if<std::vector<std::string>>(&attribute.value))
      for (const std::string& text : *texts)
        bytes += kAttributeOverheadBytes + kGrowth * text.size();
  }
  return bytes;
}

Result<Payload> seal_payload(OtlpRequest kind, const google::protobuf::MessageLite& request,
                             std::size_t records) {
  if (records == 0) return fail(Errc::invalid, "a payload needs at least one record");
  if (records > kPayloadRecordsMax)
    return fail(Errc::exhausted, "a payload of {} records exceeds the limit of {}: split it",
                records, kPayloadRecordsMax);
  const std::size_t raw_size = request.ByteSizeLong();
  if (raw_size > kPayloadUncompressedBytesMax)
    return fail(Errc::exhausted, "a payload of {} bytes exceeds the limit of {}: split it",
                raw_size, kPayloadUncompressedBytesMax);
  std::string raw;
  if (!request.SerializeToString(&raw))
    return fail(Errc::invalid, "a payload of {} records does not serialise", records);
  // What the receiver would refuse must not leave: there it would be a batch lost for good.
  if (auto shape = check_shape(kind, raw); !shape)
    return fail(Errc::exhausted, "{}: split it", shape.error().message);

  auto compressed = compress(raw, kPayloadZstdLevel);
  if (!compressed) return std::unexpected(compressed.error());
  if (compressed->size() > kPayloadCompressedBytesMax)
    return fail(Errc::exhausted,
                "a payload of {} bytes compressed exceeds the limit of {}: split it",
                compressed->size(), kPayloadCompressedBytesMax);
  Payload payload;
  payload.compressed = std::move(*compressed);
  payload.raw_bytes = static_cast<std::uint32_t>(raw.size());
  payload.records = static_cast<std::uint32_t>(records);
  return payload;
}

Result<> open_payload(OtlpRequest kind, ByteView compressed, std::uint32_t raw_bytes,
                      google::protobuf::MessageLite& request) {
  if (compressed.size() > kPayloadCompressedBytesMax)
    return fail(Errc::invalid, "the payload is {} bytes, at most {} are allowed", compressed.size(),
                kPayloadCompressedBytesMax);
  if (raw_bytes > kPayloadUncompressedBytesMax)
    return fail(Errc::invalid, "the payload declares {} bytes uncompressed, at most {} are allowed",
                raw_bytes, kPayloadUncompressedBytesMax);
  auto raw = decompress(compressed, raw_bytes);
  if (!raw) return std::unexpected(raw.error());
  if (auto shape = check_shape(kind, *raw); !shape) return shape;
  if (!request.ParseFromString(*raw))
    return fail(Errc::invalid, "the payload ({} bytes) does not parse as OTLP", raw->size());
  return {};
}

}  // namespace postern
