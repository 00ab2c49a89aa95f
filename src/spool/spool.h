#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/disk.h"
#include "base/log.h"
#include "spool/summary.h"
#include "wire/coverage.h"
#include "wire/stream.h"

namespace postern::spool {

/// Where a record lies, or lay when the owner heard of it: valid until it is released, also when
/// the spool has copied it since (S34).
struct Location {
  std::uint64_t segment = 0;
  std::uint64_t offset = 0;  // of the record's header
  std::uint32_t bytes = 0;   // of its content, without the header
  bool operator==(const Location&) const = default;
};

/// One batch message (stamps and batch, batch.md#B16) as the spool knows it without reading it.
struct Entry {
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  Digest hash{};
  Location location;
  std::optional<Summary> summary{};  // nothing when the message is no batch
  bool operator==(const Entry&) const = default;
};

struct Options {
  std::uint64_t bytes_max = 1ull << 30;       // of all segment files together
  std::uint64_t segment_bytes = 16ull << 20;  // a new segment is begun when one is this large
  // Segments are written full of zeros before they are needed, so that the sync of an append waits
  // for no journal of the file system (S15).
  bool preallocate = false;
};

struct Usage {
  std::uint64_t bytes = 0;       // of all segment files, pre-written zeros included
  std::uint64_t live_bytes = 0;  // of records not released
  std::uint64_t bytes_max = 0;
  std::uint64_t entries = 0;
  std::uint64_t quarantined = 0;  // segments with damage, and files put aside because of it
  std::uint64_t syncs = 0;        // of appends, so far
};

/// The append-only log of batches of a node (docs/formats/spool.md): all lanes, all streams, one
/// log.
///
/// Blocking; belongs to one thread (the spool thread) for life. What append() returned for is on
/// stable storage. A segment is deleted when all its batches are released; when few are left,
/// tidy() copies them forward first, as is done with the newest settled record of each stream, so
/// that the position of a stream is never forgotten.
class Spool {
 public:
  struct Opened;
  /// Reads the indexes of segments, and whole the segments that have none: normally the newest. A
  /// torn tail is cut; damage costs the batches it covers, is counted and logged, and its file is
  /// never deleted (S23). Makes the folder when it is missing. What it reports is on stable
  /// storage; what an index names may still turn out unreadable (S41). `unavailable` when the disk
  /// fails: ask again. `disk` and `log` outlive the spool.
  static Result<Opened> open(Disk& disk, const Log& log, std::filesystem::path folder,
                             Options options);
  /// The same, but hands each entry over at once and keeps none, so that memory stays flat. When it
  /// fails after that, what was handed over means nothing.
  static Result<Opened> open(Disk& disk, const Log& log, std::filesystem::path folder,
                             Options options, const std::function<void(Entry)>& on_entry);

  struct Append {
    wire::StreamKey stream;
    std::uint64_t sequence = 0;
    Digest hash{};
    SharedBytes message;
    bool makes_room = false;  // a record after which copies may go: let in past the limit (S33)
  };
  /// Writes all of them, then one fdatasync; durable when it returns, in the order given. On
  /// failure none counts as stored: the segment ends at its last good sync and is never written
  /// again (rule D2); the next append begins a new one. `exhausted` when bytes_max would be passed
  /// (the last 15 % are not for batches of `metric`, the last 5 % for those of `state` only) or the
  /// disk is full.
  Result<std::vector<Location>> append(std::span<const Append> batches);

  /// Whether batches of `lane` with `message_bytes` in `messages` messages would be let in;
  /// `exhausted` names the limit. May delete segments that nobody needs to make room.
  Result<> admit(wire::Lane lane, std::uint64_t message_bytes, std::size_t messages = 1,
                 bool makes_room = false);

  /// The message at `location`; `corrupt` when its checksum does not fit, `invalid` when it was
  /// released and is gone. The first that is corrupt makes its segment a damaged one (S41).
  Result<Bytes> read(const Location& location);

  /// These batches are settled (or shed): their space returns when their segment has no other.
  /// Not synced: after a crash a released batch may be there again, which costs a retransmission.
  /// Releasing twice does no harm.
  void release(std::span<const Location> locations);

  /// Remembers the newest settled message of a stream (verified by the caller). It is written with
  /// the next append, before a segment is deleted, and when the spool is closed: until then a crash
  /// forgets it.
  void note_settled(const wire::StreamKey& stream, SharedBytes settled_message);

  /// Whether there is something for tidy().
  bool untidy() const;
  /// One bounded step of what need not be done at once: writes the index of a segment that was
  /// left, cuts the zeros behind it. For when nobody waits; what fails is tried again after the
  /// next append or release.
  void tidy();

  Usage usage() const;

  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

 private:
  struct Impl;
  explicit Spool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct Spool::Opened {
  std::unique_ptr<Spool> spool;
  std::vector<Entry> entries;                      // live batches, in log order
  std::map<wire::StreamKey, SharedBytes> settled;  // newest settled message of each stream
};

}  // namespace postern::spool
