// Machines that come with a token, or with a certificate that has ended: what they say goes up,
// what the management server answers comes back (docs/formats/join.md#J12, channel.md#W58). Nothing
// of it is looked at here.

#include "gateway/gateway.h"

namespace postern {
namespace {

std::string cannot_ask(const std::string& name) {
  return fmt::format("gateway {} cannot ask the management server now", name);
}

std::string source_of(const HttpRequest& request) {
  return request.address.substr(0, request.address.rfind(':'));
}

wire::pb::Request request_of(const wire::pb::JoinRelay& relay) {
  wire::pb::Request request;
  request.set_kind(node::kJoinRequest);
  request.set_body(relay.SerializeAsString());
  return request;
}

}  // namespace

void Gateway::on_stranger(HttpRequest request, Respond respond) {
  if (auto wrong = node::stranger_objection(request)) return respond(std::move(*wrong));
  if (const Duration wait = stranger_gate_.stranger(source_of(request), core_.now());
      wait != Duration::zero())
    return respond(node::stranger_overload("gateway", wait));
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
  auto words = cannot_ask(node_->self().name);
  const bool sent = send_request(std::move(up), [respond, words](const wire::pb::Reply& reply) {
    respond(node::stranger_response(
        reply.has_refused() ? std::nullopt : std::optional(reply.body()),
        reply.has_refused() ? fmt::format("{}: {}", words, reply.refused().words()) : ""));
  });
  if (!sent) respond(node::stranger_response(std::nullopt, words));
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
  if (stranger_gate_.child(child.who().id, core_.now()) == Duration::zero()) {
    *relay.add_path() = hop_of(child.who());
    sent = send_request(request_of(relay), answer);
  }
  if (sent) return;
  wire::pb::Reply busy;
  busy.mutable_refused()->set_reason(static_cast<std::uint32_t>(wire::Refusal::busy));
  busy.mutable_refused()->set_words(cannot_ask(node_->self().name));
  busy.mutable_refused()->set_retry_after_ms(5000);
  answer(std::move(busy));
}

}  // namespace postern
