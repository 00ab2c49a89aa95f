#include "model/otlp_values.h"

namespace postern {
namespace {

/// zstd adds less than one part in 200 to bytes it cannot compress, so what fits uncompressed with
/// some room fits compressed as well.
constexpr std::size_t kRunBytesMax = kPayloadCompressedBytesMax - kPayloadCompressedBytesMax / 16;

std::size_t encoded_bytes_max(const Measurement& measurement) {
  return kRecordOverheadBytes +
         3 * (measurement.name.size() + measurement.unit.size() + measurement.description.size()) +
         encoded_bytes_max(measurement.attributes);
}

std::size_t encoded_bytes_max(const EntityState& state) {
  return kRecordOverheadBytes + 3 * state.type.size() + encoded_bytes_max(state.id) +
         encoded_bytes_max(state.attributes);
}

std::size_t encoded_bytes_max(const LogEvent& event) {
  return kRecordOverheadBytes +
         3 * (event.body.size() + event.severity_text.size() + event.event_name.size()) +
         encoded_bytes_max(event.attributes);
}

template <typename Record>
std::vector<std::span<const Record>> split(const Resource& resource,
                                           std::span<const Record> records) {
  const std::size_t fixed = kRecordOverheadBytes + encoded_bytes_max(resource.attributes);
  std::vector<std::span<const Record>> runs;
  std::size_t begin = 0, bytes = fixed;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const std::size_t more = encoded_bytes_max(records[i]);
    if (i > begin && (bytes + more > kRunBytesMax || i - begin == kPayloadRecordsMax)) {
      runs.push_back(records.subspan(begin, i - begin));
      begin = i;
      bytes = fixed;
    }
    bytes += more;
  }
  if (begin < records.size()) runs.push_back(records.subspan(begin));
  return runs;
}

}  // namespace

std::vector<std::span<const Measurement>> split_for_payload(
    const Resource& resource, std::span<const Measurement> measurements) {
  return split(resource, measurements);
}

std::vector<std::span<const EntityState>> split_for_payload(const Resource& resource,
                                                            std::span<const EntityState> states) {
  return split(resource, states);
}

std::vector<std::span<const LogEvent>> split_for_payload(const Resource& resource,
                                                         std::span<const LogEvent> events) {
  return split(resource, events);
}

}  // namespace postern
