#pragma once

// For net's own .cc files: what is behind a Channel.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "net/channel.h"
#include "net/counters.h"
#include "net/loop.h"
#include "net/stream.h"
#include "wire/frame.h"

namespace postern {

/// One connection of postern/1 from the end of its handshake on. It has two halves: the members
/// under "core" are touched by the core loop only, those under "its loop" by the loop it lives on;
/// the halves talk by posted tasks and three atomic numbers. One object, because both need it until
/// the last task between them has run.
class Connection final : public Channel, public Loop::Watcher {
 public:
  struct Origin {
    Loops& loops;
    Loop& loop;  // where it lives at first; open() and turn_away() are called there
    std::uint64_t id;
    ChannelPeer peer;
    std::shared_ptr<const TlsContext> tls;         // for our name and time in refusals
    std::shared_ptr<AtomicPortCounters> counters;  // null when dialled
    std::shared_ptr<void> ticket;                  // let go when the connection ends; may be null
  };

  Connection(Origin origin, std::unique_ptr<Stream> stream);

  /// Begins to read. What must reach the core before the first message has been posted by now.
  void open_for_messages();
  /// Says why there is no channel, as the first and last frame (rule C8), and closes.
  void turn_away(const RefusalNotice& notice);

  void set_handler(ChannelHandler* handler) override { handler_ = handler; }
  void send(wire::Message message) override;
  std::size_t queued_bytes() const override { return queued_; }
  void raise_limit() override;
  void settle_on(std::uint64_t hash) override;
  void close(std::string why) override;
  void refuse(wire::Refusal reason, std::string words, Duration retry_after) override;
  bool open() const override { return !ending_; }
  const ChannelPeer& peer() const override { return peer_; }
  std::uint64_t id() const override { return id_; }
  TimePoint last_received() const override { return TimePoint(Duration(last_received_.load())); }

  void on_ready(bool readable, bool writable) override;

 private:
  enum class State { open, flushing, lingering, ended };

  std::shared_ptr<Connection> self() {
    return std::static_pointer_cast<Connection>(shared_from_this());
  }

  // core
  void flush_outbox();
  std::shared_ptr<std::vector<wire::Message>> take_outbox();
  void command(std::function<void(Connection&)> what);  // runs on its loop, in order, moved or not
  void deliver(std::vector<wire::Message> messages);
  void deliver_refused(const RefusalNotice& notice);
  void deliver_closed(const Error& why);
  void arrived(Loop& loop);

  // its loop
  void queue_all(std::vector<wire::Message>& messages);
  void read_some();
  bool take(ByteView bytes, std::vector<wire::Message>& arrived);
  void hand_over(std::vector<wire::Message> messages);
  void write_some();
  void fill();
  void begin_close(Error why);
  void begin_refuse(const RefusalNotice& notice);
  void broke_protocol(const Error& error);
  void half_close();
  void report_closed(Error why);
  void end(Error why);
  void depart(Loop& target);
  void arrive(Loop& target);
  void watch_for_what_matters();

  Loops& loops_;
  const std::uint64_t id_;
  const ChannelPeer peer_;
  const std::shared_ptr<const TlsContext> tls_;
  const std::shared_ptr<AtomicPortCounters> counters_;

  std::atomic<std::size_t> queued_ = 0;       // bodies between send() and the kernel
  std::atomic<std::size_t> undelivered_ = 0;  // bytes between the frames and the handler
  std::atomic<Duration::rep> last_received_;

  // core
  ChannelHandler* handler_ = nullptr;
  Loop* home_;  // where commands go
  std::vector<wire::Message> outbox_;
  std::vector<std::function<void(Connection&)>> held_;  // commands while it moves
  bool moving_ = false, moved_ = false;
  bool ending_ = false, told_closed_ = false;

  // its loop
  Loop* loop_;
  std::unique_ptr<Stream> stream_;  // null when ended
  State state_ = State::open;
  std::optional<wire::FrameReader> reader_;  // none while nothing is half read: idle costs nothing
  std::optional<wire::FrameWriter> writer_;  // likewise
  bool limit_raised_ = false;
  Bytes out_;                     // frames on their way into TLS
  std::size_t out_written_ = 0;   // of out_
  std::size_t out_bodies_ = 0;    // of out_, without headers
  bool refused_is_last_ = false;  // nothing is cut into frames after `refused`
  bool write_blocked_ = false;    // the kernel has enough for now
  bool paused_ = false;           // the core has enough for now
  bool reported_closed_ = false;
  std::size_t lingered_bytes_ = 0;
  Error why_closed_;
  Loop::Timer timer_;  // of flushing and lingering
  std::shared_ptr<void> ticket_;
};

}  // namespace postern
