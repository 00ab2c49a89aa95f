#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/disk.h"
#include "spool/segment.h"
#include "wire/stream.h"

namespace postern::spool {

/// What a spool's folder holds, for an operator. The spool may be in use: files are opened for
/// reading only, no lock is taken, nothing is repaired. What the process in charge changes
/// meanwhile may be seen or not; released batches are seen as long as their segment is there.
/// Blocking; any thread.
class Inspection {
 public:
  /// `unavailable` when there is no such folder.
  static Result<Inspection> of(Disk& disk, std::filesystem::path folder);

  struct Range {
    std::uint64_t first = 0, last = 0;
    bool operator==(const Range&) const = default;
  };
  struct Stream {
    std::vector<Range> ranges;  // ascending, apart from each other
    std::uint64_t batches = 0;  // copies included: one that is there twice counts twice
    std::uint64_t bytes = 0;    // of their records
    std::uint64_t settled = 0;  // the highest number that the newest settled record names
  };
  struct Listing {
    std::map<wire::StreamKey, Stream> streams;
    std::uint64_t segments = 0, indexed = 0, quarantined = 0;  // files
    std::uint64_t bytes = 0;                                   // of segments and indexes
  };
  /// From indexes where they count, so it may name batches that cannot be read any more.
  Result<Listing> list() const;

  struct Damage {
    std::string file;  // its name in the folder
    std::uint64_t offset = 0, bytes = 0;
    std::string what;
    bool operator==(const Damage&) const = default;
  };
  struct Verified {
    std::uint64_t segments = 0, records = 0, bytes = 0, quarantined = 0;
    std::vector<Damage> damage;  // by file and offset
  };
  /// Reads every byte: all checksums, and each index against its segment.
  Result<Verified> verify() const;

  struct Exported {
    std::uint64_t batches = 0, bytes = 0;
    std::vector<Damage> damage;  // what could not be read and is left out
  };
  /// Every batch message that can be read, in log order, in the framing of docs/formats/spool.md,
  /// "Export"; durable when it returns. `to` may not exist yet.
  Result<Exported> export_to(const std::filesystem::path& to) const;

 private:
  struct Seen;
  Inspection(Disk& disk, std::filesystem::path folder) : disk_(&disk), folder_(std::move(folder)) {}
  /// Calls `on_segment` for each in turn; one that went away meanwhile is left out.
  Result<std::vector<std::string>> walk(
      const std::function<Result<>(const Seen& segment)>& on_segment) const;

  Disk* disk_;
  std::filesystem::path folder_;
};

inline constexpr std::string_view kExportMagic = "PSEX";
inline constexpr std::uint8_t kExportVersion = 1;

}  // namespace postern::spool
