#pragma once

#include "base/disk.h"
#include "events/sources.h"
#include "model/payload.h"

namespace postern::events {

/// Reads the sources batch by batch, and writes down how far, so that each event is in one batch
/// however often the program is killed (docs/formats/events.md). Used on one worker, after open().
///
///   collect() -> a batch; write_intent(its number); it is sealed; sealed() -> collect() ...
class Reader {
 public:
  /// `state` is what open() gave, resolved.
  Reader(Disk& disk, std::filesystem::path path, const Log& log, Resource resource,
         std::unique_ptr<Sources> sources, StateFile state, std::uint32_t records_per_second_max);

  struct Batch {
    std::optional<Payload> payload;
    bool more = false;  // there is more to be read at once
  };
  /// What is new, all sources in turn. Nothing new but positions: those are written down here.
  /// Not while a batch is under way.
  Batch collect(TimePoint now, WallTime wall);
  /// On disk when it returns: this number is going to have what collect() gave.
  Result<> write_intent(const BatchNumber& batch);
  /// That batch is on disk.
  void sealed();

  std::uint64_t events() const { return events_; }  // in sealed batches, since the start

 private:
  struct Allowance {
    double records = 0;
    std::optional<TimePoint> at;
    std::optional<TimePoint> told_at;
    std::uint64_t pauses = 0;
  };
  void read(const std::string& name, LogSource& source, std::vector<LogEvent>& events,
            std::size_t& bytes, bool& more, TimePoint now, WallTime wall);
  void tell(const std::string& name, const std::string& problem, std::vector<LogEvent>& events,
            WallTime wall);
  bool may_read(const std::string& name, std::vector<LogEvent>& events, TimePoint now,
                WallTime wall);
  void forget_some();

  Disk& disk_;
  const std::filesystem::path path_;
  const Log& log_;
  const Resource resource_;
  const double rate_;
  std::unique_ptr<Sources> all_;
  Sources::Map sources_;
  StateFile state_;
  bool written_ = false;  // the file says what state_ says
  Positions moved_;       // by the batch that is under way
  std::size_t under_way_ = 0;
  std::string turn_;  // the source that was read last
  std::map<std::string, Allowance> allowances_;
  std::map<std::string, std::string> problems_;
  std::uint64_t events_ = 0;
};

}  // namespace postern::events
