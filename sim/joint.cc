#include <algorithm>

#include "sim/channel.h"
#include "sim/describe.h"

namespace postern::sim {

Joint::Joint(Wires& wires, std::uint64_t id, Host& dialler, Host& acceptor)
    : wires_(wires), id_(id) {
  ends_[0].host = &dialler;
  ends_[1].host = &acceptor;
  for (End& end : ends_) {
    end.life = end.host->life();
    end.last_received = wires.events_.now();
  }
}

bool Joint::here(int side) const {
  const End& end = ends_[side];
  return end.host->running() && end.host->life() == end.life;
}

void Joint::send(int side, wire::Message message) {
  End& end = ends_[side];
  if (end.closing || end.gone || !here(side)) return;
  if (wires_.tap_ != nullptr &&
      !wires_.tap_->leaving(*end.channel, *end.host, *ends_[1 - side].host, message))
    return;
  inject(side, std::move(message));
}

void Joint::inject(int side, wire::Message message) {
  End& end = ends_[side];
  if (end.closing || end.gone) return;
  if (wires_.link(*end.host, *ends_[1 - side].host).bytes_per_second == 0 &&
      end.waiting_bytes == 0 && !end.transmitting) {
    put(side, {Item::Kind::message, std::move(message), {}, {}, false});
    return;
  }
  end.waiting_bytes += message.bytes().size();
  end.waiting[message.lane & 3].push_back(std::move(message));
  transmit(side);
}

void Joint::transmit(int side) {
  End& end = ends_[side];
  if (end.transmitting || end.gone) return;
  for (auto& lane : end.waiting) {
    if (lane.empty()) continue;
    wire::Message message = std::move(lane.front());
    lane.pop_front();
    const std::uint64_t rate = wires_.link(*end.host, *ends_[1 - side].host).bytes_per_second;
    const std::uint64_t bytes = message.bytes().size() + 64;
    const Duration takes =
        rate == 0 ? Duration(0) : Duration(static_cast<std::int64_t>(bytes * 1'000'000'000 / rate));
    end.transmitting = true;
    wires_.events_.after(takes, [this, joint = ends_[side].channel, side,
                                 message = std::move(message)]() mutable {
      End& sender = ends_[side];
      sender.transmitting = false;
      if (sender.gone) return;
      const std::size_t before = sender.waiting_bytes;
      sender.waiting_bytes -= message.bytes().size();
      put(side, {Item::Kind::message, std::move(message), {}, {}, false});
      if (before >= kDrainedBelowBytes && sender.waiting_bytes < kDrainedBelowBytes && here(side) &&
          sender.handler != nullptr)
        sender.host->enter(sender.life, [&sender] { sender.handler->on_drained(*sender.channel); });
      transmit(side);
    });
    return;
  }
}

void Joint::put(int side, Item item) {
  End& end = ends_[side];
  if (!end.channel) return;
  end.under_way.push_back(std::move(item));
  const TimePoint soonest = wires_.events_.now() + wires_.delay(*end.host, *ends_[1 - side].host);
  end.last_arrival = std::max(end.last_arrival, soonest);
  wires_.events_.at(end.last_arrival, [keep = end.channel, this, side] { arrive(side); });
}

void Joint::arrive(int side) {
  End& sender = ends_[side];
  End& receiver = ends_[1 - side];
  if (sender.under_way.empty() || !sender.channel) return;
  const TimePoint now = wires_.events_.now();
  if (sender.stalled_until > now) {
    wires_.events_.at(sender.stalled_until, [keep = sender.channel, this, side] { arrive(side); });
    return;
  }
  Item item = std::move(sender.under_way.front());
  sender.under_way.pop_front();
  if (sender.vanished || wires_.link(*sender.host, *receiver.host).down) {
    sender.vanished = true;  // TCP lets nothing through behind a hole
    return;
  }
  if (receiver.gone || !here(1 - side)) {
    // Another process, or none: its kernel knows nothing of this connection.
    receiver.gone = true;
    if (receiver.host->powered() && !sender.gone) {
      wires_.coverage_.count("connection reset by a machine that forgot it");
      wires_.events_.after(wires_.delay(*sender.host, *receiver.host),
                           [keep = sender.channel, this, side] {  // set: it is not gone
                             end(side, {Errc::unavailable, "connection reset by peer"});
                           });
    }
    return;
  }
  receiver.last_received = now;
  if (receiver.closing) return;
  if (item.kind == Item::Kind::message) {
    wires_.trace_.note(static_cast<std::uint64_t>(item.message.type), id_ * 2 + side,
                       item.message.bytes().size());
    if (wires_.trace_.wants_lines() && item.message.type != wire::Type::ping &&
        item.message.type != wire::Type::pong)
      wires_.trace_.line(now, receiver.host->label(),
                         fmt::format("<- {}: {}", sender.host->label(), describe(item.message)));
    if (wires_.tap_ != nullptr &&
        !wires_.tap_->arriving(*receiver.channel, *sender.host, *receiver.host, item.message))
      return;
  }
  if (item.message.type == wire::Type::welcome) welcomed_ = true;
  receiver.host->enter(receiver.life, [&] {
    if (receiver.handler == nullptr) return;
    if (item.kind == Item::Kind::message)
      receiver.handler->on_message(*receiver.channel, std::move(item.message));
    else if (item.kind == Item::Kind::refused)
      receiver.handler->on_refused(*receiver.channel, item.notice);
  });
  if (item.kind == Item::Kind::refused)
    end(1 - side, {Errc::denied, "the peer refused us: " + item.notice.words});
  else if (item.kind == Item::Kind::end)
    end(1 - side, {Errc::unavailable, std::move(item.why)});
}

void Joint::inject_into(int side, wire::Message message) {
  End& receiver = ends_[side];
  if (receiver.gone || receiver.closing || !here(side)) return;
  wires_.events_.after(Duration(1000), [keep = receiver.channel, this, side,
                                        message = std::move(message)]() mutable {
    End& end = ends_[side];
    if (end.gone || end.closing || !here(side)) return;
    end.host->enter(end.life, [&] {
      if (end.handler != nullptr) end.handler->on_message(*end.channel, std::move(message));
    });
  });
}

/// The last word to one end.
void Joint::end(int side, Error why) {
  End& gone = ends_[side];
  if (gone.gone) return;
  gone.closing = true;
  gone.gone = true;
  for (auto& lane : gone.waiting) lane.clear();
  if (!here(side)) return;
  gone.host->enter(gone.life, [&] {
    ChannelHandler* const handler = std::exchange(gone.handler, nullptr);
    if (handler != nullptr) handler->on_closed(*gone.channel, why);
  });
}

/// Closing by the product itself: what waits is sent first, or nothing of it.
void Joint::leave(int side, const std::string& why, std::optional<RefusalNotice> notice) {
  End& leaving = ends_[side];
  if (leaving.closing || leaving.gone || !here(side)) return;
  leaving.closing = true;
  for (auto& lane : leaving.waiting) {
    if (!notice)
      for (wire::Message& message : lane)
        put(side, {Item::Kind::message, std::move(message), {}, {}, false});
    lane.clear();
  }
  if (notice) {
    wires_.coverage_.count(wire::to_string(notice->reason));
    put(side, {Item::Kind::refused, {}, *notice, {}, false});
  }
  put(side, {Item::Kind::end, {}, {}, "the peer closed the connection", false});
  wires_.events_.after(std::chrono::microseconds(50), [keep = leaving.channel, this, side, why] {
    end(side, {Errc::unavailable, why});
  });
}

void Joint::cut(const std::string& why) {
  for (const int side : {0, 1}) cut_one_side(side, why);
}

void Joint::cut_one_side(int side, const std::string& why) {
  wires_.events_.after(wires_.delay(*ends_[0].host, *ends_[1].host),
                       [keep = ends_[side].channel, this, side, why] {
                         end(side, {Errc::unavailable, why});
                       });
  vanish_from(0);
  vanish_from(1);
}

void Joint::vanish_from(int side) { ends_[side].vanished = true; }
void Joint::stall_from(int side, TimePoint until) { ends_[side].stalled_until = until; }

}  // namespace postern::sim
