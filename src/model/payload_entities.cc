#include <algorithm>

#include "base/utf8.h"
#include "model/otlp_values.h"

namespace postern {
namespace {

// The attributes are the ones the OpenTelemetry Collector reads and writes today; the event name
// is the one its specification of entity events gives.
constexpr const char* kEventName = "entity.state";
constexpr const char* kEventType = "otel.entity.event.type";
constexpr const char* kEventTypeState = "entity_state";
constexpr const char* kEntityType = "otel.entity.type";
constexpr const char* kEntityId = "otel.entity.id";
constexpr const char* kEntityAttributes = "otel.entity.attributes";
constexpr const char* kEntityInterval = "otel.entity.interval";  // milliseconds
constexpr const char* kEventAsLog = "otel.entity.event_as_log";  // of the scope

otlp::AnyValue& add_value(otlp::LogRecord& record, const char* key) {
  otlp::KeyValue& pair = *record.add_attributes();
  pair.set_key(key);
  return *pair.mutable_value();
}

void write_state(otlp::LogRecord& record, const EntityState& state, WallTime time) {
  record.set_time_unix_nano(to_otlp_time(time));
  record.set_observed_time_unix_nano(to_otlp_time(time));
  record.set_event_name(kEventName);
  add_value(record, kEventType).set_string_value(kEventTypeState);
  add_value(record, kEntityType).set_string_value(to_utf8(state.type));
  add_attributes(*add_value(record, kEntityId).mutable_kvlist_value()->mutable_values(), state.id);
  add_attributes(*add_value(record, kEntityAttributes).mutable_kvlist_value()->mutable_values(),
                 state.attributes);
  if (state.interval.count() > 0)
    add_value(record, kEntityInterval).set_int_value(state.interval.count());
}

/// Nothing when the record is no entity state, or one without type or id.
std::optional<EntityState> read_state(const otlp::LogRecord& record, std::uint32_t& not_shown) {
  EntityState state;
  bool is_state = false;
  for (const otlp::KeyValue& pair : record.attributes()) {
    const otlp::AnyValue& value = pair.value();
    if (pair.key() == kEventType)
      is_state = value.string_value() == kEventTypeState;
    else if (pair.key() == kEntityType)
      state.type = value.string_value();
    else if (pair.key() == kEntityId)
      state.id = get_attributes(value.kvlist_value().values(), not_shown);
    else if (pair.key() == kEntityAttributes)
      state.attributes = get_attributes(value.kvlist_value().values(), not_shown);
    else if (pair.key() == kEntityInterval)
      state.interval = std::chrono::milliseconds(std::max<std::int64_t>(0, value.int_value()));
  }
  if (!is_state || state.type.empty() || state.id.empty()) return std::nullopt;
  return state;
}

}  // namespace

Result<Payload> encode_entity_states(const Resource& resource, std::span<const EntityState> states,
                                     WallTime time) {
  otlp::ExportLogsServiceRequest request;
  auto& of_resource = *request.add_resource_logs();
  add_attributes(*of_resource.mutable_resource()->mutable_attributes(), resource.attributes);
  auto& of_scope = *of_resource.add_scope_logs();
  describe_scope(*of_scope.mutable_scope());
  add_attributes(*of_scope.mutable_scope()->mutable_attributes(), {{kEventAsLog, true}});
  for (const EntityState& state : states) {
    if (state.type.empty() || state.id.empty())
      return fail(Errc::invalid, "an entity state needs a type (\"{}\") and an id ({} attributes)",
                  state.type, state.id.size());
    write_state(*of_scope.add_log_records(), state, time);
  }

  auto payload = seal_payload(OtlpRequest::logs, request, states.size());
  if (!payload) return payload;
  payload->first = payload->last = time;
  return payload;
}

Result<DecodedEntityStates> decode_entity_states(ByteView compressed, std::uint32_t raw_bytes) {
  otlp::ExportLogsServiceRequest request;
  if (auto opened = open_payload(OtlpRequest::logs, compressed, raw_bytes, request); !opened)
    return std::unexpected(opened.error());
  if (request.resource_logs_size() > 1)
    return fail(Errc::invalid, "the payload is about {} resources, a batch is about one",
                request.resource_logs_size());

  DecodedEntityStates decoded;
  std::uint64_t newest = 0;
  std::size_t records = 0;
  for (const auto& of_resource : request.resource_logs()) {
    decoded.resource.attributes =
        get_attributes(of_resource.resource().attributes(), decoded.not_shown);
    for (const auto& of_scope : of_resource.scope_logs()) {
      records += static_cast<std::size_t>(of_scope.log_records_size());
      if (records > kPayloadRecordsMax)
        return fail(Errc::invalid, "the payload has more than {} records", kPayloadRecordsMax);
      for (const auto& record : of_scope.log_records()) {
        newest = std::max(newest, record.time_unix_nano());
        if (auto state = read_state(record, decoded.not_shown))
          decoded.states.push_back(std::move(*state));
        else
          ++decoded.not_shown;
      }
    }
  }
  decoded.time = from_otlp_time(newest);
  return decoded;
}

}  // namespace postern
