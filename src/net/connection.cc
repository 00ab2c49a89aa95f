#include "net/connection.h"

#include "net/handshake.h"

namespace postern {
namespace {

constexpr std::size_t kReadBytesPerTurn = 256u << 10;  // then others on the loop have theirs
constexpr std::size_t kWriteBytesPerTurn = 64u << 10;
constexpr std::size_t kMessageOverheadBytes = 64;  // so that empty messages count too
constexpr std::size_t kResumeBelowBytes = kUndeliveredBytesMax / 2;
constexpr std::size_t kLingerBytesMax = 16u << 20;

std::size_t weight(const wire::Message& message) {
  return message.bytes().size() + kMessageOverheadBytes;
}

}  // namespace

Connection::Connection(Origin origin, std::unique_ptr<Stream> stream)
    : loops_(origin.loops),
      id_(origin.id),
      peer_(std::move(origin.peer)),
      tls_(std::move(origin.tls)),
      counters_(std::move(origin.counters)),
      last_received_(origin.loop.now().time_since_epoch().count()),
      home_(&origin.loop),
      loop_(&origin.loop),
      stream_(std::move(stream)),
      ticket_(std::move(origin.ticket)) {}

// ---- the core's half

void Connection::send(wire::Message message) {
  if (ending_) return;
  queued_ += message.bytes().size();
  outbox_.push_back(std::move(message));
  // One task for everything that is sent in this turn of the core.
  if (outbox_.size() == 1) loops_.core().post([self = self()] { self->flush_outbox(); });
}

void Connection::flush_outbox() {
  if (outbox_.empty()) return;
  command([messages = take_outbox()](Connection& c) {
    c.queue_all(*messages);
    if (c.state_ == State::open && !c.write_blocked_) c.write_some();
  });
}

std::shared_ptr<std::vector<wire::Message>> Connection::take_outbox() {
  // Shared: a command can be copied, and the messages must not be.
  return std::make_shared<std::vector<wire::Message>>(std::exchange(outbox_, {}));
}

void Connection::command(std::function<void(Connection&)> what) {
  if (moving_)
    held_.push_back(std::move(what));
  else
    home_->post([self = self(), what = std::move(what)] { what(*self); });
}

void Connection::raise_limit() {
  command([](Connection& c) {
    c.limit_raised_ = true;
    if (c.reader_) c.reader_->raise_limit();
  });
}

void Connection::settle_on(std::uint64_t hash) {
  Loop& target = loops_.at(hash % loops_.size());
  if (moved_ || ending_ || &target == home_) return;
  flush_outbox();
  moved_ = moving_ = true;
  home_->post([self = self(), &target] { self->depart(target); });
}

void Connection::arrived(Loop& loop) {
  home_ = &loop;
  moving_ = false;
  for (auto& what : std::exchange(held_, {})) command(std::move(what));
}

void Connection::close(std::string why) {
  if (ending_) return;
  flush_outbox();
  ending_ = true;
  command([why = std::move(why)](Connection& c) { c.begin_close({Errc::unavailable, why}); });
}

void Connection::refuse(wire::Refusal reason, std::string words, Duration retry_after) {
  if (ending_) return;
  ending_ = true;
  RefusalNotice notice{reason, std::move(words), tls_->now(), retry_after, tls_->name(), true};
  // In one step with what is not handed over yet, so that no batch of it goes out in between.
  command([messages = take_outbox(), notice = std::move(notice)](Connection& c) {
    c.queue_all(*messages);
    c.begin_refuse(notice);
  });
}

void Connection::deliver(std::vector<wire::Message> messages) {
  for (wire::Message& message : messages) {
    const std::size_t bytes = weight(message);
    if (handler_ != nullptr && !ending_) handler_->on_message(*this, std::move(message));
    const std::size_t before = undelivered_.fetch_sub(bytes);
    if (before > kResumeBelowBytes && before - bytes <= kResumeBelowBytes)
      command([](Connection& c) {
        if (!std::exchange(c.paused_, false) || !c.stream_) return;
        c.watch_for_what_matters();
        c.read_some();
      });
  }
}

void Connection::deliver_refused(const RefusalNotice& notice) {
  if (handler_ != nullptr && !ending_) handler_->on_refused(*this, notice);
}

void Connection::deliver_closed(const Error& why) {
  ending_ = true;
  outbox_.clear();
  if (std::exchange(told_closed_, true)) return;
  if (ChannelHandler* handler = std::exchange(handler_, nullptr)) handler->on_closed(*this, why);
}

// ---- its loop's half

void Connection::queue_all(std::vector<wire::Message>& messages) {
  if (state_ != State::open || messages.empty()) return;
  if (!writer_) writer_.emplace();
  for (wire::Message& message : messages) writer_->queue(std::move(message));
}

void Connection::open_for_messages() {
  loop_->watch(stream_->descriptor(), true, false, self());
  if (stream_->holds_unread()) read_some();
}

void Connection::turn_away(const RefusalNotice& notice) {
  loop_->watch(stream_->descriptor(), true, false, self());
  begin_refuse(notice);
}

void Connection::on_ready(bool readable, bool writable) {
  if (readable && stream_) read_some();
  if (writable && stream_) write_some();
}

void Connection::watch_for_what_matters() {
  if (stream_) loop_->rewatch(stream_->descriptor(), !paused_, write_blocked_);
}

void Connection::read_some() {
  if (paused_) return;
  std::vector<wire::Message> arrived;
  std::size_t total = 0;
  for (bool more = true; more && total < kReadBytesPerTurn;) {
    const IoOutcome outcome = stream_->read(loop_->scratch());
    switch (outcome.kind) {
      case IoOutcome::Kind::want_read:
      case IoOutcome::Kind::want_write:
        more = false;
        break;
      case IoOutcome::Kind::closed:
      case IoOutcome::Kind::failed:
        hand_over(std::move(arrived));
        end({Errc::unavailable, outcome.words});
        return;
      case IoOutcome::Kind::done:
        total += outcome.bytes;
        last_received_ = loop_->now().time_since_epoch().count();
        if (!take(loop_->scratch().first(outcome.bytes), arrived)) return;
    }
  }
  hand_over(std::move(arrived));
  // Level-triggered readiness knows the socket, not what TLS has already taken out of it.
  if (stream_ && !paused_ && stream_->holds_unread())
    loop_->post([self = self(), at = loop_] {
      if (self->loop_ == at && self->stream_) self->read_some();
    });
}

/// False when the connection ended, or is ending, by these bytes.
bool Connection::take(ByteView bytes, std::vector<wire::Message>& arrived) {
  if (state_ != State::open) {
    lingered_bytes_ += bytes.size();
    if (state_ == State::lingering && lingered_bytes_ > kLingerBytesMax) {
      end(why_closed_);
      return false;
    }
    return true;
  }
  if (!reader_) {
    reader_.emplace();
    if (limit_raised_) reader_->raise_limit();
  }
  const Result<> fed = reader_->feed(bytes);
  while (auto message = reader_->next()) {
    if (message->type != wire::Type::refused) {
      arrived.push_back(std::move(*message));
      continue;
    }
    hand_over(std::exchange(arrived, {}));
    auto notice = decode_refused(message->bytes());
    if (!notice) {
      broke_protocol(notice.error());
      return true;
    }
    if (counters_) of_code(counters_->refused_by_peer, notice->reason)++;
    std::string words =
        fmt::format("the peer refused us ({}): {}", wire::to_string(notice->reason), notice->words);
    loops_.core().post(
        [self = self(), notice = std::move(*notice)] { self->deliver_refused(notice); });
    begin_close({Errc::denied, std::move(words)});  // it was the peer's last frame
    return stream_ != nullptr;
  }
  if (!fed) {
    hand_over(std::exchange(arrived, {}));
    broke_protocol(fed.error());
    return stream_ != nullptr;
  }
  if (reader_->idle()) reader_.reset();
  return true;
}

void Connection::hand_over(std::vector<wire::Message> messages) {
  if (messages.empty()) return;
  std::size_t bytes = 0;
  for (const wire::Message& message : messages) bytes += weight(message);
  if (undelivered_.fetch_add(bytes) + bytes > kUndeliveredBytesMax) {
    paused_ = true;
    watch_for_what_matters();
  }
  loops_.core().post([self = self(), messages = std::move(messages)]() mutable {
    self->deliver(std::move(messages));
  });
}

void Connection::broke_protocol(const Error& error) {
  if (counters_) counters_->garbage++;
  RefusalNotice notice{wire::Refusal::protocol, error.message, tls_->now(), {}, tls_->name(), true};
  loops_.core().post([self = self(), notice] { self->deliver_refused(notice); });
  begin_refuse(notice);
}

/// Cuts frames into out_, up to one turn's worth.
void Connection::fill() {
  out_.clear();
  out_written_ = out_bodies_ = 0;
  while (writer_ && out_.size() < kWriteBytesPerTurn) {
    const std::size_t at = out_.size();
    const std::size_t queued = writer_->queued_bytes();
    if (!writer_->next_frame(out_)) break;
    out_bodies_ += queued - writer_->queued_bytes();
    const auto type = static_cast<wire::Type>(out_[at + 4]);  // channel.md, Frames
    if (refused_is_last_ && type == wire::Type::refused) {
      queued_ -= writer_->queued_bytes();
      writer_.reset();
    }
  }
  if (writer_ && writer_->empty()) writer_.reset();
}

void Connection::write_some() {
  if (out_written_ == out_.size()) fill();
  bool blocked = false;
  while (out_written_ < out_.size() && !blocked) {
    const IoOutcome outcome = stream_->write(ByteView(out_).subspan(out_written_));
    switch (outcome.kind) {
      case IoOutcome::Kind::done:
        out_written_ += outcome.bytes;
        break;
      case IoOutcome::Kind::want_read:
      case IoOutcome::Kind::want_write:
        blocked = true;
        break;
      case IoOutcome::Kind::closed:
      case IoOutcome::Kind::failed:
        // What the peer said before it went, perhaps `refused`, is still to be read.
        write_blocked_ = false;
        Bytes().swap(out_);
        out_written_ = 0;
        writer_.reset();
        if (state_ == State::open)
          begin_close({Errc::unavailable, outcome.words});
        else if (state_ == State::flushing)
          half_close();
        return;
    }
  }
  if (out_written_ == out_.size() && out_bodies_ > 0) {
    const std::size_t before = queued_.fetch_sub(out_bodies_);
    if (before >= kDrainedBelowBytes && before - out_bodies_ < kDrainedBelowBytes)
      loops_.core().post([self = self()] {
        if (self->handler_ != nullptr && !self->ending_) self->handler_->on_drained(*self);
      });
    out_bodies_ = 0;
  }
  const bool more = blocked || writer_.has_value();
  if (!more) {
    Bytes().swap(out_);
    out_written_ = 0;
  }
  // More waits until the kernel asks (TCP_NOTSENT_LOWAT): what is cut late can still be overtaken.
  if (more != write_blocked_) {
    write_blocked_ = more;
    watch_for_what_matters();
  }
  if (!more && state_ == State::flushing) half_close();
}

void Connection::begin_close(Error why) {
  if (state_ != State::open) return;
  state_ = State::flushing;
  why_closed_ = std::move(why);
  paused_ = false;  // from here on what comes is thrown away
  reader_.reset();
  watch_for_what_matters();
  timer_ = loop_->after(kFlushTimeMax, [weak = weak_from_this()] {
    if (auto alive = weak.lock()) static_cast<Connection&>(*alive).half_close();
  });
  if (!write_blocked_) write_some();
}

void Connection::begin_refuse(const RefusalNotice& notice) {
  if (state_ != State::open) return;
  refused_is_last_ = true;
  if (!writer_) writer_.emplace();
  wire::Message message = wire::make_message(wire::Type::refused, encode_refused(notice));
  queued_ += message.bytes().size();
  writer_->queue(std::move(message));
  begin_close({Errc::denied,
               fmt::format("refused ({}): {}", wire::to_string(notice.reason), notice.words)});
}

/// Nothing more to say. A close() right now would answer what the peer still sends with a reset,
/// and that could overtake our last frame: so wait a little for the peer to hang up (rule C8).
void Connection::half_close() {
  if (state_ != State::flushing) return;
  state_ = State::lingering;
  write_blocked_ = false;
  watch_for_what_matters();
  stream_->end_writing();
  report_closed(why_closed_);
  timer_ = loop_->after(kLingerTimeMax, [weak = weak_from_this()] {
    if (auto alive = weak.lock()) {
      auto& connection = static_cast<Connection&>(*alive);
      connection.end(connection.why_closed_);
    }
  });
}

void Connection::report_closed(Error why) {
  if (std::exchange(reported_closed_, true)) return;
  loops_.core().post([self = self(), why = std::move(why)] { self->deliver_closed(why); });
}

void Connection::end(Error why) {
  if (state_ == State::ended) return;
  report_closed(state_ == State::open ? std::move(why) : why_closed_);
  state_ = State::ended;
  timer_.cancel();
  loop_->unwatch(stream_->descriptor());
  stream_.reset();
  reader_.reset();
  writer_.reset();
  Bytes().swap(out_);
  ticket_.reset();
}

void Connection::depart(Loop& target) {
  if (state_ != State::open) {
    loops_.core().post([self = self(), at = loop_] { self->arrived(*at); });
    return;
  }
  loop_->unwatch(stream_->descriptor());
  loop_ = &target;  // nobody reads it until the target does
  target.post([self = self(), &target] { self->arrive(target); });
}

void Connection::arrive(Loop& target) {
  target.watch(stream_->descriptor(), !paused_, write_blocked_, self());
  loops_.core().post([self = self(), &target] { self->arrived(target); });
  if (stream_->holds_unread()) read_some();
}

}  // namespace postern
