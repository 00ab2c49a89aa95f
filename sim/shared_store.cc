#include "sim/shared_store.h"

namespace postern::sim {

Result<std::vector<store::Outcome>> SharedStore::apply(std::span<const store::Apply> batches) {
  auto outcomes = store_.apply(batches);
  if (!outcomes) return outcomes;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const store::Apply& batch = batches[i];
    const bool no_effect = (*outcomes)[i] == store::Outcome::no_effect;
    if ((*outcomes)[i] != store::Outcome::applied && !no_effect) continue;
    oracle_.on_applied({batch.header.stream, batch.header.sequence}, batch.hash,
                       batch.header.payload_hash, batch.header.kind, !batch.effects.refused.empty(),
                       no_effect);
    if (batch.effects.gap) oracle_.on_gap(batch.header.stream.node, *batch.effects.gap);
  }
  return outcomes;
}

Result<std::size_t> SharedStore::seen(std::span<const Seen> seen) {
  for (const Seen& one : seen)
    if (one.through && one.connected.value_or(false)) oracle_.on_good_word(one.id, *one.through);
  auto noted = store_.seen(seen);
  if (!noted) return noted;
  for (const Seen& one : seen) {
    if (!one.head_number) continue;
    const auto node = store_.node(one.id);
    if (node && *node && (*node)->head_number)
      oracle_.on_head_known(one.id, *(*node)->head_number, (*node)->head);
  }
  return noted;
}

}  // namespace postern::sim
