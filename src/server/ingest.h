#pragma once

#include <map>
#include <vector>

#include "server/registry.h"
#include "store/store.h"

namespace postern {

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
  SharedBytes own;  // the batch itself when it is our own: nobody else would send it again
};

struct Ingested {
  std::vector<Verdict> verdicts;          // one a batch, in order
  std::vector<wire::Coverage> coverages;  // what is settled now, of every stream concerned
};

/// Verifies, decodes and applies batches: the end of their way. Blocking; belongs to the store
/// thread. When it returns, the effects of everything `applied` are committed (rule D4).
class Ingest {
 public:
  Ingest(store::Store& store, const Registry& registry, const Log& log)
      : store_(store), registry_(registry), log_(log) {}
  Ingested take(std::vector<Arrived> batches);

 private:
  /// A batch among those to apply that nobody can decode, and what the audit list says of it.
  struct Useless {
    std::size_t at = 0;  // in apply
    store::AuditEntry entry;
  };
  /// nullopt: it is among `apply` now.
  std::optional<Verdict> examine(const Arrived& arrived, Verdict verdict,
                                 const wire::Stamped& stamped, const wire::BatchView& batch,
                                 std::vector<store::Apply>& apply, std::vector<Useless>& useless);
  std::string path_of(const wire::Stamped& stamped) const;

  store::Store& store_;
  const Registry& registry_;
  const Log& log_;
};

}  // namespace postern
