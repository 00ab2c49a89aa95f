#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/store.h"
#include "wire/channel.pb.h"

namespace postern {

struct HoleLimits {
  Duration hole_grace = std::chrono::seconds(60);  // before a hole is asked for (rule D5)
  Duration pause_max = std::chrono::minutes(10);   // between questions; the first is hole_grace
  Duration unexplained_after = std::chrono::minutes(15);  // before it is an alert
  std::size_t asks_max = 64;                              // a round; those due longest first
  std::size_t holes_max = 10'000;  // watched; of further ones nothing is known
};

/// Decides which holes are asked for, and which are an alert (rule D5). The store thread asks the
/// store for its holes every few seconds and hands them in; what comes out is for the caller to do.
///
/// A hole has no name: streams and ranges that overlap from one round to the next are the same
/// one, so it keeps its age while it shrinks, splits or grows. What it grew by is as old as that.
/// It becomes an alert when its oldest batch is `unexplained_after` old and nothing of it has come
/// for `hole_grace`: a long backlog that drains is none.
class HoleWatch {
 public:
  explicit HoleWatch(HoleLimits limits = {}) : limits_(limits) {}

  /// What to hand to Store::holes().
  std::size_t limit() const { return limits_.holes_max; }

  /// Alerts that the store had open or muted when it was opened: they are closed when their hole
  /// is, and not raised a second time. Once, before the first round.
  void resume(std::span<const store::Alert> alerts);

  struct Unexplained {
    store::Hole hole;
    std::string cause;  // "hole <stream> <first>"
    Duration age{};
  };
  struct Round {
    std::vector<store::Hole> ask;
    std::vector<Unexplained> raise;
    std::vector<std::string> close;  // causes of holes that are closed, by batches or by gaps
  };
  /// `holes`: what Store::holes(limit()) returned, by stream and first. When that is as many as
  /// the limit, what lies behind the last one stays as it is.
  Round look(std::span<const store::Hole> holes, TimePoint now);

  /// Holes that are older than `hole_grace`, with their age: what a human wants to see. Younger
  /// ones are mostly on their way.
  std::vector<Unexplained> open(TimePoint now) const;  // cause: "" while it is no alert
  /// Pieces of holes that are remembered, for tests of the bound.
  std::size_t pieces() const;

 private:
  /// A part of a hole whose batches were first missed at the same time, or nearly.
  struct Piece {
    std::uint64_t first = 0, last = 0;
    TimePoint since{}, moved{};  // moved: when something of its hole came last
    TimePoint ask_at{};
    Duration pause{};
    std::string cause;  // of its alert
  };
  struct Watched {
    store::Hole hole;
    std::vector<Piece> pieces;  // all of the hole, without a space between them
  };
  using Stream = std::vector<Watched>;

  Watched follow(const store::Hole& hole, const Stream& before, TimePoint now) const;
  void mark_progress(Stream& before, std::span<const store::Hole> after, TimePoint now) const;
  void merge(std::vector<Piece>& pieces, TimePoint now) const;
  void adopt_resumed();
  void choose_questions(Round& round, TimePoint now);
  void choose_alerts(Round& round, TimePoint now);

  HoleLimits limits_;
  std::map<wire::StreamKey, Stream> streams_;
  std::set<std::string> raised_;   // causes that are open
  std::set<std::string> resumed_;  // of them: not yet found among the holes
};

/// The alert that an unexplained hole is. `node`: what the store knows of the stream's node.
store::Alert hole_alert(const HoleWatch::Unexplained& hole, const std::optional<store::Node>& node,
                        WallTime now);

/// The body of the question (channel.md#W52), to be signed over node::kHoleContext.
wire::pb::HoleQuestion hole_question(const store::Hole& hole, std::uint32_t generation,
                                     WallTime now);

}  // namespace postern
