// Machines that come with a token, or with a certificate that has ended: what they say goes up,
// what the management server answers comes back (docs/formats/join.md#J12, channel.md#W58). Nothing
// of it is looked at here.

#include "gateway/gateway.h"

#include <algorithm>

#include "node/admission.h"

namespace postern {
namespace {

constexpr Duration kRetryMin = std::chrono::seconds(5);  // of whoever was refused

wire::pb::Request request_of(const wire::pb::JoinRelay& relay) {
  wire::pb::Request request;
  request.set_kind(node::kJoinRequest);
  request.set_body(relay.SerializeAsString());
  return request;
}

}  // namespace

void Gateway::on_stranger(HttpRequest request, Respond respond) {
  if (auto away = stranger_gate_.turn_away(request, "gateway", core_.now()))
    return respond(std::move(*away));
  wire::pb::Request up;
  if (request.target == node::kJoinPath) {
    wire::pb::JoinRelay relay;
    relay.set_request(std::move(request.body));
    relay.set_address(request.address);
    up = request_of(relay);
  } else {
    up.set_kind(node::kCertificateRequest);
    up.set_body(std::move(request.body));
  }
  const bool sent = send_request(std::move(up), [respond](const wire::pb::Reply& reply) {
    if (!reply.has_refused()) return respond(node::stranger_response(reply.body(), ""));
    // The management server was asked, or a gateway above could not ask it: its own words.
    const std::chrono::milliseconds retry_after(reply.refused().retry_after_ms());
    respond(node::stranger_response(std::nullopt, reply.refused().words(),
                                    std::max<Duration>(retry_after, kRetryMin)));
  });
  if (!sent) respond(node::stranger_response(std::nullopt, cannot_ask().words));
}

void Gateway::on_join_request(node::Child& child, wire::pb::Request request) {
  wire::pb::JoinRelay relay;
  if (child.who().role != node::Role::gateway || request.body().size() > 2 * node::kJoinBytesMax ||
      !relay.ParseFromString(request.body()) ||
      relay.path_size() >= static_cast<int>(wire::kStampsMax)) {
    log_.debug("a request to join from {} is not passed on", child.who().name);
    return;
  }
  const auto answer = [this, channel = child.channel_id(),
                       id = request.id()](wire::pb::Reply reply) {
    node::Child* asker = children_ ? children_->by_channel(channel) : nullptr;
    if (asker == nullptr) return;
    reply.set_id(id);
    asker->send(node::message_of(wire::Type::reply, reply));
  };
  bool sent = false;
  if (stranger_gate_.takes_from(child.who().id, core_.now())) {
    *relay.add_path() = hop_of(child.who());
    sent = send_request(request_of(relay), answer);
  }
  if (!sent) answer(node::reply_of(cannot_ask()));
}

}  // namespace postern
