#include "store/rules.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <tuple>

namespace postern::store {
namespace {

void append_big_endian(Bytes& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

/// Newest first, and for equal times an order that depends on the lines alone.
bool comes_before(const Loss& a, const Loss& b) {
  const WallTime never = wall_from_ms(std::numeric_limits<std::int64_t>::min());
  const WallTime a_noted = a.noted.value_or(never), b_noted = b.noted.value_or(never);
  if (a_noted != b_noted) return a_noted > b_noted;
  return std::tie(a.stream, a.first, a.last, a.kind, a.where, a.reason) <
         std::tie(b.stream, b.first, b.last, b.kind, b.where, b.reason);
}

}  // namespace

Result<> check(const Apply& batch) {
  const auto& [header, hash, message, all_effects, arrived] = batch;
  const Effects& effects = effects_in_force(batch);
  const std::string name = fmt::format("batch {} of {}", header.sequence, header.stream.text());
  if (header.sequence == 0) return fail(Errc::invalid, "{}: batches count from 1", name);
  if (!message || message->size() > wire::kBatchMessageBytesMax)
    return fail(Errc::invalid, "{}: its message has {} bytes, the limit is {}", name,
                message ? message->size() : 0, wire::kBatchMessageBytesMax);
  const auto range_of_own = [&](const auto& record, std::string_view what) -> Result<> {
    if (record.first == 0 || record.last < record.first)
      return fail(Errc::invalid, "{}: {} from {} to {}", name, what, record.first, record.last);
    if (record.stream.node != header.stream.node)
      return fail(Errc::invalid, "{}: {} of {}, which is another node's stream", name, what,
                  record.stream.text());
    return {};
  };
  if (effects.gap)
    if (auto fine = range_of_own(*effects.gap, "a gap"); !fine) return fine;
  if (effects.release)
    if (auto fine = range_of_own(*effects.release, "a release"); !fine) return fine;
  if (effects.first_sealed && effects.first_sealed->stream.node != header.stream.node)
    return fail(Errc::invalid, "{}: sealed again from {}, which is another node's stream", name,
                effects.first_sealed->stream.text());
  if (effects.probe && effects.probe->size() != wire::kProbeIdBytes)
    return fail(Errc::invalid, "{}: a probe's id has {} bytes, it must have {}", name,
                effects.probe->size(), wire::kProbeIdBytes);
  return {};
}

const Effects& effects_in_force(const Apply& batch) {
  static const Effects kNone;
  return batch.effects.refused.empty() ? batch.effects : kNone;
}

std::optional<Span> observed_span(const Apply& batch, bool took_effect_before) {
  using enum wire::PayloadKind;
  const wire::BatchHeader& header = batch.header;
  const bool observes =
      header.kind == metrics || header.kind == logs || header.kind == sealed_again;
  if (header.stream.lane == wire::Lane::state || !observes || took_effect_before ||
      !batch.effects.refused.empty())
    return std::nullopt;
  return Span{header.first, header.last};
}

bool may_begin_epoch(std::size_t known_epochs) { return known_epochs < kEpochsPerNodeMax; }

Bytes setter_of(const Apply& batch) {
  const auto& first = batch.effects.first_sealed;
  const wire::StreamKey& stream = first ? first->stream : batch.header.stream;
  Bytes setter;
  setter.reserve(21);
  append_big_endian(setter, stream.epoch.ordinal, 4);
  append_big_endian(setter, stream.epoch.random, 8);
  append_big_endian(setter, first ? first->sequence : batch.header.sequence, 8);
  // Lanes count apart; this keeps two of them from being equal, so that arrival never decides.
  setter.push_back(static_cast<std::byte>(stream.lane));
  return setter;
}

bool note_seen(Node& node, const Store::Seen& seen) {
  if (seen.head_number && node.head_number && *seen.head_number <= *node.head_number) return false;
  if (seen.through && std::ranges::find(node.path, *seen.through) == node.path.end()) return false;
  if (seen.time) {
    if (!node.first_seen) node.first_seen = seen.time;
    if (!node.last_seen || *node.last_seen < *seen.time) node.last_seen = seen.time;
  }
  if (seen.connected) node.connected = *seen.connected;
  if (seen.address) node.address = *seen.address;
  if (seen.path) node.path = *seen.path;
  if (seen.software) node.software = *seen.software;
  if (seen.certificate_sha256) node.certificate_sha256 = *seen.certificate_sha256;
  if (seen.certificate_not_after) node.certificate_not_after = seen.certificate_not_after;
  if (seen.certificate) node.certificate = *seen.certificate;
  if (seen.head_number) {
    node.head_number = seen.head_number;
    node.head = seen.head;
  }
  return true;
}

TraceRow trace_of(const Apply& batch, const Bytes& id) {
  TraceRow row{id, batch.header.stream, batch.header.sequence, batch.header.sealed, batch.arrived,
               {}};
  if (auto stamped = wire::read_stamped(*batch.message)) row.stamps = std::move(stamped->stamps);
  return row;
}

bool yields_to(const TraceRow& known, const TraceRow& fresh) {
  return std::tie(fresh.stream, fresh.sequence) < std::tie(known.stream, known.sequence);
}

Loss refused_loss(const Apply& batch) {
  const wire::BatchHeader& header = batch.header;
  return {Loss::Kind::refused,
          header.stream,
          header.sequence,
          header.sequence,
          batch.arrived,
          header.first,
          header.last,
          header.records,
          header.payload_bytes,
          batch.effects.refused,
          ""};
}

Result<> check_notice(const Loss& notice) {
  if (notice.first == 0 || notice.last < notice.first)
    return fail(Errc::invalid, "a notice about batches {} to {} of {}", notice.first, notice.last,
                notice.stream.text());
  return {};
}

Loss notice_of(const Loss& notice) {
  Loss kept = notice;
  kept.kind = Loss::Kind::notice;
  kept.reason.resize(std::min(kept.reason.size(), kNoticeWordsMax));
  kept.where.resize(std::min(kept.where.size(), kNoticeWordsMax));
  return kept;
}

bool is_news(const StreamLedger* ledger, const Loss& notice) {
  return !ledger || !ledger->unsettled(notice.first, notice.last).empty();
}

bool is_same_notice(const Loss& a, const Loss& b) {
  return std::tie(a.stream, a.first, a.last, a.reason, a.where) ==
         std::tie(b.stream, b.first, b.last, b.reason, b.where);
}

Alert raise_first(const Alert& alert, std::int64_t id) {
  Alert row = alert;
  row.id = id;
  row.raised = row.last = std::max(alert.raised, alert.last);
  row.count = 1;
  row.closed.reset();
  row.closed_by.clear();
  row.muted = false;
  return row;
}

void raise_again(Alert& known, const Alert& alert) {
  ++known.count;
  known.last = std::max({known.last, alert.raised, alert.last});
  change_alert(known, alert);
}

void change_alert(Alert& known, const Alert& alert) {
  known.severity = alert.severity;
  known.node = alert.node;
  known.words = alert.words;
}

void LossList::add_gaps(const StreamLedger& ledger) {
  // Records may overlap; what one of them has said already is not said twice.
  std::uint64_t said = 0;
  for (const LedgerGap& gap : ledger.gap_records()) {
    const wire::GapRecord& record = gap.record;
    const std::uint64_t from = std::max(record.first, said + 1);
    if (from > record.last) continue;
    for (const auto& [first, last] : ledger.unapplied(from, record.last)) {
      Loss loss{Loss::Kind::gap, record.stream, first, last, gap.noted, {}, {}, {}, {}, {}, {}};
      loss.reason = wire::to_string(record.reason);
      // Our own word about a removed node knows neither times nor counts.
      if (gap.by_epoch != wire::Epoch{}) {
        loss.first_time = record.first_time;
        loss.last_time = record.last_time;
        if (first == record.first && last == record.last) {
          loss.records = record.records;
          loss.bytes = record.bytes;
        }
      }
      add(std::move(loss));
    }
    said = record.last;
    if (said == std::numeric_limits<std::uint64_t>::max()) return;
  }
}

void LossList::add_release(const StreamLedger* ledger, const Release& release) {
  const wire::ReleaseRecord& record = release.record;
  const auto pieces = ledger ? ledger->unsettled(record.first, record.last)
                             : std::vector{std::pair{record.first, record.last}};
  for (const auto& [first, last] : pieces)
    add({Loss::Kind::released,
         record.stream,
         first,
         last,
         release.noted,
         {},
         {},
         {},
         {},
         "its origin has given its copy up",
         record.parent.hex()});
}

void LossList::add_notice(const StreamLedger* ledger, const Loss& notice) {
  const auto pieces = ledger ? ledger->unsettled(notice.first, notice.last)
                             : std::vector{std::pair{notice.first, notice.last}};
  for (const auto& [first, last] : pieces) {
    Loss line = notice;
    line.first = first;
    line.last = last;
    add(std::move(line));
  }
}

void LossList::add_refused(Loss refused) { add(std::move(refused)); }

void LossList::add(Loss loss) {
  if (filter_.node && loss.stream.node != *filter_.node) return;
  if (filter_.since && (!loss.noted || *loss.noted < *filter_.since)) return;
  losses_.push_back(std::move(loss));
  if (losses_.size() / 2 > filter_.limit) cut();
}

void LossList::cut() {
  std::ranges::sort(losses_, comes_before);
  if (losses_.size() > filter_.limit) losses_.resize(filter_.limit);
}

std::vector<Loss> LossList::take() {
  cut();
  return std::move(losses_);
}

Result<> may_add_token(std::size_t in_use) {
  if (in_use < kApiTokensMax) return {};
  return fail(
      Errc::exhausted,
      "{} API tokens are in use, as many as there may be; revoke one that is not needed any "
      "more (postern api-token list)",
      in_use);
}

Result<> may_add_join_token(std::size_t in_use) {
  if (in_use < kJoinTokensMax) return {};
  return fail(Errc::exhausted,
              "{} join tokens are in use, as many as there may be; revoke one that is not needed "
              "any more (postern token list)",
              in_use);
}

JoinUsed judge_use(const JoinToken& token, std::optional<std::int64_t> known, const JoinUse& use) {
  using enum JoinUsed::Verdict;
  if (known && use.number <= *known) return {replayed, *known};
  if (known) return {again, *known};
  if (token.uses >= token.uses_max) return {used_up, 0};
  return {counted, 0};
}

std::string join_names(const std::vector<std::string>& names) {
  std::string joined;
  for (const std::string& name : names) joined += fmt::format("{}:{},", name.size(), name);
  return joined;
}

std::vector<std::string> split_names(std::string_view joined) {
  std::vector<std::string> names;
  while (!joined.empty()) {
    std::size_t size = 0;
    const auto [at, error] = std::from_chars(joined.data(), joined.data() + joined.size(), size);
    joined.remove_prefix(static_cast<std::size_t>(at - joined.data()));
    if (error != std::errc() || joined.empty() || size > joined.size() - 1 ||
        joined.size() - 1 - size < 1)
      break;
    names.emplace_back(joined.substr(1, size));
    joined.remove_prefix(size + 2);
  }
  return names;
}

}  // namespace postern::store
