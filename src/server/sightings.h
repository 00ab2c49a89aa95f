#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "server/node_watch.h"
#include "server/registry.h"
#include "store/store.h"
#include "wire/batch.h"
#include "wire/channel.pb.h"

namespace postern {

inline constexpr std::size_t kSightingsMax = 20'000;         // waiting for the store
inline constexpr std::size_t kSightingBytesMax = 16u << 20;  // likewise
inline constexpr std::size_t kPresenceBytesMax = 4096;       // a larger one is not read
inline constexpr std::size_t kOwnSightingsMax = 2 * kSightingsMax;

/// Stands by itself: clang makes no optional of a nested struct that has default values.
struct SightedHead {
  wire::pb::Signed message;
  std::vector<wire::Stamp> stamps;
  NodeId by;                  // the child that handed it over
  std::uint64_t channel = 0;  // and its connection
};

/// Something that was seen of a node: by ourselves, or a head that is still to be verified.
struct Sighting {
  store::Store::Seen seen;
  std::optional<SightedHead> head;  // then only seen.time counts
  std::size_t bytes = 0;            // of the message it came in; 0: our own word
};

/// Sightings on their way to the store, in order. Belongs to the core loop. What comes beyond the
/// limits is dropped and counted: the next head says the same and more. Our own word, who came and
/// who went, has more room, so that children cannot crowd it out.
class Sightings {
 public:
  void add(Sighting sighting);
  std::vector<Sighting> take();
  std::uint64_t dropped() const { return dropped_; }

 private:
  std::vector<Sighting> waiting_;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_ = 0;
};

struct Noted {
  /// How many changed nothing: of strangers, of heads that came again, of gateways a node is not
  /// behind.
  std::size_t ignored = 0;
  struct Way {  // by which connection a node's own word came, and its number
    NodeId node;
    std::uint64_t channel = 0, number = 0;
  };
  std::vector<Way> ways;
};
/// Who notes: the parts of the server that it takes.
struct Noting {
  store::Store& store;
  Registry& registry;
  const node::Self& self;
  const Log& log;
  const Clock& clock;
  NodeWatch& watch;
};
/// Commits them in one transaction; a head only when its node has signed it. Then the watch is told
/// of the heads. Blocking; on the store thread.
Result<Noted> note_sightings(const std::vector<Sighting>& sightings, const Noting& by);

}  // namespace postern
