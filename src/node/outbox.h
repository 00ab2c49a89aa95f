#pragma once

#include <array>
#include <filesystem>

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "identity/key.h"
#include "model/payload.h"
#include "relay/relay.h"
#include "wire/batch.h"

namespace postern::node {

/// Makes batches: numbers, chains and signs them. One per node; belongs to the core loop.
///
/// A sealed batch has its number for ever: it must reach the spool, be it at the tenth attempt,
/// before a later one of its lane does (rule D1).
class Outbox {
 public:
  struct Sealed {
    wire::StreamKey stream;
    std::uint64_t sequence = 0;
    Digest hash{};
    SharedBytes message;  // no stamps, then the batch
  };

  Outbox(const PrivateKey& identity, wire::Epoch epoch)
      : identity_(identity), node_(identity.node_id()), epoch_(epoch) {}

  /// Goes on behind what the spool knows of our streams in this epoch.
  void resume(const relay::Relay& relay);

  Sealed seal(wire::Lane lane, wire::PayloadKind kind, const Payload& payload, WallTime now);
  Sealed seal_opening(const wire::EpochOpening& opening, WallTime now);

  struct Position {
    std::uint64_t sequence = 0;
    Digest hash{};
  };
  const Position& position(wire::Lane lane) const { return positions_[wire::index_of(lane)]; }
  const wire::Epoch& epoch() const { return epoch_; }
  wire::StreamKey stream(wire::Lane lane) const { return {node_, epoch_, lane}; }

 private:
  Sealed seal(wire::BatchHeader header, ByteView payload, WallTime now);

  const PrivateKey& identity_;
  NodeId node_;
  wire::Epoch epoch_;
  std::array<Position, 3> positions_{};
};

struct EpochChoice {
  wire::Epoch epoch;
  /// Set when this is a new epoch: seal it first (batch.md#B24).
  std::optional<wire::EpochOpening> opening;
};

/// Goes on with the epoch of STATE/epoch, or begins a new one when there is none or the spool has
/// lost it: more damaged segments (`damaged`) than when the epoch began, or no trace of the epoch
/// in `relay`. Writes the file before it returns.
Result<EpochChoice> choose_epoch(Disk& disk, const std::filesystem::path& state, const NodeId& self,
                                 const relay::Relay& relay, std::uint64_t damaged, Random& random);

}  // namespace postern::node
