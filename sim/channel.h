#pragma once

// For the network's own files.

#include "sim/wires.h"

namespace postern::sim {

/// One end of a Joint, which it keeps alive.
class SimChannel final : public Channel {
 public:
  SimChannel(std::shared_ptr<Joint> joint, int side, ChannelPeer peer,
             std::shared_ptr<const TlsContext> tls)
      : joint_(std::move(joint)), side_(side), peer_(std::move(peer)), tls_(std::move(tls)) {}

  void set_handler(ChannelHandler* handler) override { end().handler = handler; }
  void send(wire::Message message) override { joint_->send(side_, std::move(message)); }
  std::size_t queued_bytes() const override { return end().waiting_bytes; }
  void raise_limit() override {}
  void settle_on(std::uint64_t) override {}
  void close(std::string why) override { joint_->leave(side_, why, std::nullopt); }
  void refuse(wire::Refusal reason, std::string words, Duration retry_after) override {
    RefusalNotice notice{reason, words, tls_->now(), retry_after, tls_->name(), false};
    joint_->leave(side_, words, std::move(notice));
  }
  bool open() const override { return !end().closing && !end().gone; }
  const ChannelPeer& peer() const override { return peer_; }
  std::uint64_t id() const override { return joint_->id_ * 2 + static_cast<std::uint64_t>(side_); }
  TimePoint last_received() const override { return end().last_received; }

  Joint& joint() { return *joint_; }
  int side() const { return side_; }

 private:
  Joint::End& end() const { return joint_->ends_[side_]; }

  const std::shared_ptr<Joint> joint_;
  const int side_;
  const ChannelPeer peer_;
  const std::shared_ptr<const TlsContext> tls_;
};

}  // namespace postern::sim
