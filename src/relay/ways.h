#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "base/node_id.h"

namespace postern::relay {

/// Which child, by its channel, leads to which node (channel.md#W53). The way of the newest head
/// wins. A plain value.
class Ways {
 public:
  static constexpr std::size_t kNodesMax = 100'000;

  /// The newest head of `node` came by `channel`. False at the limit: a new node is not learned,
  /// and requests to it are dropped here.
  bool learned(const NodeId& node, std::uint64_t channel) {
    const auto known = channels_.find(node);
    if (known == channels_.end() && channels_.size() >= kNodesMax) return false;
    if (known != channels_.end()) forget(node, known->second);
    channels_[node] = channel;
    nodes_[channel].insert(node);
    return true;
  }

  /// The connection has ended, and every way that led over it.
  void gone(std::uint64_t channel) {
    const auto found = nodes_.find(channel);
    if (found == nodes_.end()) return;
    for (const NodeId& node : found->second) channels_.erase(node);
    nodes_.erase(found);
  }

  std::optional<std::uint64_t> way_to(const NodeId& node) const {
    const auto known = channels_.find(node);
    return known == channels_.end() ? std::nullopt : std::optional(known->second);
  }
  std::size_t size() const { return channels_.size(); }

 private:
  void forget(const NodeId& node, std::uint64_t channel) {
    const auto found = nodes_.find(channel);
    found->second.erase(node);
    if (found->second.empty()) nodes_.erase(found);
  }
  std::map<NodeId, std::uint64_t> channels_;
  std::map<std::uint64_t, std::set<NodeId>> nodes_;
};

}  // namespace postern::relay
