#pragma once

#include <array>
#include <filesystem>

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "identity/key.h"
#include "model/payload.h"
#include "node/origin_file.h"
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
    SharedBytes message;      // no stamps, then the batch
    bool makes_room = false;  // copies may go when it is on disk: a gap or a release record
  };

  Outbox(const PrivateKey& identity, wire::Epoch epoch)
      : identity_(identity), node_(identity.node_id()), epoch_(epoch) {}

  /// Goes on behind what the spool knows of our streams in this epoch.
  void resume(const relay::Relay& relay);

  Sealed seal(wire::Lane lane, wire::PayloadKind kind, const Payload& payload, WallTime now);
  // Records about batches stand in the state lane.
  Sealed seal_opening(const wire::EpochOpening& opening, WallTime now);
  Sealed seal_gap(const wire::GapRecord& gap, WallTime now);
  Sealed seal_release(const wire::ReleaseRecord& release, WallTime now);
  Sealed seal_probe(const std::array<std::byte, wire::kProbeIdBytes>& id, WallTime now);
  /// A batch of an older epoch once more, in this one (batch.md#B26). What was observed is wrapped,
  /// header and all, so that the server knows both for one (B28); records and what is wrapped
  /// already go as they are.
  Sealed seal_again(const wire::BatchView& batch, WallTime now);

  struct Position {
    std::uint64_t sequence = 0;
    Digest hash{};
  };
  const Position& position(wire::Lane lane) const { return positions_[wire::index_of(lane)]; }
  const wire::Epoch& epoch() const { return epoch_; }
  wire::StreamKey stream(wire::Lane lane) const { return {node_, epoch_, lane}; }

 private:
  Sealed seal(wire::BatchHeader header, ByteView payload, WallTime now);
  Sealed seal_record(wire::PayloadKind kind, ByteView payload, WallTime now);

  const PrivateKey& identity_;
  NodeId node_;
  wire::Epoch epoch_;
  std::array<Position, 3> positions_{};
};

struct EpochChoice {
  wire::Epoch epoch;
  /// Set when this is a new epoch: seal it first (batch.md#B24).
  std::optional<wire::EpochOpening> opening;
  /// What STATE/epoch says now.
  EpochFile file;
  /// Batches of older epochs that were about to be sealed again, and nobody can say any more
  /// whether they were: they are given up, for sealed twice they would count twice. Seal these too.
  std::vector<wire::GapRecord> given_up;
};

/// Goes on with the epoch of STATE/epoch, or begins a new one when there is none or the spool has
/// lost it: more damaged segments (`damaged`) than when the epoch began, or no trace of the epoch
/// in `relay`. Writes the file before it returns.
Result<EpochChoice> choose_epoch(Disk& disk, const std::filesystem::path& state, const NodeId& self,
                                 const relay::Relay& relay, std::uint64_t damaged, Random& random);

/// Where choose_epoch() reads, and where what Origin::file_to_write() gives belongs: mode 0600, by
/// Disk::write_file.
std::filesystem::path epoch_file(const std::filesystem::path& state);

}  // namespace postern::node
