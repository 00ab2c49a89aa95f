#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <optional>
#include <vector>

#include "base/clock.h"
#include "model/measurement.h"
#include "model/otlp.pb.h"
#include "model/payload.h"
#include "model/shape.h"

/// The parts that metrics and logs share, between plain values and OTLP messages.
namespace postern {

using KeyValues = google::protobuf::RepeatedPtrField<otlp::KeyValue>;

/// OTLP counts nanoseconds since 1970, unsigned; 0 is "not known". Times before 1970 become 0.
std::uint64_t to_otlp_time(WallTime time);
WallTime from_otlp_time(std::uint64_t unix_nanoseconds);

void set_value(otlp::AnyValue& to, const AttributeValue& value);
/// Nothing when AttributeValue has no such kind: key-value lists, bytes, arrays of anything but
/// text.
std::optional<AttributeValue> get_value(const otlp::AnyValue& from);

void add_attributes(KeyValues& to, const std::vector<Attribute>& attributes);
/// Counts in `not_shown` what get_value leaves out.
std::vector<Attribute> get_attributes(const KeyValues& from, std::uint32_t& not_shown);

void describe_scope(otlp::InstrumentationScope& scope);

/// Upper bounds of the bytes a value takes in a message.
std::size_t encoded_bytes_max(const std::vector<Attribute>& attributes);
inline constexpr std::size_t kRecordOverheadBytes = 256;  // tags, lengths, times, fixed attributes

/// Serialises, checks the limits, compresses. The caller fills in first and last.
Result<Payload> seal_payload(OtlpRequest kind, const google::protobuf::MessageLite& request,
                             std::size_t records);
/// Checks the limits, decompresses, checks the shape, parses into `request`.
Result<> open_payload(OtlpRequest kind, ByteView compressed, std::uint32_t raw_bytes,
                      google::protobuf::MessageLite& request);

}  // namespace postern
