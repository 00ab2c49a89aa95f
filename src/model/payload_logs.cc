#include <algorithm>

#include "base/utf8.h"
#include "model/otlp_values.h"

namespace postern {
namespace {

WallTime time_of(const LogEvent& event) {
  return event.time == WallTime{} ? event.observed : event.time;
}

void write_event(otlp::LogRecord& record, const LogEvent& event) {
  record.set_time_unix_nano(to_otlp_time(event.time));
  record.set_observed_time_unix_nano(to_otlp_time(event.observed));
  record.set_severity_number(static_cast<std::int32_t>(event.severity));
  record.set_severity_text(to_utf8(event.severity_text));
  record.mutable_body()->set_string_value(to_utf8(event.body));
  record.set_event_name(to_utf8(event.event_name));
  add_attributes(*record.mutable_attributes(), event.attributes);
}

}  // namespace

Result<Payload> encode_logs(const Resource& resource, std::span<const LogEvent> events) {
  otlp::ExportLogsServiceRequest request;
  auto& of_resource = *request.add_resource_logs();
  add_attributes(*of_resource.mutable_resource()->mutable_attributes(), resource.attributes);
  auto& of_scope = *of_resource.add_scope_logs();
  describe_scope(*of_scope.mutable_scope());
  for (const LogEvent& event : events) write_event(*of_scope.add_log_records(), event);

  auto payload = seal_payload(OtlpRequest::logs, request, events.size());
  if (!payload) return payload;
  const auto [first, last] = std::minmax_element(
      events.begin(), events.end(),
      [](const LogEvent& a, const LogEvent& b) { return time_of(a) < time_of(b); });
  payload->first = time_of(*first);
  payload->last = time_of(*last);
  return payload;
}

Result<DecodedLogs> decode_logs(ByteView compressed, std::uint32_t raw_bytes) {
  otlp::ExportLogsServiceRequest request;
  if (auto opened = open_payload(OtlpRequest::logs, compressed, raw_bytes, request); !opened)
    return std::unexpected(opened.error());
  DecodedLogs decoded;
  for (const auto& of_resource : request.resource_logs()) {
    decoded.resource.attributes =
        get_attributes(of_resource.resource().attributes(), decoded.not_shown);
    for (const auto& of_scope : of_resource.scope_logs())
      for (const auto& record : of_scope.log_records()) {
        if (decoded.events.size() == kPayloadRecordsMax)
          return fail(Errc::invalid, "the payload has more than {} records", kPayloadRecordsMax);
        LogEvent event;
        event.time = from_otlp_time(record.time_unix_nano());
        event.observed = from_otlp_time(record.observed_time_unix_nano());
        event.severity = static_cast<Severity>(record.severity_number());
        event.severity_text = record.severity_text();
        if (record.body().value_case() == otlp::AnyValue::kStringValue)
          event.body = record.body().string_value();
        else if (record.has_body())
          ++decoded.not_shown;
        event.event_name = record.event_name();
        event.attributes = get_attributes(record.attributes(), decoded.not_shown);
        decoded.events.push_back(std::move(event));
      }
  }
  return decoded;
}

}  // namespace postern
