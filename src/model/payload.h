#pragma once

#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "model/log_event.h"
#include "model/measurement.h"

namespace postern {

/// The limits of batch.md#B11 as they meet a payload.
inline constexpr std::uint32_t kPayloadCompressedBytesMax = 1u << 20;
inline constexpr std::uint32_t kPayloadUncompressedBytesMax = 16u << 20;
inline constexpr std::uint32_t kPayloadRecordsMax = 65'536;
/// Protobuf messages of all kinds inside one payload. Two bytes of input can become an object a
/// hundred times as large, so bytes alone bound no memory.
inline constexpr std::uint32_t kPayloadMessagesMax = 1u << 18;
inline constexpr int kPayloadNestingMax = 64;  // messages within messages
inline constexpr int kPayloadZstdLevel = 3;

/// What a batch carries and what its header says about it.
struct Payload {
  Bytes compressed;             // one zstd frame that states its content's size
  std::uint32_t raw_bytes = 0;  // uncompressed
  std::uint32_t records = 0;    // measurements or entity states
  WallTime first{};             // time of the oldest and newest record
  WallTime last{};
};

/// OTLP ExportMetricsServiceRequest. Bytes that are no UTF-8 become U+FFFD. `invalid` when there is
/// nothing to encode, `exhausted` when a limit is exceeded: split first.
Result<Payload> encode_metrics(const Resource& resource, std::span<const Measurement> measurements);

/// OTLP ExportLogsServiceRequest: each state one event record with the time `time`, event name
/// "entity.state" and the attributes otel.entity.event.type = "entity_state", otel.entity.type,
/// otel.entity.id and otel.entity.attributes (key-value lists), otel.entity.interval (ms, when
/// set). Errors as encode_metrics.
Result<Payload> encode_entity_states(const Resource& resource, std::span<const EntityState> states,
                                     WallTime time);

/// OTLP ExportLogsServiceRequest: each event one log record, its body a text. Errors as
/// encode_metrics.
Result<Payload> encode_logs(const Resource& resource, std::span<const LogEvent> events);

/// Cuts a list into runs, in order, each of which fits into one payload together with `resource`;
/// a record too large by itself is a run of its own, which encode_* then refuses.
std::vector<std::span<const Measurement>> split_for_payload(
    const Resource& resource, std::span<const Measurement> measurements);
std::vector<std::span<const EntityState>> split_for_payload(const Resource& resource,
                                                            std::span<const EntityState> states);
std::vector<std::span<const LogEvent>> split_for_payload(const Resource& resource,
                                                         std::span<const LogEvent> events);

struct DecodedMetrics {
  Resource resource;
  std::vector<Measurement> measurements;
  /// Metrics, points and attributes of kinds that Measurement does not know (histograms, delta
  /// sums, nested attributes, points without a value). They stay in the archived batch.
  std::uint32_t not_shown = 0;
};

struct DecodedEntityStates {
  Resource resource;
  std::vector<EntityState> states;
  WallTime time{};              // of the newest record
  std::uint32_t not_shown = 0;  // records that are no entity states, attributes of unknown kinds
};

struct DecodedLogs {
  Resource resource;
  std::vector<LogEvent> events;
  std::uint32_t not_shown = 0;  // bodies that are no text, attributes of unknown kinds
};

/// Reads what a peer sent. `raw_bytes` is what the batch header declares: the result must be
/// exactly that long. Every fault of the input is `invalid`, with words for the ledger. Allocates
/// `raw_bytes` and what at most kPayloadMessagesMax messages need, never more.
Result<DecodedMetrics> decode_metrics(ByteView compressed, std::uint32_t raw_bytes);
Result<DecodedEntityStates> decode_entity_states(ByteView compressed, std::uint32_t raw_bytes);
Result<DecodedLogs> decode_logs(ByteView compressed, std::uint32_t raw_bytes);

}  // namespace postern
