#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/bytes.h"
#include "wire/batch.h"
#include "wire/stream.h"

namespace postern::wire {

/// channel.md, table of frames.
enum class Type : std::uint8_t {
  hello = 1,
  welcome,
  refused,
  ping,
  pong,
  batch,
  offer,
  stored,
  settled,
  answer,
  credit,
  head,
  document,
  request,
  reply,
  notice,
  path,
  move,
  credential,
  presence,
};
const char* to_string(Type type);

/// Reason codes of `refused` (channel.md#W28).
enum class Refusal : std::uint8_t {
  no_certificate = 1,
  unknown_ca,
  expired,
  not_yet_valid,
  wrong_name,
  wrong_usage,
  bad_certificate,
  wrong_group,
  version,
  pending_approval,
  rejected,
  removed,
  not_a_parent,
  wrong_role,
  clash,
  bad_proof,
  protocol,
  busy,
  loop,
  stopping,
  wrong_parent,
  superseded,
  issuer_expired,
  issuer_not_yet_valid,
  bad_chain,
  weak_key,
  weak_signature,
  not_an_end_entity,
  malformed,
  revoked,
};
/// Of a code that came over the wire; what does not fit is one that nobody knows.
Refusal refusal_of_code(std::uint32_t code);
const char* to_string(Refusal reason);  // "pending_approval"; "unknown" for what a newer peer says

inline constexpr std::size_t kFrameHeaderBytes = 8;
inline constexpr std::size_t kFrameBodyMax = 65'536;
inline constexpr std::size_t kControlMessageMax = 256u << 10;  // W11
inline constexpr std::size_t kBatchLaneMessageMax = (1u << 20) + 4096;
inline constexpr std::size_t kPingBytes = 8;
inline constexpr std::size_t kFirstMessageMax = 64u << 10;
static_assert(kBatchMessageBytesMax <= kBatchLaneMessageMax);

/// One message: what frames carry. `lane` 0 is control. The body is shared because the same bytes
/// go to the disk and to the socket.
struct Message {
  Type type = Type::ping;
  std::uint8_t lane = 0;
  bool critical = true;
  SharedBytes body;

  ByteView bytes() const { return body ? ByteView(*body) : ByteView(); }
};
Message make_message(Type type, Bytes body, std::uint8_t lane = 0);

/// Cuts queued messages into frames, by lane order (W13). Bounded by its user: see queued_bytes().
class FrameWriter {
 public:
  void queue(Message message);
  bool empty() const { return queued_bytes_ == 0 && queued_messages_ == 0; }
  /// Bodies not yet cut into frames.
  std::size_t queued_bytes() const { return queued_bytes_; }
  /// Appends the next frame, header and body, to `out`. False when nothing is queued.
  bool next_frame(Bytes& out);

 private:
  struct Pending {
    Message message;
    std::size_t sent = 0;
  };
  std::array<std::deque<Pending>, 4> lanes_;
  std::size_t queued_bytes_ = 0;
  std::size_t queued_messages_ = 0;
};

/// Puts frames together again. Feed it what was received; take messages until there is none.
/// After an error the channel must be closed: the reader stays failed.
class FrameReader {
 public:
  /// Until raise_limit() only messages up to kFirstMessageMax are read.
  void raise_limit() { limit_raised_ = true; }
  /// `invalid` names what W10 to W12 forbid. Unknown non-critical frames are skipped and counted.
  Result<> feed(ByteView bytes);
  std::optional<Message> next();
  std::uint64_t skipped() const { return skipped_; }
  /// True when no half message is held, so buffers can be released.
  bool idle() const;

 private:
  Result<> take_frame(std::uint8_t type, std::uint8_t flags, std::uint8_t lane, ByteView body);
  std::size_t message_max(std::uint8_t lane) const;

  struct Partial {
    std::uint8_t type = 0;
    bool open = false;
    Bytes body;
  };
  Bytes buffer_;  // an incomplete frame
  std::array<Partial, 4> partial_;
  std::deque<Message> ready_;
  bool limit_raised_ = false;
  bool failed_ = false;
  std::uint64_t skipped_ = 0;
};

}  // namespace postern::wire
