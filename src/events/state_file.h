#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/disk.h"

namespace postern::events {

/// The number of a batch of this node's event lane.
struct BatchNumber {
  std::uint32_t epoch_ordinal = 0;
  std::uint64_t epoch_random = 0;
  std::uint64_t sequence = 0;
  bool operator==(const BatchNumber&) const = default;
};

using Positions = std::map<std::string, std::string>;  // by source

/// How far the sources were read, and what the batch that is about to be sealed moves: written
/// before it is sealed, so that after a crash the spool alone says which of both is true
/// (docs/formats/events.md).
struct StateFile {
  static constexpr std::size_t kSourcesMax = 1024;
  static constexpr std::size_t kNameBytesMax = 4096;
  static constexpr std::uint64_t kBytesMax = 16u << 20;

  struct Intent {
    BatchNumber batch;
    Positions moved;  // only the sources that it moves
    bool operator==(const Intent&) const = default;
  };
  Positions positions;
  std::optional<Intent> intent;
  bool operator==(const StateFile&) const = default;

  /// The batch of the intent is in the spool, or was never sealed.
  void resolve(bool sealed);
};

Bytes encode(const StateFile& file);
Result<StateFile> decode_state_file(ByteView bytes);

/// Nothing when there is none. `corrupt` when it is damaged.
Result<std::optional<StateFile>> read_state_file(Disk& disk, const std::filesystem::path& path);
std::filesystem::path state_file(const std::filesystem::path& state);

}  // namespace postern::events
