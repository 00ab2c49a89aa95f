// Who comes without a certificate that is good, over our own port or over a gateway's
// (docs/formats/join.md, channel.md#W58).

#include "node/admission.h"
#include "server/server.h"

namespace postern {
namespace {

constexpr std::chrono::seconds kBusyRetry{5};

std::string cannot_answer(const std::string& name) {
  return fmt::format("management server {} cannot answer this request", name);
}

std::vector<wire::pb::Signed> delegations_of(const std::vector<wire::pb::Signed>& documents) {
  std::vector<wire::pb::Signed> found;
  for (const auto& document : documents)
    if (wire::pb::DocumentBody body;
        body.ParseFromString(document.body()) &&
        body.type() == static_cast<std::uint32_t>(node::DocumentType::delegation))
      found.push_back(document);
  return found;
}

}  // namespace

void Server::on_join(std::string_view request, JoinDesk::From from,
                     std::function<void(std::optional<std::string>)> answered) {
  const auto root = trust_.root();
  if (joins_ >= kJoinsMax || !root) return answered(std::nullopt);
  ++joins_;
  from.path.push_back(settings_.name);
  store_thread_->post(
      [this, alive = alive_, request = std::string(request), from = std::move(from),
       answered = std::move(answered),
       group = JoinDesk::Group{
           settings_.group, *root, delegations_of(trust_.for_children()), tls_->anchors(),
           std::chrono::floor<std::chrono::seconds>(settings_.certificates.lifetime)}] {
        auto answer = join_desk_->answer(request, from, group);
        auto documents = registry_->take_documents();
        core_.post([this, alive, answered, answer = std::move(answer),
                    documents = std::move(documents)]() mutable {
          if (!*alive) return;
          --joins_;
          spread(std::move(documents));
          if (answer.answer) changed("pending", answer.name);
          answered(std::move(answer.answer));
        });
      });
}

void Server::on_stranger(HttpRequest request, Respond respond) {
  if (auto away = stranger_gate_.turn_away(request, "management server", core_.now()))
    return respond(std::move(*away));
  const std::string words = cannot_answer(settings_.name);
  if (request.target == node::kJoinPath)
    return on_join(request.body, {request.address, {}},
                   [respond, words](const std::optional<std::string>& answer) {
                     respond(node::stranger_response(answer, words));
                   });
  wire::pb::Signed body;
  if (joins_ >= kJoinsMax || !body.ParseFromString(request.body))
    return respond(node::stranger_response(std::nullopt, words));
  ++joins_;
  renew(std::move(body), [this, respond](const wire::pb::Reply& reply) {
    --joins_;
    respond(node::stranger_response(
        reply.has_refused() ? std::nullopt : std::optional(reply.body()), reply.refused().words()));
  });
}

void Server::on_join_request(node::Child& child, const wire::pb::Request& request) {
  wire::pb::JoinRelay relay;
  if (child.who().role != node::Role::gateway || request.body().size() > 2 * node::kJoinBytesMax ||
      !relay.ParseFromString(request.body()) ||
      relay.path_size() > static_cast<int>(wire::kStampsMax)) {
    log_.debug("a request to join from {} is not answered", child.who().name);
    return;
  }
  const auto answer = [this, channel = child.channel_id(),
                       id = request.id()](const std::optional<std::string>& said) {
    node::Child* asker = children_->by_channel(channel);
    if (asker == nullptr) return;
    wire::pb::Reply reply;
    if (said)
      reply.set_body(*said);
    else
      reply = node::reply_of({wire::Refusal::busy, cannot_answer(settings_.name), kBusyRetry});
    reply.set_id(id);
    asker->send(node::message_of(wire::Type::reply, reply));
  };
  if (!stranger_gate_.takes_from(child.who().id, core_.now())) return answer(std::nullopt);
  JoinDesk::From from{relay.address(), {}};
  for (const auto& hop : relay.path()) from.path.push_back(hop.name());
  from.path.push_back(child.who().name);
  on_join(relay.request(), std::move(from), answer);
}

}  // namespace postern
