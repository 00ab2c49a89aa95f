#pragma once

#include <map>
#include <set>
#include <vector>

#include "server/node_watch.h"
#include "server/registry.h"
#include "store/store.h"

namespace postern {

inline constexpr std::chrono::seconds kRefusedNotedEvery{1};  // in the audit list, a node

/// A batch on its way into the store.
struct Arrived {
  std::uint64_t channel = 0;  // by which connection; 0: our own
  SharedBytes message;        // stamps (the last one ours) and batch
  WallTime time{};
};

/// What became of it (rule D11).
struct Verdict {
  enum class Kind : std::uint8_t { applied, duplicate, copy_refused, refused_for_good, not_yet };
  std::uint64_t channel = 0;
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  Digest hash{};
  std::size_t message_bytes = 0;
  Kind kind = Kind::applied;
  std::string words;
  Bytes evidence;   // of an equivocation: header and signature of the batch we have (W32)
  SharedBytes own;  // the batch itself when it is our own: nobody else would send it again
};

struct Ingested {
  std::vector<Verdict> verdicts;          // one a batch, in order
  std::vector<wire::Coverage> coverages;  // what is settled now, of every stream concerned
  std::uint32_t generation = 0;           // of the store that says so; 0: not known, say nothing
};

/// Verifies, decodes and applies batches: the end of their way. Blocking; belongs to the store
/// thread. When it returns, the effects of everything `applied` are committed (rule D4).
class Ingest {
 public:
  /// `watch`: is told of wrong signatures and of equivocations.
  Ingest(store::Store& store, Registry& registry, const Log& log, NodeWatch* watch = nullptr)
      : store_(store), registry_(registry), log_(log), watch_(watch) {}
  Ingested take(std::vector<Arrived> batches);
  /// The next take(), which may be of no batches, says what is settled of this stream.
  void say_again(const wire::StreamKey& stream);

 private:
  void commit(const std::vector<store::Apply>& apply, const std::vector<std::size_t>& applied_at,
              Ingested& result);
  void say_settled(Ingested& result);
  /// What the store is to take, also of a batch that is refused for good; nullopt: it takes
  /// nothing. `verdict` says which of these.
  std::optional<store::Apply> examine(const Arrived& arrived, Verdict& verdict,
                                      const wire::Stamped& stamped, const wire::BatchView& batch);
  Bytes evidence_against(const store::Apply& claimed);
  void find_fault(const NodeId& node, const std::string& words);
  void note_refused(const Verdict& verdict, WallTime arrived);
  std::string path_of(const wire::Stamped& stamped) const;

  store::Store& store_;
  Registry& registry_;
  const Log& log_;
  NodeWatch* watch_;
  struct Refused {
    WallTime time{};
    bool over = false;
  };
  std::set<wire::StreamKey> unsaid_;   // applied, and their coverage is not told yet
  std::map<NodeId, Refused> refused_;  // last in the audit list; members only, so bounded by them
  std::set<NodeId> full_;              // logged that they have too many epochs; likewise
};

}  // namespace postern
