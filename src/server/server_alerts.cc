// What is raised and closed, by what is known of holes and nodes.

#include <algorithm>

#include "server/server.h"

namespace postern {
namespace {

void append(store::AlertChanges& to, store::AlertChanges&& more) {
  const auto move_into = [](auto& into, auto& from) {
    into.insert(into.end(), std::make_move_iterator(from.begin()),
                std::make_move_iterator(from.end()));
  };
  move_into(to.raise, more.raise);
  move_into(to.again, more.again);
  move_into(to.change, more.change);
  move_into(to.close, more.close);
}

}  // namespace

NodeWatch::Own Server::own_facts() const {
  const Certificate& certificate =
      tls_ ? tls_->credential()->chain.front() : identity_.credential.chain.front();
  return {identity_.self.id, identity_.self.name, certificate.not_before(), certificate.not_after(),
          settings_.interval};
}

std::vector<std::pair<std::string, std::string>> Server::update_alerts(
    const HoleWatch::Round& holes) {
  const WallTime now = around_.clock.wall();
  store::AlertChanges found;
  for (const HoleWatch::Unexplained& hole : holes.raise) {
    auto origin = store_->node(hole.hole.stream.node);
    found.raise.push_back(hole_alert(hole, origin.value_or(std::nullopt), now));
  }
  found.close = holes.close;
  // Not while something older waits: what is closed in between must not be raised behind it.
  if (unsaved_.empty() && node_watch_->due(around_.clock.now())) {
    if (auto nodes = store_->nodes())
      append(found, node_watch_->look(*nodes, around_.clock.now(), now));
    else
      log_.warning("nodes are not looked at: {}", nodes.error().message);
  }
  append(unsaved_, std::move(found));

  std::vector<store::Alert> changed = registry_->take_alerts();
  if (!unsaved_.empty()) {
    auto updated = store_->update_alerts(unsaved_, now);
    if (updated) {
      std::ranges::move(*updated, std::back_inserter(changed));
      unsaved_ = {};
    } else {
      log_.error("alerts are neither raised nor closed, trying again: {}", updated.error().message);
    }
  }
  std::vector<std::pair<std::string, std::string>> told;
  for (const store::Alert& alert : changed) {
    if (alert.closed)
      log_.info("alert {} is closed: {}", alert.id, alert.cause);
    else
      log_.warning("alert {} ({}): {}", alert.id, alert.severity, alert.words);
    told.emplace_back("alert", std::to_string(alert.id));
    if (alert.node) told.emplace_back("node", alert.node->hex());
  }
  return told;
}

}  // namespace postern
