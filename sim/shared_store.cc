#include "sim/shared_store.h"

namespace postern::sim {

Result<std::vector<store::Outcome>> SharedStore::apply(std::span<const store::Apply> batches) {
  auto outcomes = store_.apply(batches);
  if (!outcomes) return outcomes;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const store::Apply& batch = batches[i];
    if ((*outcomes)[i] != store::Outcome::applied) continue;
    oracle_.on_applied({batch.header.stream, batch.header.sequence}, batch.hash,
                       batch.header.payload_hash, batch.header.kind,
                       !batch.effects.refused.empty());
    if (batch.effects.gap) oracle_.on_gap(batch.header.stream.node, *batch.effects.gap);
  }
  return outcomes;
}

}  // namespace postern::sim
