#pragma once

#include "base/disk.h"
#include "base/worker.h"
#include "events/reader.h"
#include "node/event_feed.h"

namespace postern::node {

/// Reads this machine's journal and log files on a worker of its own. One batch is under way at a
/// time: read, written down as intended, sealed, durable.
class HostEvents final : public EventFeed {
 public:
  HostEvents(Loop& core, const Log& log, Door& door, std::unique_ptr<events::Reader> reader,
             std::unique_ptr<Worker> worker);
  ~HostEvents() override;
  HostEvents(const HostEvents&) = delete;
  HostEvents& operator=(const HostEvents&) = delete;
  void on_durable() override;

 private:
  void collect();
  void intend();  // the batch that was read
  void write(events::BatchNumber batch);

  Loop& core_;
  const Log& log_;
  Door& door_;
  Loop::Timer timer_;
  std::optional<Payload> payload_;  // read, not sealed
  bool sealing_ = false;
  bool told_ = false;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);         // shared with posts that may come late
  std::unique_ptr<events::Reader> reader_;  // the worker's alone
  std::unique_ptr<Worker> worker_;          // last: its tasks use the reader
};

class HostEventFeeds final : public EventFeeds {
 public:
  HostEventFeeds(Disk& disk, Workers& workers) : disk_(disk), workers_(workers) {}
  std::unique_ptr<EventFeed> start(Loop& core, const Log& log, const Self& self,
                                   const NodeSettings& settings, EventFeed::Door& door) override;

 private:
  Disk& disk_;
  Workers& workers_;
};

}  // namespace postern::node
