// What is missing, and who is asked for it (rule D5).

#include "node/signed.h"
#include "server/server.h"

namespace postern {

/// On the store thread: what is missing, what there is to be said of nodes, and what other servers
/// of the group decided meanwhile.
void Server::look() {
  look_timer_ = core_.after(kLookInterval, [this] { look(); });
  if (std::exchange(looking_, true)) return;
  store_thread_->post([this, alive = alive_] {
    HoleWatch::Round round;
    // Not while alerts wait for the store: what is found later must not come before them.
    auto holes =
        unsaved_.empty() ? store_->holes(holes_.limit()) : fail(Errc::unavailable, "later");
    if (holes)
      round = holes_.look(*holes, around_.clock.now());
    else if (unsaved_.empty())
      log_.warning("holes are not looked for: {}", holes.error().message);
    if (const auto& authority = service_->authority_facts()) node_watch_->set_authority(*authority);
    auto changes = update_alerts(round);
    if (auto refreshed = registry_->refresh(); !refreshed)
      log_.warning("the registry is not read: {}", refreshed.error().message);
    auto documents = registry_->take_documents();
    auto closed = closed_streams();
    Health health;
    health.losses_open = holes_.open(around_.clock.now()).size();
    if (const auto open = store_->alerts(true, kAlertsCountedMax))
      health.alerts_open = open->size();
    health.equivocations = store_->equivocation_count().value_or(0);
    core_.post([this, alive, ask = std::move(round.ask), documents = std::move(documents),
                closed = std::move(closed), changes = std::move(changes), health]() mutable {
      if (!*alive) return;
      looking_ = false;
      for (auto& [kind, subject] : changes) changed(std::move(kind), std::move(subject));
      health_ = health;
      spread(std::move(documents));
      on_ingested(std::move(closed));  // also opens a generation that another server opened
      for (const store::Hole& hole : ask) ask_for(hole);
    });
  });
}

void Server::ask_for(const store::Hole& hole) {
  const WallTime now = around_.clock.wall();
  if (hole.stream.node == identity_.self.id) {
    // Our own have no copy but the store: what is missing for so long was lost with its commits.
    if (!hole.at_last) return;
    wire::GapRecord gap;
    gap.stream = hole.stream;
    gap.first = hole.first;
    gap.last = hole.last;
    gap.before = hole.before.value_or(Digest{});
    gap.at_last = *hole.at_last;
    gap.reason = wire::GapRecord::Reason::set_back;
    put(outbox_->seal_gap(gap, now).message);
    return;
  }
  log_.warning("batches {} to {} of {} are missing; their origin is asked", hole.first, hole.last,
               hole.stream.text());
  const auto question = hole_question(hole, generation_, now);
  send_down(hole.stream.node, node::kHoleRequest,
            node::sign(delegate_.key, node::kHoleContext, question.SerializeAsString(),
                       delegate_.number));
}

/// Down the way that the node's newest head came up; where none is known, by every gateway (W53).
void Server::send_down(const NodeId& target, std::uint32_t kind, const wire::pb::Signed& body) {
  wire::pb::Request request;
  request.set_id(1);  // nobody replies: the answer is data
  request.set_target(node::field_of(target.bytes));
  request.set_kind(kind);
  request.set_body(body.SerializeAsString());
  const auto way = ways_.way_to(target);
  node::Child* const behind = way ? children_->by_channel(*way) : nullptr;
  node::Child* const itself = children_->find(target);
  // Of a copied node both are asked.
  for (node::Child* child : {behind, itself == behind ? nullptr : itself})
    if (child != nullptr) child->send(node::message_of(wire::Type::request, request));
  if (behind != nullptr || itself != nullptr) return;
  children_->for_each([&](node::Child& gateway) {
    if (gateway.who().role == node::Role::gateway)
      gateway.send(node::message_of(wire::Type::request, request));
  });
}

/// A node asks what became of a batch of an older epoch (W55).
void Server::on_confirm(node::Child& child, const wire::pb::Request& request) {
  wire::pb::Confirm confirm;
  if (!confirm.ParseFromString(request.body())) return;
  Reader in(as_bytes(confirm.stream()));
  const auto stream = wire::StreamKey::read(in);
  if (!stream || !in.exhausted() || !asks(child.channel_id(), &Asked::confirms, kConfirmsMax))
    return;
  store_thread_->post([this, alive = alive_, channel = child.channel_id(), id = request.id(),
                       stream = *stream, sequence = confirm.sequence(),
                       hash = node::digest_of_field(confirm.hash())] {
    wire::pb::ConfirmReply reply;
    const auto held = store_->archived(stream, sequence);
    const auto applied = store_->settled_coverage(stream);
    const auto generation = store_->generation();
    if (held && *held && applied && generation) {
      const auto stamped = wire::read_stamped(*(*held)->message);
      const auto batch =
          stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
      if (batch && sha256(batch->signed_part) != hash) {
        reply.set_evidence(node::field_of(stamped->body.first(wire::kBatchHeaderBytes)));
      } else if (batch) {
        for (const wire::Interval& interval : applied->intervals)
          if (interval.first <= sequence && sequence <= interval.last)
            reply.set_settled(node::field_of(
                signed_settled({stream, {{interval.first, sequence, hash}}}, *generation)));
      }
    }
    core_.post([this, alive, channel, id, reply = std::move(reply)] {
      if (!*alive) return;
      answered(channel, &Asked::confirms);
      node::Child* asker = children_->by_channel(channel);
      if (asker == nullptr || reply.ByteSizeLong() == 0) return;
      wire::pb::Reply answer;
      answer.set_id(id);
      answer.set_body(reply.SerializeAsString());
      asker->send(node::message_of(wire::Type::reply, answer));
    });
  });
}

}  // namespace postern
