#include "server/ingest.h"

#include "server/effects.h"

namespace postern {

Ingested Ingest::take(std::vector<Arrived> batches) {
  Ingested result;
  std::vector<store::Apply> apply;
  std::vector<std::size_t> applied_at;  // index into verdicts, by index into apply
  for (const Arrived& arrived : batches) {
    auto stamped = wire::read_stamped(*arrived.message);
    auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
    if (!batch) continue;  // the connection's side has read it before: cannot happen
    Verdict verdict;
    verdict.channel = arrived.channel;
    verdict.stream = batch->header.stream;
    verdict.sequence = batch->header.sequence;
    verdict.hash = sha256(batch->signed_part);
    verdict.message_bytes = arrived.message->size();
    if (arrived.channel == 0) verdict.own = arrived.message;
    auto entry = examine(arrived, verdict, *stamped, *batch);
    if (entry) {
      applied_at.push_back(result.verdicts.size());
      apply.push_back(std::move(*entry));
    }
    result.verdicts.push_back(std::move(verdict));
  }

  if (!apply.empty()) commit(apply, applied_at, result);
  say_settled(result);
  return result;
}

void Ingest::commit(const std::vector<store::Apply>& apply,
                    const std::vector<std::size_t>& applied_at, Ingested& result) {
  auto outcomes = store_.apply(apply);
  for (std::size_t i = 0; i < apply.size(); ++i) {
    Verdict& verdict = result.verdicts[applied_at[i]];
    if (!outcomes) {
      verdict.kind = Verdict::Kind::not_yet;
      verdict.words = outcomes.error().message;
      continue;
    }
    switch ((*outcomes)[i]) {
      case store::Outcome::applied:
        if (verdict.kind == Verdict::Kind::refused_for_good)
          note_refused(verdict, apply[i].arrived);
        break;
      case store::Outcome::no_effect:
        break;
      case store::Outcome::duplicate:
        if (verdict.kind == Verdict::Kind::applied) verdict.kind = Verdict::Kind::duplicate;
        break;
      case store::Outcome::equivocation:
        verdict.kind = Verdict::Kind::not_yet;
        verdict.words = "another batch of this number is known; both are kept";
        verdict.evidence = evidence_against(apply[i]);
        find_fault(
            verdict.stream.node,
            fmt::format("{} has signed two different batches {} of {}: its state folder was set "
                        "back or copied, or its identity key is in other hands",
                        registry_.member(verdict.stream.node)->name, verdict.sequence,
                        verdict.stream.text()));
        break;
      case store::Outcome::too_many_holes:
        verdict.kind = Verdict::Kind::not_yet;
        verdict.words = fmt::format("the stream has {} holes already; send the lowest first",
                                    store::kIntervalsPerStreamMax);
        break;
      case store::Outcome::too_many_epochs:
        verdict.kind = Verdict::Kind::not_yet;
        verdict.words = fmt::format(
            "{} has begun {} epochs, the limit: is its state folder set back again and again? "
            "Remove it and let it come back with a new state folder",
            registry_.member(verdict.stream.node)->name, store::kEpochsPerNodeMax);
        if (full_.insert(verdict.stream.node).second) log_.error("{}", verdict.words);
        continue;  // nothing is settled of a stream that the store does not have
    }
    unsaid_.insert(verdict.stream);
  }
  if (!outcomes)
    log_.error("{} batches cannot be committed: {}", apply.size(), outcomes.error().message);
}

/// What the store cannot tell now is told with the next batches: whoever waits for it must not
/// wait until something else happens to the stream.
void Ingest::say_settled(Ingested& result) {
  auto generation = store_.generation();
  if (!generation) {
    log_.error("the store's generation cannot be read, nothing is settled: {}",
               generation.error().message);
    return;
  }
  result.generation = *generation;
  while (!unsaid_.empty()) {
    const wire::StreamKey& stream = *unsaid_.begin();
    auto coverage = store_.settled_coverage(stream);
    if (!coverage) {
      log_.error("what is settled of {} cannot be read: {}", stream.text(),
                 coverage.error().message);
      return;
    }
    result.coverages.push_back(std::move(*coverage));
    unsaid_.erase(unsaid_.begin());
  }
}

void Ingest::say_again(const wire::StreamKey& stream) { unsaid_.insert(stream); }

std::optional<store::Apply> Ingest::examine(const Arrived& arrived, Verdict& verdict,
                                            const wire::Stamped& stamped,
                                            const wire::BatchView& batch) {
  const wire::BatchHeader& header = batch.header;
  const Registry::Member* origin = registry_.find_member(header.stream.node);
  if (origin == nullptr) {
    // The hop need not keep it for ever: the origin has its own, and may become a member yet.
    // Our own has no other copy: it comes back to us.
    verdict.kind = arrived.channel == 0 ? Verdict::Kind::not_yet : Verdict::Kind::copy_refused;
    verdict.words = fmt::format(
        "node {} is not a member of the management group; it keeps its own copy of batch {}",
        header.stream.node.hex(), verdict.sequence);
    return std::nullopt;
  }
  if (sha256(batch.payload) != header.payload_hash ||
      !origin->key.verifies(wire::kBatchContext, batch.signed_part, header.signature)) {
    verdict.kind = Verdict::Kind::copy_refused;
    verdict.words =
        fmt::format("batch {} of {} is not as {} signed it; it came by {}", verdict.sequence,
                    verdict.stream.text(), origin->name, path_of(stamped));
    find_fault(header.stream.node, verdict.words);
    return std::nullopt;
  }
  // What is refused for good is kept raw, without effect, and settled (rule D11).
  store::Apply entry{header, verdict.hash, arrived.message, {}, arrived.time};
  if (origin->compromised) {  // whoever has its key may have signed it, at any time
    verdict.kind = Verdict::Kind::refused_for_good;
    verdict.words = fmt::format("compromised: the identity of {} was revoked", origin->name);
  } else if (origin->removed) {
    verdict.kind = Verdict::Kind::refused_for_good;
    verdict.words = fmt::format("{} was removed from the management group", origin->name);
  } else if (auto effects = effects_of(batch)) {
    entry.effects = std::move(*effects);
  } else {
    verdict.kind = Verdict::Kind::refused_for_good;
    verdict.words = effects.error().message;
  }
  if (verdict.kind == Verdict::Kind::refused_for_good) entry.effects.refused = verdict.words;
  return entry;
}

/// Header and signature of the batch we have under that number, or before it, which the claimed one
/// does not continue, or behind it, which does not continue the claimed one.
Bytes Ingest::evidence_against(const store::Apply& claimed) {
  const std::uint64_t number = claimed.header.sequence;
  for (const std::uint64_t sequence : {number, number - 1, number + 1}) {
    if (sequence == 0) continue;
    const auto held = store_.archived(claimed.header.stream, sequence);
    if (!held || !*held) continue;
    const auto stamped = wire::read_stamped(*(*held)->message);
    const auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
    if (!batch) continue;
    const bool agrees = sequence > number
                            ? batch->header.previous == claimed.hash
                            : sha256(batch->signed_part) ==
                                  (sequence == number ? claimed.hash : claimed.header.previous);
    if (!agrees) return to_bytes(stamped->body.first(wire::kBatchHeaderBytes));
  }
  return {};
}

void Ingest::find_fault(const NodeId& node, const std::string& words) {
  log_.error("{}", words);
  if (watch_ != nullptr) watch_->on_finding(node, words);
}

/// After the commit, and seldom: a node that sends nonsense must not fill log and audit list. Of a
/// node that is over one entry is enough.
void Ingest::note_refused(const Verdict& verdict, WallTime arrived) {
  const Registry::Member* origin = registry_.member(verdict.stream.node);
  auto [noted, first] = refused_.try_emplace(verdict.stream.node, Refused{arrived, origin->over()});
  if (!first) {
    const bool recently =
        arrived >= noted->second.time && arrived - noted->second.time < kRefusedNotedEvery;
    if (noted->second.over == origin->over() && (origin->over() || recently)) return;
    noted->second = {arrived, origin->over()};
  }
  log_.error("batch {} of {} ({}) is refused for good: {}", verdict.sequence, verdict.stream.text(),
             origin->name, verdict.words);
  const store::AuditEntry audit{arrived, origin->name, "batch refused for good",
                                fmt::format("{} {}", verdict.stream.text(), verdict.sequence),
                                verdict.words};
  if (auto kept = store_.audit(audit); !kept)
    log_.error("not in the audit list: {}", kept.error().message);
}

std::string Ingest::path_of(const wire::Stamped& stamped) const {
  std::string path;
  for (const wire::Stamp& stamp : stamped.stamps) {
    const Registry::Member* member = registry_.member(stamp.from);
    path += (path.empty() ? "" : " -> ") + (member ? member->name : stamp.from.hex());
  }
  return path.empty() ? "no hop" : path;
}

}  // namespace postern
