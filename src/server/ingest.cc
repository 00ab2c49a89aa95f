#include "server/ingest.h"

#include <set>

#include "server/effects.h"

namespace postern {

Ingested Ingest::take(std::vector<Arrived> batches) {
  Ingested result;
  std::vector<store::Apply> apply;
  std::vector<Useless> useless;
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
    if (auto decided = examine(arrived, verdict, *stamped, *batch, apply, useless)) {
      result.verdicts.push_back(std::move(*decided));
      continue;
    }
    applied_at.push_back(result.verdicts.size());
    result.verdicts.push_back(std::move(verdict));
  }

  auto outcomes = store_.apply(apply);
  std::set<wire::StreamKey> streams;
  for (std::size_t i = 0; i < apply.size(); ++i) {
    Verdict& verdict = result.verdicts[applied_at[i]];
    if (!outcomes) {
      verdict.kind = Verdict::Kind::not_yet;
      verdict.words = outcomes.error().message;
      continue;
    }
    switch ((*outcomes)[i]) {
      case store::Outcome::applied:
        break;
      case store::Outcome::duplicate:
        if (verdict.kind == Verdict::Kind::applied) verdict.kind = Verdict::Kind::duplicate;
        break;
      case store::Outcome::equivocation:
        verdict.kind = Verdict::Kind::not_yet;
        verdict.words = "another batch of this number is known; both are kept";
        log_.error("equivocation: two different batches {} of {}", verdict.sequence,
                   verdict.stream.text());
        break;
      case store::Outcome::too_many_holes:
        verdict.kind = Verdict::Kind::not_yet;
        verdict.words = fmt::format("the stream has {} holes already; send the lowest first",
                                    store::kIntervalsPerStreamMax);
        break;
    }
    streams.insert(verdict.stream);
  }
  for (const Useless& batch : useless) {
    // Said once, when it was kept, not for each copy that comes.
    if (!outcomes || (*outcomes)[batch.at] != store::Outcome::applied) continue;
    log_.error("batch {} of {} is refused for good: {}", batch.entry.subject, batch.entry.who,
               batch.entry.detail);
    if (auto noted = store_.audit(batch.entry); !noted)
      log_.error("not in the audit list: {}", noted.error().message);
  }
  if (!outcomes && !apply.empty())
    log_.error("{} batches cannot be committed: {}", apply.size(), outcomes.error().message);
  for (const wire::StreamKey& stream : streams) {
    auto coverage = store_.settled_coverage(stream);
    if (coverage)
      result.coverages.push_back(std::move(*coverage));
    else
      log_.error("what is settled of {} cannot be read: {}", stream.text(),
                 coverage.error().message);
  }
  return result;
}

std::optional<Verdict> Ingest::examine(const Arrived& arrived, Verdict verdict,
                                       const wire::Stamped& stamped, const wire::BatchView& batch,
                                       std::vector<store::Apply>& apply,
                                       std::vector<Useless>& useless) {
  const wire::BatchHeader& header = batch.header;
  const Registry::Member* origin = registry_.member(header.stream.node);
  if (origin == nullptr) {
    verdict.kind = Verdict::Kind::not_yet;
    verdict.words =
        fmt::format("node {} is not a member of the management group", header.stream.node.hex());
    return verdict;
  }
  if (origin->removed) {
    verdict.kind = Verdict::Kind::not_yet;
    verdict.words = fmt::format("{} was removed from the management group", origin->name);
    return verdict;
  }
  if (sha256(batch.payload) != header.payload_hash ||
      !origin->key.verifies(wire::kBatchContext, batch.signed_part, header.signature)) {
    verdict.kind = Verdict::Kind::copy_refused;
    verdict.words =
        fmt::format("batch {} of {} is not as {} signed it; it came by {}", verdict.sequence,
                    verdict.stream.text(), origin->name, path_of(stamped));
    log_.error("{}", verdict.words);
    return verdict;
  }
  store::Apply entry{header, verdict.hash, arrived.message, {}, arrived.time};
  if (auto effects = effects_of(batch)) {
    entry.effects = std::move(*effects);
  } else {
    // Signed by its origin, and no use to anybody: kept raw, without effect, settled (rule D11).
    useless.push_back(
        {apply.size(),
         {arrived.time, origin->name, "batch refused for good",
          fmt::format("{} {}", verdict.stream.text(), verdict.sequence), effects.error().message}});
  }
  apply.push_back(std::move(entry));
  return std::nullopt;
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
