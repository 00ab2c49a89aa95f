#include <algorithm>

#include "base/utf8.h"
#include "model/otlp_values.h"

namespace postern {
namespace {

constexpr std::uint32_t kNoRecordedValue = 1;  // flag of a data point

bool same_metric(const Measurement& a, const Measurement& b) {
  return a.name == b.name && a.unit == b.unit && a.description == b.description && a.kind == b.kind;
}

void describe_metric(otlp::Metric& metric, const Measurement& measurement) {
  metric.set_name(to_utf8(measurement.name));
  metric.set_unit(to_utf8(measurement.unit));
  metric.set_description(to_utf8(measurement.description));
  if (measurement.kind == MeasurementKind::gauge) {
    metric.mutable_gauge();
    return;
  }
  metric.mutable_sum()->set_aggregation_temporality(otlp::AGGREGATION_TEMPORALITY_CUMULATIVE);
  metric.mutable_sum()->set_is_monotonic(measurement.kind == MeasurementKind::monotonic_sum);
}

void add_point(otlp::Metric& metric, const Measurement& measurement) {
  otlp::NumberDataPoint& point = metric.has_gauge() ? *metric.mutable_gauge()->add_data_points()
                                                    : *metric.mutable_sum()->add_data_points();
  if (measurement.start) point.set_start_time_unix_nano(to_otlp_time(*measurement.start));
  point.set_time_unix_nano(to_otlp_time(measurement.time));
  if (const auto* integer = std::get_if<std::int64_t>(&measurement.value))
    point.set_as_int(*integer);
  else
    point.set_as_double(std::get<double>(measurement.value));
  add_attributes(*point.mutable_attributes(), measurement.attributes);
}

std::optional<Measurement> read_point(const Measurement& metric, const otlp::NumberDataPoint& point,
                                      std::uint32_t& not_shown) {
  Measurement measurement = metric;
  if ((point.flags() & kNoRecordedValue) != 0) return std::nullopt;
  if (point.value_case() == otlp::NumberDataPoint::kAsInt)
    measurement.value = point.as_int();
  else if (point.value_case() == otlp::NumberDataPoint::kAsDouble)
    measurement.value = point.as_double();
  else
    return std::nullopt;
  if (point.start_time_unix_nano() != 0)
    measurement.start = from_otlp_time(point.start_time_unix_nano());
  measurement.time = from_otlp_time(point.time_unix_nano());
  measurement.attributes = get_attributes(point.attributes(), not_shown);
  return measurement;
}

void read_metric(const otlp::Metric& metric, DecodedMetrics& out) {
  const bool delta = metric.has_sum() && metric.sum().aggregation_temporality() !=
                                             otlp::AGGREGATION_TEMPORALITY_CUMULATIVE;
  if (delta || metric.data_case() == otlp::Metric::DATA_NOT_SET) {
    ++out.not_shown;
    return;
  }
  Measurement described;
  described.name = metric.name();
  described.unit = metric.unit();
  described.description = metric.description();
  if (metric.has_sum())
    described.kind =
        metric.sum().is_monotonic() ? MeasurementKind::monotonic_sum : MeasurementKind::sum;
  const auto& points = metric.has_sum() ? metric.sum().data_points() : metric.gauge().data_points();
  for (const otlp::NumberDataPoint& point : points) {
    if (auto measurement = read_point(described, point, out.not_shown))
      out.measurements.push_back(std::move(*measurement));
    else
      ++out.not_shown;
  }
}

/// One payload may name a metric once and have very many points, each of which gets the name.
Result<> check_expansion(const otlp::ExportMetricsServiceRequest& request) {
  std::size_t records = 0, bytes = 0;
  for (const auto& of_resource : request.resource_metrics())
    for (const auto& of_scope : of_resource.scope_metrics())
      for (const auto& metric : of_scope.metrics()) {
        const auto points = static_cast<std::size_t>(metric.gauge().data_points_size()) +
                            static_cast<std::size_t>(metric.sum().data_points_size());
        records += points;
        bytes +=
            points * (metric.name().size() + metric.unit().size() + metric.description().size());
      }
  if (records > kPayloadRecordsMax)
    return fail(Errc::invalid, "the payload has {} data points, at most {} are allowed", records,
                kPayloadRecordsMax);
  if (bytes > kPayloadUncompressedBytesMax)
    return fail(Errc::invalid,
                "the payload's metric names repeated for each point are {} bytes, at most {} are "
                "allowed",
                bytes, kPayloadUncompressedBytesMax);
  return {};
}

}  // namespace

Result<Payload> encode_metrics(const Resource& resource,
                               std::span<const Measurement> measurements) {
  otlp::ExportMetricsServiceRequest request;
  auto& of_resource = *request.add_resource_metrics();
  add_attributes(*of_resource.mutable_resource()->mutable_attributes(), resource.attributes);
  auto& of_scope = *of_resource.add_scope_metrics();
  describe_scope(*of_scope.mutable_scope());

  const Measurement* previous = nullptr;
  otlp::Metric* metric = nullptr;
  for (const Measurement& measurement : measurements) {
    if (previous == nullptr || !same_metric(*previous, measurement)) {
      metric = of_scope.add_metrics();
      describe_metric(*metric, measurement);
    }
    add_point(*metric, measurement);
    previous = &measurement;
  }

  auto payload = seal_payload(OtlpRequest::metrics, request, measurements.size());
  if (!payload) return payload;
  const auto [first, last] =
      std::minmax_element(measurements.begin(), measurements.end(),
                          [](const auto& a, const auto& b) { return a.time < b.time; });
  payload->first = first->time;
  payload->last = last->time;
  return payload;
}

Result<DecodedMetrics> decode_metrics(ByteView compressed, std::uint32_t raw_bytes) {
  otlp::ExportMetricsServiceRequest request;
  if (auto opened = open_payload(OtlpRequest::metrics, compressed, raw_bytes, request); !opened)
    return std::unexpected(opened.error());
  if (request.resource_metrics_size() > 1)
    return fail(Errc::invalid, "the payload is about {} resources, a batch is about one",
                request.resource_metrics_size());
  if (auto expansion = check_expansion(request); !expansion)
    return std::unexpected(expansion.error());

  DecodedMetrics decoded;
  for (const auto& of_resource : request.resource_metrics()) {
    decoded.resource.attributes =
        get_attributes(of_resource.resource().attributes(), decoded.not_shown);
    for (const auto& of_scope : of_resource.scope_metrics())
      for (const auto& metric : of_scope.metrics()) read_metric(metric, decoded);
  }
  return decoded;
}

}  // namespace postern
