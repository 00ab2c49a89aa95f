#pragma once

#include <filesystem>

#include "node/node.h"
#include "node/status.h"

namespace postern {

/// The agent: the engine of a node and nothing else.
class Agent final : node::Node::Listener {
 public:
  static Result<std::unique_ptr<Agent>> open(node::Surroundings around, NodeSettings settings) {
    std::unique_ptr<Agent> agent(new Agent);
    auto node = node::Node::open(around, std::move(settings), node::Role::agent, *agent);
    if (!node) return std::unexpected(node.error());
    agent->node_ = std::move(*node);
    agent->node_->start();
    return agent;
  }
  void reload(const NodeSettings& settings) { node_->reload(settings); }
  void stop(const std::string& why) { node_->stop(why); }
  node::Status status() {
    return {[this] { return node_->not_ready(); }, [this] { return node_->own_health(); }};
  }
  std::string status_words() const { return node_->status_words(); }  // a few words

 private:
  Agent() = default;
  std::unique_ptr<node::Node> node_;
};

}  // namespace postern
