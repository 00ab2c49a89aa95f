#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/certificate.h"
#include "wire/frame.h"

namespace postern {

inline constexpr std::size_t kDrainedBelowBytes = 256u << 10;        // of what send() queued
inline constexpr std::size_t kUndeliveredBytesMax = 4u << 20;        // waiting in the core
inline constexpr Duration kFlushTimeMax = std::chrono::seconds(1);   // of close() and refuse()
inline constexpr Duration kLingerTimeMax = std::chrono::seconds(2);  // for the peer's own close

/// The other end of a channel, as TLS showed it. `chain` is never empty, leaf first, and has passed
/// why_refused() against the group's anchors; whether its name is the one the hello claims is for
/// the product to check (channel.md#W5).
struct ChannelPeer {
  std::string address;  // "192.0.2.1:40312", "[2001:db8::1]:40312"
  std::vector<Certificate> chain;
  std::array<std::byte, 32> exporter{};  // "EXPORTER-postern-channel", empty context (W22)
  Digest own_tls_key{};                  // SHA-256 of our key's SPKI in this very connection
  bool dialled = false;                  // we dialled
  std::string dialled_name;              // what we required of its certificate; "" when accepted
};

/// Why one side wants no channel with the other (W28).
struct RefusalNotice {
  wire::Refusal reason = wire::Refusal::protocol;  // may be a number this version has no name for
  std::string words;       // for an operator; printable and at most 1 KiB when from a peer
  WallTime time{};         // the refuser's clock
  Duration retry_after{};  // 0: no word about it
  std::string refuser;     // the name it gave
  bool by_us = false;
};

class Channel;

/// What a channel tells its user, on the core loop. The handler outlives the channel's use of it:
/// until on_closed returned or set_handler(nullptr) was called.
class ChannelHandler {
 public:
  virtual ~ChannelHandler() = default;
  /// Whole messages in the order the peer's frames completed them; never of type refused.
  virtual void on_message(Channel& channel, wire::Message message) = 0;
  /// queued_bytes() fell below kDrainedBelowBytes again.
  virtual void on_drained(Channel& channel) { static_cast<void>(channel); }
  /// The peer sent `refused`, or broke the protocol and we refused it (notice.by_us). on_closed
  /// follows. refuse() by the product itself is not reported here.
  virtual void on_refused(Channel& channel, const RefusalNotice& notice) = 0;
  /// Called exactly once, also after close(): `why` says who ended it. Nothing follows.
  virtual void on_closed(Channel& channel, const Error& why) = 0;
};

/// One authenticated TLS connection that carries messages. Used from the core loop only, and only
/// while the core's and its own loop exist. shared_ptr: its own loop holds it until it is closed,
/// the product as long as it likes; calls on a closed channel do nothing.
///
/// An interface, so that products can be tested with a channel that only records.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  virtual ~Channel() = default;

  /// Set it in the call that hands over the channel; nullptr: what comes is dropped.
  virtual void set_handler(ChannelHandler* handler) = 0;

  /// Queues; never blocks, never calls the handler. Lanes are served in the order 0 to 3, frame by
  /// frame (W13). Unbounded by itself: the caller watches queued_bytes().
  virtual void send(wire::Message message) = 0;
  /// Bodies of messages not yet given to the kernel.
  virtual std::size_t queued_bytes() const = 0;

  /// Messages may have their full size from now on (W11). In effect before anything that is sent
  /// after this call leaves: raise it, then send welcome.
  virtual void raise_limit() = 0;
  /// Moves the connection for good to loop `hash` % n (rule C2). Once, at best between hello and
  /// welcome; sends and arrivals keep their order across the move.
  virtual void settle_on(std::uint64_t hash) = 0;

  /// Sends what is queued (for kFlushTimeMax), says goodbye and closes. on_closed comes with `why`.
  virtual void close(std::string why) = 0;
  /// Sends `refused` as the last frame and closes: queued batches are dropped, nothing that comes
  /// is delivered any more. on_closed comes with the words.
  virtual void refuse(wire::Refusal reason, std::string words, Duration retry_after = {}) = 0;
  virtual bool open() const = 0;  // false once closing began, on whichever side, as the core knows

  virtual const ChannelPeer& peer() const = 0;
  virtual std::uint64_t id() const = 0;         // unique in the process; for logs and tables
  virtual TimePoint last_received() const = 0;  // any byte (W14); at first, the handshake's end
};

}  // namespace postern
