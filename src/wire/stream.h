#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "base/cursor.h"
#include "base/node_id.h"

namespace postern::wire {

/// In order of importance (batch.md#B4).
enum class Lane : std::uint8_t { state = 1, event = 2, metric = 3 };
inline constexpr Lane kLanes[] = {Lane::state, Lane::event, Lane::metric};
const char* to_string(Lane lane);
inline bool is_lane(std::uint8_t value) { return value >= 1 && value <= 3; }
inline std::size_t index_of(Lane lane) { return static_cast<std::size_t>(lane) - 1; }

/// One uninterrupted life of a node's spool (batch.md#B3).
struct Epoch {
  std::uint32_t ordinal = 0;
  std::uint64_t random = 0;
  auto operator<=>(const Epoch&) const = default;
};

/// One lane of one epoch of one node: the unit in which batches are numbered and chained.
struct StreamKey {
  NodeId node;
  Epoch epoch;
  Lane lane = Lane::state;
  auto operator<=>(const StreamKey&) const = default;

  static constexpr std::size_t kBytes = 29;  // batch.md#B5
  void write(Writer& out) const;
  /// `invalid` when the lane is none; a short input is left to reader.failed().
  static Result<StreamKey> read(Reader& in);
  /// For logs: "<node id>/<epoch ordinal>/<lane>".
  std::string text() const;
};

}  // namespace postern::wire

template <>
struct std::hash<postern::wire::StreamKey> {
  std::size_t operator()(const postern::wire::StreamKey& key) const noexcept {
    return std::hash<postern::NodeId>{}(key.node) ^
           (key.epoch.random * 3 + static_cast<std::size_t>(key.lane));
  }
};
