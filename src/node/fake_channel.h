#pragma once

#include <utility>
#include <vector>

#include "base/invariant.h"
#include "net/channel.h"

namespace postern::testing_support {

/// A channel without a connection: writes down what is sent, and plays the peer when it is told
/// to. Never calls its handler by itself, as the real one never does inside a call.
class FakeChannel final : public Channel {
 public:
  FakeChannel(std::uint64_t id, ChannelPeer peer) : peer_(std::move(peer)), id_(id) {}

  void set_handler(ChannelHandler* handler) override { handler_ = handler; }
  void send(wire::Message message) override {
    if (open_) sent.push_back(std::move(message));
  }
  std::size_t queued_bytes() const override { return 0; }
  void raise_limit() override { limit_raised = true; }
  void settle_on(std::uint64_t hash) override { settled_on.push_back(hash); }
  void close(std::string why) override {
    if (open_) closed_because = std::move(why);
    open_ = false;
  }
  void refuse(wire::Refusal reason, std::string words, Duration retry_after) override {
    if (!open_) return;
    open_ = false;
    refused.push_back({reason, std::move(words), {}, retry_after, {}, true});
  }
  bool open() const override { return open_; }
  const ChannelPeer& peer() const override { return peer_; }
  std::uint64_t id() const override { return id_; }
  TimePoint last_received() const override { return last_received_; }

  // ---- The peer's side
  void deliver(wire::Message message) {
    invariant(handler_ != nullptr, "a channel with a user");
    handler_->on_message(*this, std::move(message));
  }
  /// The connection has ended.
  void end(const std::string& why) {
    open_ = false;
    if (handler_ != nullptr) handler_->on_closed(*this, Error{Errc::unavailable, why});
  }
  void set_last_received(TimePoint time) { last_received_ = time; }

  std::vector<wire::Message> of_type(wire::Type type) const {
    std::vector<wire::Message> found;
    for (const wire::Message& message : sent)
      if (message.type == type) found.push_back(message);
    return found;
  }

  std::vector<wire::Message> sent;
  std::vector<RefusalNotice> refused;  // by us: at most one
  std::vector<std::uint64_t> settled_on;
  std::string closed_because;
  bool limit_raised = false;

 private:
  const ChannelPeer peer_;
  const std::uint64_t id_;
  ChannelHandler* handler_ = nullptr;
  TimePoint last_received_{};
  bool open_ = true;
};

}  // namespace postern::testing_support
