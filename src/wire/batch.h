#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "wire/stream.h"

namespace postern::wire {

enum class PayloadKind : std::uint8_t {
  metrics = 1,
  logs = 2,
  gap = 3,
  epoch_opening = 4,
  probe = 5,
  release = 6,
  sealed_again = 7
};
enum class Compression : std::uint8_t { none = 0, zstd = 1 };

inline constexpr std::size_t kBatchHeaderBytes = 216;
inline constexpr std::size_t kBatchSignedBytes = 152;
inline constexpr std::uint32_t kPayloadBytesMax = 1u << 20;  // as sent (batch.md#B11)
inline constexpr std::uint32_t kRawBytesMax = 16u << 20;     // uncompressed
inline constexpr std::uint32_t kRecordsMax = 65'536;
inline constexpr std::size_t kStampsMax = 32;
inline constexpr std::size_t kStampBytes = 24;
/// A batch that is sealed again holds another one whole (batch.md#B28).
inline constexpr std::uint32_t kSealedAgainBytesMax = kBatchHeaderBytes + kPayloadBytesMax;
inline constexpr std::size_t kBatchMessageBytesMax =
    1 + kStampsMax * kStampBytes + kBatchHeaderBytes + kSealedAgainBytesMax;
inline constexpr std::string_view kBatchContext = "postern batch v1";

/// The header of a batch, decoded (batch.md, "The batch").
struct BatchHeader {
  StreamKey stream;
  std::uint64_t sequence = 0;
  PayloadKind kind = PayloadKind::metrics;
  Compression compression = Compression::none;
  Digest previous{};
  WallTime first{}, last{}, sealed{};
  std::uint32_t records = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t raw_bytes = 0;
  Digest payload_hash{};
  Signature signature{};
  bool operator==(const BatchHeader&) const = default;
};

/// The 152 bytes that are signed and whose SHA-256 is the batch hash (B10, B12).
Bytes encode_signed_part(const BatchHeader& header);

/// A batch as it lies in a buffer: nothing is copied. The views live as long as the buffer.
struct BatchView {
  BatchHeader header;
  ByteView signed_part;  // 152 bytes, as sent
  ByteView payload;
  ByteView whole;  // header and payload
};

/// Reads header and bounds of a batch (B11, B13). Verifies neither signature nor payload hash.
Result<BatchView> read_batch(ByteView bytes);

/// The batch in the payload of one that was sealed again (B28): the first one of this content.
/// `invalid` unless it is of the same node and lane and holds what somebody observed. Verifies
/// neither signature nor payload hash.
Result<BatchView> read_sealed_again(const BatchView& batch);

/// Who handed it on, and when it arrived there (B15).
struct Stamp {
  NodeId from;
  WallTime received{};
  bool operator==(const Stamp&) const = default;
};

/// Stamps, then a batch: a spool record and a channel message (B16). Also what a head travels in.
struct Stamped {
  std::vector<Stamp> stamps;
  ByteView body;
};
Result<Stamped> read_stamped(ByteView bytes);
Bytes write_stamped(std::span<const Stamp> stamps, ByteView body);
/// The same message with one more stamp. `exhausted` when it has kStampsMax already.
Result<Bytes> add_stamp(ByteView message, const Stamp& stamp);

/// Gap record (B20): these batches do not exist any more, by the word of their origin.
struct GapRecord {
  enum class Reason : std::uint8_t {
    shed = 1,
    removed = 2,
    unreadable = 3,
    exported = 4,
    set_back = 5
  };
  StreamKey stream;
  std::uint64_t first = 0, last = 0;
  Digest before{}, at_last{};
  WallTime first_time{}, last_time{};
  std::uint64_t records = 0, bytes = 0;
  Reason reason = Reason::shed;
  bool operator==(const GapRecord&) const = default;
};
Bytes encode(const GapRecord& gap);
Result<GapRecord> decode_gap(ByteView payload);
const char* to_string(GapRecord::Reason reason);  // "shed for space"

/// Release record (B25): of these batches the origin has no copy any more; `parent` has stored
/// them.
struct ReleaseRecord {
  StreamKey stream;
  std::uint64_t first = 0, last = 0;
  Digest at_last{};
  NodeId parent;
  bool operator==(const ReleaseRecord&) const = default;
};
Bytes encode(const ReleaseRecord& release);
Result<ReleaseRecord> decode_release(ByteView payload);

inline constexpr std::size_t kProbeIdBytes = 16;  // payload of a trace probe (B27)

/// Epoch opening (B24).
struct EpochOpening {
  enum class Reason : std::uint8_t { new_folder = 1, unreadable = 2, rolled_back = 3 };
  Epoch previous;
  Reason reason = Reason::new_folder;
  struct Last {
    std::uint64_t sequence = 0;
    Digest hash{};
    bool operator==(const Last&) const = default;
  };
  Last lanes[3];
  bool operator==(const EpochOpening&) const = default;
};
Bytes encode(const EpochOpening& opening);
Result<EpochOpening> decode_epoch_opening(ByteView payload);

}  // namespace postern::wire
