#pragma once

// For net's own .cc files: the TLS handshake of either side, and our judgement right after it.

#include <memory>
#include <optional>
#include <string>

#include "net/channel.h"
#include "net/loop.h"
#include "net/stream.h"

namespace postern {

/// Drives one handshake on one loop. `done` is called there once, with the stream, unless abandon()
/// came first. It has no deadline of its own.
class Handshake final : public Loop::Watcher, public std::enable_shared_from_this<Handshake> {
 public:
  using Done = std::move_only_function<void(std::unique_ptr<TlsStream> stream, IoOutcome outcome)>;

  Handshake(Loop& loop, std::unique_ptr<TlsStream> stream, Done done)
      : loop_(loop), stream_(std::move(stream)), done_(std::move(done)) {}
  void start();
  void abandon();
  void on_ready(bool readable, bool writable) override;

 private:
  Loop& loop_;
  std::unique_ptr<TlsStream> stream_;
  Done done_;
};

/// What a finished handshake showed, and what we have against it (rules C8, T1).
struct Judgement {
  ChannelPeer peer;
  std::optional<RefusalNotice> objection;  // by_us
};
/// `dialled_name`: whom we dialled; nullopt when we were dialled.
Judgement judge(const TlsStream& stream, const TlsContext& context, std::string address,
                const std::optional<std::string>& dialled_name);

/// The body of `refused`, and back. `invalid` when it is none.
Bytes encode_refused(const RefusalNotice& notice);
Result<RefusalNotice> decode_refused(ByteView body);

}  // namespace postern
