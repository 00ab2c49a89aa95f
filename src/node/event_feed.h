#pragma once

#include <memory>
#include <optional>

#include "base/log.h"
#include "events/state_file.h"
#include "model/payload.h"
#include "net/loop.h"
#include "node/self.h"
#include "settings/settings.h"

namespace postern::node {

/// Reads what this machine logs and has it sealed in the event lane. Belongs to the core loop;
/// after it ended, nothing is handed over any more.
///
/// An interface, so that a simulation can leave it out.
class EventFeed {
 public:
  /// What the node does for it; on the core loop.
  class Door {
   public:
    virtual ~Door() = default;
    /// False: nothing is to be read now, the spool is full or fails.
    virtual bool takes_events() const = 0;
    /// The number that the next batch is going to have, kept for it until seal_event(). Nothing:
    /// ask again later.
    virtual std::optional<events::BatchNumber> reserve_event() = 0;
    virtual void seal_event(const Payload& payload) = 0;
    /// Whether the spool has, or had, that batch. To be asked in EventFeeds::start() only.
    virtual bool was_sealed(const events::BatchNumber& batch) const = 0;
  };
  virtual ~EventFeed() = default;
  /// What was sealed last is on disk.
  virtual void on_durable() = 0;
};

/// Where it comes from. It and what start() is given outlive it.
class EventFeeds {
 public:
  virtual ~EventFeeds() = default;
  /// At start-up, before the loop runs: it may read a file. Null when nothing is to be read.
  virtual std::unique_ptr<EventFeed> start(Loop& core, const Log& log, const Self& self,
                                           const NodeSettings& settings, EventFeed::Door& door) = 0;
};

}  // namespace postern::node
