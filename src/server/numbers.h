#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "node/self.h"
#include "node/trust.h"
#include "store/store.h"

namespace postern {

using node::Edition;

/// What our ticks say (document.md#G30): the time, the generation, and the newest number of each
/// type of document. Owns no clock and no key: the caller passes the time in and signs.
class Ticks {
 public:
  explicit Ticks(const NodeId& group) : group_(group) {}

  /// A document that is in the store, was issued, or was adopted. Of ticks: one that is around
  /// already, so that ours will be higher.
  void on_document(std::uint32_t type, const Edition& edition);

  /// The next tick. Its number rises always, also when the clock was set back: it is the time in
  /// milliseconds, or one more than the last number if that is higher.
  wire::pb::DocumentBody next(WallTime now, std::uint32_t generation);

 private:
  NodeId group_;
  std::map<std::uint32_t, Edition> newest_;  // by type; without ticks
  std::uint64_t last_ = 0;
};

/// What follows from something that a child showed, and that node::Trust has verified (rule D10).
struct Rewind {
  /// The store has lost it: take it over.
  bool adopt = false;
  /// The store has lost commits: open this generation before anything else is done or said.
  std::optional<std::uint32_t> open_generation;
  std::string words;  // for the alert; "" while nothing is wrong
  bool operator==(const Rewind&) const = default;
};

/// The highest number of a type that the store had given out when it was found to be set back; by
/// the last generation before the one that was opened then. Newest kSetBacksMax.
using SetBacks = std::map<std::uint32_t, std::uint64_t>;
inline constexpr std::size_t kSetBacksMax = 64;

/// A document that was shown (channel.md#W35). `generation`: of the store; `stored`: what it has of
/// this type, newest of each audience; `set_backs`: see there.
///
/// The store has lost a document whose number it has not given out: it is adopted, unless the store
/// has a newer one of this audience. A lost deny list is adopted even then: what it took back must
/// not come back. Only approvals, deny lists and configurations: ticks and tasks are not kept, and
/// what the root signs is handed in by whoever has the root.
Rewind judge_document(const wire::pb::DocumentBody& shown, std::uint32_t generation,
                      const std::vector<store::StoredDocument>& stored, const SetBacks& set_backs);

/// A settled that was shown (channel.md#W34). `held`: what the store has applied or closed of its
/// stream, complete. A generation that is higher than ours, or batches in ours that the store does
/// not have, prove that it lost commits; an older generation proves nothing.
Rewind judge_settled(const wire::Settled& shown, const NodeId& group, std::uint32_t generation,
                     const wire::Coverage& held);

/// A tick of generation `shown` that was shown: a higher one than the store's proves the same.
Rewind judge_generation(std::uint32_t shown, std::uint32_t generation);

/// The deny list first, then the rest as they came: nobody is let in by an approval that a deny
/// list beside it takes back.
void deny_lists_first(std::vector<wire::pb::Signed>& documents);

/// The alert that goes with Rewind::words. One cause, so one line however many show it.
store::Alert rolled_back_alert(const std::string& words, WallTime now);

}  // namespace postern
