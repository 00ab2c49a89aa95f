// What administrators and the group decide, and what goes down to the children.

#include "api/router.h"
#include "server/server.h"

namespace postern {
namespace {

using node::message_of;

}  // namespace

/// Whoever keeps batches of a removed node may let them go now (rule D5); and what the store could
/// not tell before is told.
Ingested Server::closed_streams() {
  for (const NodeId& node : registry_->take_removed()) closing_.insert(node);
  std::erase_if(closing_, [this](const NodeId& node) {
    const auto streams = store_->streams(node);
    if (!streams) {
      log_.error("the streams of {} cannot be read: {}", node.hex(), streams.error().message);
      return false;
    }
    for (const store::StreamRow& row : *streams) ingest_->say_again(row.stream);
    return true;
  });
  return ingest_->take({});
}

void Server::spread(std::vector<wire::pb::Signed> documents) {
  for (wire::pb::Signed& document : documents) {
    auto taken = trust_.take(document, around_.clock.wall());
    if (!taken) {
      log_.error("a document of this server is not believed by itself: {}", taken.error().message);
      put_off_.push_back(std::move(document));
      if (put_off_.size() > kPutOffMax) put_off_.pop_front();
      continue;
    }
    const auto& body = taken->body;
    ticks_.on_document(body.type(), {body.generation(), body.number()});
    const NodeId audience = node::node_id_of_field(body.audience());
    children_->for_each([&](node::Child& child) {
      if (body.audience().empty() || child.who().id == audience ||
          child.who().role == node::Role::gateway)
        child.send(message_of(wire::Type::document, document));
    });
    const auto type = static_cast<node::DocumentType>(body.type());
    if (type == node::DocumentType::deny) children_->refuse_denied();
    if (type == node::DocumentType::anchors) take_anchors();
  }
}

void Server::tick() {
  tick_timer_ = core_.after(kTickInterval, [this] { tick(); });
  const auto body = ticks_.next(around_.clock.wall(), generation_);
  auto tick = node::sign_document(body, delegate_.key, delegate_.number);
  if (auto taken = trust_.take(tick, around_.clock.wall()); !taken) {
    log_.error("the clock of this server is wrong, or its delegation is: {}",
               taken.error().message);
    return;
  }
  children_->for_each(
      [&](node::Child& child) { child.send(message_of(wire::Type::document, tick)); });
  auto put_off = std::exchange(put_off_, {});
  spread({std::make_move_iterator(put_off.begin()), std::make_move_iterator(put_off.end())});
}

}  // namespace postern
