#include "store/memory.h"

#include <algorithm>
#include <deque>
#include <map>
#include <ranges>
#include <set>

#include "base/invariant.h"
#include "store/rules.h"

namespace postern::store {
namespace {

struct Stream {
  explicit Stream(const wire::StreamKey& key) : ledger(key) {}
  StreamLedger ledger;
  std::map<std::uint64_t, std::int64_t> archived;  // archive id, by sequence
  std::deque<Release> releases;                    // newest last
};

struct Archived {
  ArchivedBatch batch;
  Digest hash{};
  std::optional<Digest> first_sealed;  // sealed again: the hash it had first
  std::optional<Span> observed;
};

template <typename Row>
struct Set {
  Bytes setter;
  Row row;
};
using Values =
    std::map<std::pair<std::string, std::string>, Set<LatestValue>>;          // metric, attributes
using Entities = std::map<std::pair<std::string, std::string>, Set<Entity>>;  // type, id

template <typename Rows, typename Row>
void project(Rows& rows, std::pair<std::string, std::string> key, const Bytes& setter,
             const Row& row) {
  auto [at, fresh] = rows.try_emplace(std::move(key), setter, row);
  if (fresh || setter < at->second.setter) return;
  at->second = {setter, row};
}

/// The rows that were set longest ago go (rules.h, setter_of()).
template <typename Rows>
void bound(Rows& rows, std::size_t limit) {
  if (rows.size() <= limit) return;
  std::vector<typename Rows::iterator> order;
  for (auto at = rows.begin(); at != rows.end(); ++at) order.push_back(at);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    if (a->second.setter != b->second.setter) return a->second.setter > b->second.setter;
    return a->first < b->first;
  });
  for (std::size_t i = limit; i < order.size(); ++i) rows.erase(order[i]);
}

template <typename T>
std::vector<T> newest_first(const std::deque<T>& list, std::size_t limit) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(limit, list.size()));
  return {list.rbegin(), list.rbegin() + count};
}

template <typename T>
void keep_newest(std::deque<T>& list, std::size_t limit) {
  while (list.size() > limit) list.pop_front();
}

/// Numbers and newest editions of documents, changed together.
struct Documents {
  std::map<std::uint32_t, std::uint64_t> numbers;
  std::map<std::pair<std::uint32_t, std::optional<NodeId>>, StoredDocument> newest;

  Result<> write(const StoredDocument& document) {
    const auto edition = [](const StoredDocument& d) { return std::pair(d.generation, d.number); };
    const auto known = newest.find({document.type, document.audience});
    if (known != newest.end() && edition(known->second) == edition(document) &&
        known->second.document != document.document)
      return fail(Errc::invalid,
                  "document type {} number {} of generation {} exists with other content",
                  document.type, document.number, document.generation);
    std::uint64_t& number = numbers[document.type];
    number = std::max(number, document.number);
    if (known == newest.end())
      newest.emplace(std::pair(document.type, document.audience), document);
    else if (edition(known->second) < edition(document))
      known->second = document;
    return {};
  }
};

}  // namespace

struct MemoryStore::Memory {
  std::map<wire::StreamKey, Stream> streams;
  std::map<std::int64_t, Archived> archive;  // by id, in order of arrival here
  std::multiset<Digest> sealed_again;        // first_sealed of the archive
  std::int64_t next_archive_id = 1;
  std::uint64_t archive_bytes = 0;
  std::deque<Equivocation> equivocations;
  std::set<std::tuple<wire::StreamKey, std::uint64_t, Digest>> equivocation_keys;
  std::uint64_t equivocation_count = 0;
  std::map<NodeId, Values> values;
  std::map<NodeId, Entities> entities;
  std::deque<Loss> refused, notices;
  std::map<std::int64_t, Alert> alerts;  // by id
  std::map<std::string, std::int64_t, std::less<>> open_alerts;
  std::set<std::pair<WallTime, std::int64_t>> closed_alerts;
  std::map<std::string, std::int64_t, std::less<>> muted_alerts;
  std::int64_t next_alert_id = 1;
  Alert* open_alert(std::string_view cause);
  Alert raise(const Alert& alert, bool count);  // `count`: when it is open already
  Alert close(Alert& open, WallTime now, std::string_view by);
  void unmute(std::string_view cause);
  std::map<Bytes, TraceRow> traces;
  std::deque<Bytes> trace_order;
  std::map<std::int64_t, Node> nodes;  // by row
  std::int64_t next_row = 1;
  Documents documents;
  std::deque<AuditEntry> audit;
  std::int64_t next_audit_row = 1;
  std::deque<ApiToken> tokens;  // oldest first
  std::deque<JoinToken> join_tokens;
  std::map<std::pair<std::string, NodeId>, std::int64_t> join_uses;  // token, node: number
  std::vector<Revocation> revocations;
  std::uint32_t generation = 1;
  std::map<std::string, std::string, std::less<>> settings;

  const StreamLedger* ledger(const wire::StreamKey& key) const {
    const auto at = streams.find(key);
    return at == streams.end() ? nullptr : &at->second.ledger;
  }
  Stream& open_stream(const wire::StreamKey& key) {
    return streams.try_emplace(key, key).first->second;
  }
  auto streams_of(const NodeId& node) {
    const auto begin = streams.lower_bound({node, {}, static_cast<wire::Lane>(0)});
    const auto end = std::find_if(begin, streams.end(),
                                  [&](const auto& entry) { return entry.first.node != node; });
    return std::ranges::subrange(begin, end);
  }
  bool has_room_for(const wire::StreamKey& key) {
    if (streams.contains(key)) return true;
    std::set<wire::Epoch> epochs;
    for (const auto& [known, stream] : streams_of(key.node)) epochs.insert(known.epoch);
    return epochs.contains(key.epoch) || may_begin_epoch(epochs.size());
  }

  Outcome apply_one(const Apply& batch);
  bool took_effect(const Apply& batch) const;
  void follow(const Apply& batch, Stream& stream, bool took_effect);
  void put_aside(const wire::StreamKey& key, std::uint64_t sequence, const Digest& hash,
                 const Contradiction& contradiction, WallTime arrived, SharedBytes message);
  Result<> check_unique(const Node& node) const;
  bool see(const Seen& seen);
  void write_audit(const AuditEntry& entry) {
    audit.push_back(entry);
    audit.back().row = next_audit_row++;
    keep_newest(audit, kAuditEntriesMax);
  }
};

MemoryStore::MemoryStore() : memory_(std::make_shared<Memory>()) {}
MemoryStore::MemoryStore(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {}
MemoryStore::~MemoryStore() = default;

std::unique_ptr<MemoryStore> MemoryStore::view() const {
  return std::unique_ptr<MemoryStore>(new MemoryStore(memory_));
}
std::unique_ptr<MemoryStore> MemoryStore::copy() const {
  return std::unique_ptr<MemoryStore>(new MemoryStore(std::make_shared<Memory>(*memory_)));
}
void MemoryStore::restore(const MemoryStore& backup) { *memory_ = Memory(*backup.memory_); }

Result<> MemoryStore::ask(std::string_view doing) const {
  if (hook_)
    if (auto error = hook_(doing)) return std::unexpected(std::move(*error));
  return {};
}

Result<std::vector<Outcome>> MemoryStore::apply(std::span<const Apply> batches) {
  for (const Apply& batch : batches)
    if (auto fine = check(batch); !fine) return std::unexpected(fine.error());
  if (batches.empty()) return std::vector<Outcome>();
  if (auto may = ask("applying batches"); !may) return std::unexpected(may.error());
  if (hook_)
    for (const Apply& batch : batches)
      for (const LatestValue& value : effects_in_force(batch).values)
        if (auto may = ask("latest value " + value.metric); !may)
          return std::unexpected(may.error());
  // From here on nothing can fail, so each batch may change the memory at once.
  std::vector<Outcome> outcomes;
  outcomes.reserve(batches.size());
  for (const Apply& batch : batches) outcomes.push_back(memory_->apply_one(batch));
  for (const Apply& batch : batches) {
    if (const auto of_node = memory_->values.find(batch.header.stream.node);
        of_node != memory_->values.end())
      bound(of_node->second, kLatestValuesPerNodeMax);
    if (const auto of_node = memory_->entities.find(batch.header.stream.node);
        of_node != memory_->entities.end())
      bound(of_node->second, kEntitiesPerNodeMax);
  }
  return outcomes;
}

Outcome MemoryStore::Memory::apply_one(const Apply& batch) {
  const Effects& effects = effects_in_force(batch);
  const wire::StreamKey& key = batch.header.stream;
  if (!has_room_for(key) || (effects.gap && !has_room_for(effects.gap->stream)) ||
      (effects.release && !has_room_for(effects.release->stream)))
    return Outcome::too_many_epochs;
  Stream& stream = open_stream(key);
  StreamLedger* of_gap = effects.gap ? &open_stream(effects.gap->stream).ledger : nullptr;
  std::optional<Digest> archived;
  if (const auto at = stream.archived.find(batch.header.sequence); at != stream.archived.end())
    archived = archive.at(at->second).hash;
  const StreamLedger::Verdict verdict = judge(stream.ledger, of_gap, batch, archived);
  if (verdict.contradiction)
    put_aside(key, batch.header.sequence, batch.hash, *verdict.contradiction, batch.arrived,
              batch.message);
  if (verdict.outcome != Outcome::applied) return verdict.outcome;
  const bool before = took_effect(batch);
  follow(batch, stream, before);
  return before ? Outcome::no_effect : Outcome::applied;
}

/// Whether its content is in the archive as another batch (batch.md#B28).
bool MemoryStore::Memory::took_effect(const Apply& batch) const {
  const auto& first = effects_in_force(batch).first_sealed;
  if (sealed_again.contains(first ? first->hash : batch.hash)) return true;
  if (!first) return false;
  const auto stream = streams.find(first->stream);
  if (stream == streams.end()) return false;
  const auto at = stream->second.archived.find(first->sequence);
  return at != stream->second.archived.end() && archive.at(at->second).hash == first->hash;
}

/// What an applied batch does besides its mark in the applied set.
void MemoryStore::Memory::follow(const Apply& batch, Stream& stream, bool took_effect) {
  const Effects& effects = effects_in_force(batch);
  std::optional<Digest> first_sealed;
  if (effects.first_sealed) first_sealed = effects.first_sealed->hash;
  const std::int64_t id = next_archive_id++;
  const wire::StreamKey& key = batch.header.stream;
  archive.emplace_hint(archive.end(), id,
                       Archived{{key, batch.header.sequence, batch.arrived, batch.message},
                                batch.hash,
                                first_sealed,
                                observed_span(batch, took_effect)});
  if (first_sealed) sealed_again.insert(*first_sealed);
  archive_bytes += batch.message->size();
  stream.archived.emplace(batch.header.sequence, id);

  if (!batch.effects.refused.empty()) {
    refused.push_back(refused_loss(batch));
    keep_newest(refused, kRefusedMax);
  }
  if (effects.release) {
    Stream& of_release = open_stream(effects.release->stream);
    of_release.releases.push_back({*effects.release, batch.arrived});
    keep_newest(of_release.releases, kReleasesPerStreamMax);
  }
  if (effects.probe) {
    const TraceRow row = trace_of(batch, *effects.probe);
    auto [known, fresh] = traces.try_emplace(row.id, row);
    if (fresh)
      trace_order.push_back(row.id);
    else if (yields_to(known->second, row))
      known->second = row;
    while (trace_order.size() > kTracesMax) {
      traces.erase(trace_order.front());
      trace_order.pop_front();
    }
  }
  if (took_effect || (effects.values.empty() && effects.entities.empty())) return;
  const Bytes setter = setter_of(batch);
  if (!effects.values.empty()) {
    Values& rows = values[key.node];
    for (const LatestValue& value : effects.values)
      project(rows, {value.metric, value.attributes}, setter, value);
  }
  if (!effects.entities.empty()) {
    Entities& rows = entities[key.node];
    for (const Entity& entity : effects.entities)
      project(rows, {entity.type, entity.id}, setter, entity);
  }
}

void MemoryStore::Memory::put_aside(const wire::StreamKey& key, std::uint64_t sequence,
                                    const Digest& hash, const Contradiction& contradiction,
                                    WallTime arrived, SharedBytes message) {
  if (!equivocation_keys.emplace(key, sequence, hash).second) return;
  equivocations.push_back({key, sequence, hash, contradiction.sequence, contradiction.known,
                           contradiction.claimed, arrived, std::move(message)});
  ++equivocation_count;
  while (equivocations.size() > kEquivocationsMax) {
    const Equivocation& oldest = equivocations.front();
    equivocation_keys.erase({oldest.stream, oldest.sequence, oldest.hash});
    equivocations.pop_front();
  }
}

Result<> MemoryStore::tidy() { return {}; }

Result<wire::Coverage> MemoryStore::applied(const wire::StreamKey& stream) {
  if (auto may = ask("reading what is applied"); !may) return std::unexpected(may.error());
  const StreamLedger* ledger = memory_->ledger(stream);
  return wire::Coverage{stream, ledger ? ledger->applied() : std::vector<wire::Interval>()};
}

Result<wire::Coverage> MemoryStore::settled_coverage(const wire::StreamKey& stream) {
  if (auto may = ask("reading what is settled"); !may) return std::unexpected(may.error());
  const StreamLedger* ledger = memory_->ledger(stream);
  return wire::Coverage{stream, ledger ? ledger->settled() : std::vector<wire::Interval>()};
}

Result<std::vector<StreamRow>> MemoryStore::streams(const NodeId& node) {
  if (auto may = ask("reading streams"); !may) return std::unexpected(may.error());
  std::vector<StreamRow> rows;
  for (const auto& [key, stream] : memory_->streams_of(node))
    rows.push_back({key, stream.ledger.sealed(), stream.ledger.applied(), stream.ledger.gaps(),
                    stream.ledger.gap_reasons()});
  return rows;
}

Result<std::vector<ArchivedBatch>> MemoryStore::archive(const NodeId& node, std::size_t limit) {
  if (auto may = ask("reading the archive"); !may) return std::unexpected(may.error());
  std::vector<ArchivedBatch> batches;
  for (const auto& [id, archived] : memory_->archive | std::views::reverse) {
    if (batches.size() >= limit) break;
    if (archived.batch.stream.node == node) batches.push_back(archived.batch);
  }
  return batches;
}

Result<std::vector<PlacedBatch>> MemoryStore::observations(const ObservationFilter& filter) {
  if (auto may = ask("reading the archive"); !may) return std::unexpected(may.error());
  std::vector<PlacedBatch> found;
  for (const auto& [id, archived] : memory_->archive) {
    const auto& span = archived.observed;
    const wire::StreamKey& stream = archived.batch.stream;
    if (!span || stream.node != filter.node || stream.lane != filter.lane ||
        (filter.since && span->last < *filter.since) ||
        (filter.until && span->first > *filter.until))
      continue;
    const ArchivePlace place{span->last, id};
    if (!filter.from || place <= *filter.from) found.push_back({place, archived.batch});
  }
  std::ranges::sort(found, std::ranges::greater(), &PlacedBatch::place);
  if (found.size() > filter.limit) found.resize(filter.limit);
  return found;
}

Result<std::optional<ArchivedBatch>> MemoryStore::archived(const wire::StreamKey& key,
                                                           std::uint64_t sequence) {
  if (auto may = ask("reading the archive"); !may) return std::unexpected(may.error());
  const auto stream = memory_->streams.find(key);
  if (stream == memory_->streams.end()) return std::nullopt;
  const auto at = stream->second.archived.find(sequence);
  if (at == stream->second.archived.end()) return std::nullopt;
  return memory_->archive.at(at->second).batch;
}

Result<std::size_t> MemoryStore::trim_archive(WallTime older_than, std::uint64_t bytes_max,
                                              std::size_t limit) {
  if (auto may = ask("trimming the archive"); !may) return std::unexpected(may.error());
  std::size_t gone = 0;
  for (; gone < limit && !memory_->archive.empty(); ++gone) {
    const auto oldest = memory_->archive.begin();
    const auto& [batch, hash, first_sealed, observed] = oldest->second;
    if (batch.arrived >= older_than && memory_->archive_bytes <= bytes_max) break;
    memory_->archive_bytes -= batch.message->size();
    memory_->streams.at(batch.stream).archived.erase(batch.sequence);
    if (first_sealed) memory_->sealed_again.erase(memory_->sealed_again.find(*first_sealed));
    memory_->archive.erase(oldest);
  }
  return gone;
}

Result<std::vector<Equivocation>> MemoryStore::equivocations(std::size_t limit) {
  return newest_first(memory_->equivocations, limit);
}

Result<std::uint64_t> MemoryStore::equivocation_count() { return memory_->equivocation_count; }

Result<std::vector<LatestValue>> MemoryStore::latest(const NodeId& node) {
  if (auto may = ask("reading latest values"); !may) return std::unexpected(may.error());
  std::vector<LatestValue> values;
  if (const auto of_node = memory_->values.find(node); of_node != memory_->values.end())
    for (const auto& [key, set] : of_node->second) values.push_back(set.row);
  return values;
}

Result<std::vector<Entity>> MemoryStore::entities(const NodeId& node) {
  if (auto may = ask("reading entities"); !may) return std::unexpected(may.error());
  std::vector<Entity> entities;
  if (const auto of_node = memory_->entities.find(node); of_node != memory_->entities.end())
    for (const auto& [key, set] : of_node->second) entities.push_back(set.row);
  return entities;
}

Result<std::vector<Hole>> MemoryStore::holes(std::size_t limit) {
  if (auto may = ask("reading holes"); !may) return std::unexpected(may.error());
  std::vector<Hole> found;
  for (const auto& [key, stream] : memory_->streams) {
    if (found.size() >= limit) break;
    std::ranges::move(stream.ledger.holes(limit - found.size()), std::back_inserter(found));
  }
  return found;
}

Result<std::vector<Loss>> MemoryStore::losses(const LossFilter& filter) {
  if (auto may = ask("reading losses"); !may) return std::unexpected(may.error());
  LossList list(filter);
  for (const auto& [key, stream] : memory_->streams) {
    list.add_gaps(stream.ledger);
    for (const Release& release : stream.releases) list.add_release(&stream.ledger, release);
  }
  for (const Loss& refused : memory_->refused) list.add_refused(refused);
  for (const Loss& notice : memory_->notices)
    list.add_notice(memory_->ledger(notice.stream), notice);
  return list.take();
}

Result<> MemoryStore::note_loss(const Loss& notice) {
  if (auto may = ask("noting a loss"); !may) return may;
  if (auto fine = check_notice(notice); !fine) return fine;
  if (!is_news(memory_->ledger(notice.stream), notice)) return {};
  const Loss line = notice_of(notice);
  const auto same = [&](const Loss& known) { return is_same_notice(known, line); };
  if (std::ranges::any_of(memory_->notices, same)) return {};
  memory_->notices.push_back(line);
  keep_newest(memory_->notices, kNoticesMax);
  return {};
}

Result<> MemoryStore::close_streams(const NodeId& node, WallTime now) {
  if (auto may = ask("closing streams"); !may) return may;
  for (auto& [key, stream] : memory_->streams_of(node)) stream.ledger.close(now);
  return {};
}

Alert* MemoryStore::Memory::open_alert(std::string_view cause) {
  const auto open = open_alerts.find(cause);
  return open == open_alerts.end() ? nullptr : &alerts.at(open->second);
}

Alert MemoryStore::Memory::raise(const Alert& alert, bool count) {
  if (Alert* known = open_alert(alert.cause)) {
    count ? raise_again(*known, alert) : change_alert(*known, alert);
    return *known;
  }
  unmute(alert.cause);
  Alert fresh = raise_first(alert, next_alert_id++);
  alerts.emplace(fresh.id, fresh);
  open_alerts.emplace(fresh.cause, fresh.id);
  return fresh;
}

Alert MemoryStore::Memory::close(Alert& open, WallTime now, std::string_view by) {
  open.closed = now;
  open.closed_by = by;
  open.muted = !by.empty();
  if (open.muted) muted_alerts[open.cause] = open.id;
  open_alerts.erase(open.cause);
  closed_alerts.emplace(now, open.id);
  const Alert closed = open;
  while (closed_alerts.size() > kClosedAlertsMax) {
    const std::int64_t oldest = closed_alerts.begin()->second;
    if (alerts.at(oldest).muted) muted_alerts.erase(alerts.at(oldest).cause);
    alerts.erase(oldest);
    closed_alerts.erase(closed_alerts.begin());
  }
  return closed;
}

void MemoryStore::Memory::unmute(std::string_view cause) {
  const auto muted = muted_alerts.find(cause);
  if (muted == muted_alerts.end()) return;
  alerts.at(muted->second).muted = false;
  muted_alerts.erase(muted);
}

Result<Alert> MemoryStore::raise_alert(const Alert& alert) {
  if (auto may = ask("raising an alert"); !may) return std::unexpected(may.error());
  return memory_->raise(alert, true);
}

Result<bool> MemoryStore::close_alert(std::string_view cause, WallTime now, std::string_view by) {
  if (auto may = ask("closing an alert"); !may) return std::unexpected(may.error());
  Alert* open = memory_->open_alert(cause);
  if (open != nullptr) memory_->close(*open, now, by);
  return open != nullptr;
}

Result<std::vector<Alert>> MemoryStore::update_alerts(const AlertChanges& changes, WallTime now) {
  if (auto may = ask("updating alerts"); !may) return std::unexpected(may.error());
  std::vector<Alert> changed;
  for (const Alert& alert : changes.raise) changed.push_back(memory_->raise(alert, false));
  for (const Alert& alert : changes.again) changed.push_back(memory_->raise(alert, true));
  for (const Alert& alert : changes.change)
    if (Alert* known = memory_->open_alert(alert.cause)) {
      change_alert(*known, alert);
      changed.push_back(*known);
    }
  for (const std::string& cause : changes.close) {
    memory_->unmute(cause);
    if (Alert* open = memory_->open_alert(cause)) changed.push_back(memory_->close(*open, now, ""));
  }
  return changed;
}

Result<std::vector<Alert>> MemoryStore::alerts(bool open_only, std::size_t limit) {
  if (auto may = ask("reading alerts"); !may) return std::unexpected(may.error());
  std::vector<Alert> found;
  for (const auto& [id, alert] : memory_->alerts | std::views::reverse) {
    if (found.size() >= limit) break;
    if (!open_only || !alert.closed) found.push_back(alert);
  }
  return found;
}

Result<std::optional<TraceRow>> MemoryStore::trace(ByteView id) {
  if (auto may = ask("reading a trace"); !may) return std::unexpected(may.error());
  const auto found = memory_->traces.find(to_bytes(id));
  if (found == memory_->traces.end()) return std::optional<TraceRow>();
  return found->second;
}

Result<std::vector<Node>> MemoryStore::nodes() {
  if (auto may = ask("reading nodes"); !may) return std::unexpected(may.error());
  std::vector<Node> nodes;
  for (const auto& [row, node] : memory_->nodes) nodes.push_back(node);
  std::ranges::sort(nodes, {}, [](const Node& node) { return std::tie(node.name, node.row); });
  return nodes;
}

Result<std::optional<Node>> MemoryStore::node(const NodeId& id) {
  if (auto may = ask("reading a node"); !may) return std::unexpected(may.error());
  for (const auto& [row, node] : memory_->nodes | std::views::reverse)
    if (node.id == id) return node;
  return std::optional<Node>();
}

Result<std::optional<Node>> MemoryStore::node_by_name(std::string_view name) {
  if (auto may = ask("reading a node"); !may) return std::unexpected(may.error());
  const Node* found = nullptr;
  for (const auto& [row, node] : memory_->nodes) {
    if (node.name != name || node.standing == Standing::removed) continue;
    if (!found || (found->standing != Standing::approved && node.standing == Standing::approved))
      found = &node;
  }
  return found ? std::optional(*found) : std::nullopt;
}

Result<std::vector<Node>> MemoryStore::nodes_named(std::string_view name) {
  if (auto may = ask("reading nodes"); !may) return std::unexpected(may.error());
  std::vector<Node> nodes;
  for (const auto& [row, node] : memory_->nodes)
    if (node.name == name) nodes.push_back(node);
  return nodes;
}

/// The unique indexes of the contract of save_node().
Result<> MemoryStore::Memory::check_unique(const Node& node) const {
  if (node.standing == Standing::removed) return {};
  for (const auto& [row, other] : nodes) {
    if (row == node.row || other.standing == Standing::removed) continue;
    if (node.id && other.id == node.id)
      return fail(Errc::invalid, "saving node {}: its id is that of {}", node.name, other.name);
    if (other.name != node.name) continue;
    const bool both_approved =
        node.standing == Standing::approved && other.standing == Standing::approved;
    if (both_approved || (!node.id && !other.id))
      return fail(Errc::invalid, "saving node {}: its name is taken", node.name);
  }
  return {};
}

Result<Node> MemoryStore::save_node(const Node& node, const std::optional<AuditEntry>& audit,
                                    std::span<const StoredDocument> documents) {
  if (auto may = ask("saving a node"); !may) return std::unexpected(may.error());
  if (node.row != 0 && !memory_->nodes.contains(node.row))
    return fail(Errc::invalid, "node {} has no row {}", node.name, node.row);
  if (auto fine = memory_->check_unique(node); !fine) return std::unexpected(fine.error());
  if (!documents.empty()) {
    Documents changed = memory_->documents;
    for (const StoredDocument& document : documents)
      if (auto written = changed.write(document); !written) return std::unexpected(written.error());
    memory_->documents = std::move(changed);
  }
  Node saved = node;
  if (saved.row == 0) saved.row = memory_->next_row++;
  memory_->nodes.insert_or_assign(saved.row, saved);
  if (audit) memory_->write_audit(*audit);
  return saved;
}

Result<> MemoryStore::erase_node(std::int64_t row, const AuditEntry& audit) {
  if (auto may = ask("erasing a node"); !may) return may;
  if (memory_->nodes.erase(row) == 0) return fail(Errc::invalid, "there is no node in row {}", row);
  memory_->write_audit(audit);
  return {};
}

Result<std::size_t> MemoryStore::seen(std::span<const Seen> seen) {
  if (seen.empty()) return std::size_t{0};
  if (auto may = ask("noting what was seen"); !may) return std::unexpected(may.error());
  std::size_t noted = 0;
  for (const Seen& one : seen) noted += memory_->see(one) ? 1 : 0;
  return noted;
}

bool MemoryStore::Memory::see(const Seen& seen) {
  const auto at = std::ranges::find_if(nodes, [&](const auto& entry) {
    return entry.second.id == seen.id && entry.second.standing != Standing::removed;
  });
  if (at == nodes.end() || !note_seen(at->second, seen)) return false;
  for (const Seen::Sealed& sealed : seen.sealed) {
    if (!has_room_for(sealed.stream)) continue;
    StreamLedger& ledger = open_stream(sealed.stream).ledger;
    if (const auto found = ledger.raise_sealed(sealed.sequence, sealed.hash))
      put_aside(sealed.stream, sealed.sequence, sealed.hash, *found, seen.time.value_or(WallTime{}),
                std::make_shared<const Bytes>(seen.head));
  }
  return true;
}

Result<std::uint64_t> MemoryStore::next_document_number(std::uint32_t type) {
  if (auto may = ask("taking a document number"); !may) return std::unexpected(may.error());
  return ++memory_->documents.numbers[type];
}

Result<> MemoryStore::save_document(const StoredDocument& document) {
  if (auto may = ask("saving a document"); !may) return may;
  return memory_->documents.write(document);
}

Result<std::vector<StoredDocument>> MemoryStore::documents(std::uint32_t type) {
  if (auto may = ask("reading documents"); !may) return std::unexpected(may.error());
  std::vector<StoredDocument> found;
  for (const auto& [key, document] : memory_->documents.newest)
    if (key.first == type) found.push_back(document);
  return found;
}

Result<> MemoryStore::add_revocations(std::span<const Revocation> revocations,
                                      std::span<const AuditEntry> audit,
                                      std::span<const StoredDocument> documents,
                                      std::optional<WallTime> over) {
  if (auto may = ask("revoking certificates"); !may) return may;
  Documents changed = memory_->documents;
  for (const StoredDocument& document : documents)
    if (auto written = changed.write(document); !written) return written;
  memory_->documents = std::move(changed);
  auto& all = memory_->revocations;
  for (const Revocation& one : revocations)
    if (std::ranges::find(all, one.certificate, &Revocation::certificate) == all.end())
      all.push_back(one);
  if (over)
    std::erase_if(all,
                  [&](const Revocation& one) { return one.not_after && *one.not_after < *over; });
  for (const AuditEntry& entry : audit) memory_->write_audit(entry);
  return {};
}

Result<std::vector<Revocation>> MemoryStore::revocations() {
  if (auto may = ask("reading revocations"); !may) return std::unexpected(may.error());
  return memory_->revocations;
}

Result<> MemoryStore::audit(const AuditEntry& entry) {
  if (auto may = ask("writing the audit log"); !may) return may;
  memory_->write_audit(entry);
  return {};
}

Result<std::vector<AuditEntry>> MemoryStore::audit_log(std::size_t limit,
                                                       std::optional<std::int64_t> before) {
  std::vector<AuditEntry> entries;
  for (auto at = memory_->audit.rbegin(); at != memory_->audit.rend() && entries.size() < limit;
       ++at)
    if (!before || at->row < *before) entries.push_back(*at);
  return entries;
}

Result<> MemoryStore::add_api_token(const ApiToken& token, const AuditEntry& audit) {
  if (auto may = ask("saving an API token"); !may) return may;
  auto& tokens = memory_->tokens;
  const auto is_over = [&](const ApiToken& one) {
    return one.revoked || (one.expires && *one.expires <= token.created);
  };
  const auto over = static_cast<std::size_t>(std::ranges::count_if(tokens, is_over));
  if (auto may = may_add_token(tokens.size() - over); !may) return may;
  if (find_token(token.id) != nullptr)
    return fail(Errc::invalid, "there is an API token {} already", token.id);
  if (over > kApiTokensOverMax) tokens.erase(std::ranges::find_if(tokens, is_over));
  tokens.push_back(token);
  memory_->write_audit(audit);
  return {};
}

ApiToken* MemoryStore::find_token(std::string_view id) {
  const auto found =
      std::ranges::find_if(memory_->tokens, [&](const ApiToken& one) { return one.id == id; });
  return found == memory_->tokens.end() ? nullptr : &*found;
}

Result<bool> MemoryStore::revoke_api_token(std::string_view id, WallTime now,
                                           const AuditEntry& audit) {
  if (auto may = ask("revoking an API token"); !may) return std::unexpected(may.error());
  ApiToken* token = find_token(id);
  if (token == nullptr || token->revoked) return false;
  token->revoked = now;
  memory_->write_audit(audit);
  return true;
}

Result<> MemoryStore::api_token_used(std::string_view id, WallTime now) {
  if (auto may = ask("noting an API token's use"); !may) return may;
  if (ApiToken* token = find_token(id)) token->last_used = now;
  return {};
}

Result<std::optional<ApiToken>> MemoryStore::api_token(std::string_view id) {
  if (auto may = ask("reading an API token"); !may) return std::unexpected(may.error());
  const ApiToken* token = find_token(id);
  return token == nullptr ? std::nullopt : std::optional(*token);
}

Result<std::vector<ApiToken>> MemoryStore::api_tokens() {
  return std::vector<ApiToken>(memory_->tokens.rbegin(), memory_->tokens.rend());
}

Result<> MemoryStore::add_join_token(const JoinToken& token, const AuditEntry& audit) {
  if (auto may = ask("saving a join token"); !may) return may;
  auto& tokens = memory_->join_tokens;
  const auto is_over = [&](const JoinToken& one) {
    return one.revoked || one.expires <= token.created;
  };
  const auto over = static_cast<std::size_t>(std::ranges::count_if(tokens, is_over));
  if (auto may = may_add_join_token(tokens.size() - over); !may) return may;
  if (find_join_token(token.id) != nullptr)
    return fail(Errc::invalid, "there is a join token {} already", token.id);
  if (over > kJoinTokensOverMax) {
    const auto oldest = std::ranges::find_if(tokens, is_over);
    std::erase_if(memory_->join_uses,
                  [&](const auto& use) { return use.first.first == oldest->id; });
    tokens.erase(oldest);
  }
  tokens.push_back(token);
  tokens.back().uses = 0;
  memory_->write_audit(audit);
  return {};
}

JoinToken* MemoryStore::find_join_token(std::string_view id) {
  const auto found = std::ranges::find_if(memory_->join_tokens,
                                          [&](const JoinToken& one) { return one.id == id; });
  return found == memory_->join_tokens.end() ? nullptr : &*found;
}

Result<bool> MemoryStore::revoke_join_token(std::string_view id, WallTime now,
                                            const AuditEntry& audit) {
  if (auto may = ask("revoking a join token"); !may) return std::unexpected(may.error());
  JoinToken* token = find_join_token(id);
  if (token == nullptr || token->revoked) return false;
  token->revoked = now;
  memory_->write_audit(audit);
  return true;
}

Result<std::optional<JoinToken>> MemoryStore::join_token(std::string_view id) {
  if (auto may = ask("reading a join token"); !may) return std::unexpected(may.error());
  const JoinToken* token = find_join_token(id);
  return token == nullptr ? std::nullopt : std::optional(*token);
}

Result<std::vector<JoinToken>> MemoryStore::join_tokens() {
  if (auto may = ask("reading the join tokens"); !may) return std::unexpected(may.error());
  return std::vector<JoinToken>(memory_->join_tokens.rbegin(), memory_->join_tokens.rend());
}

Result<JoinUsed> MemoryStore::use_join_token(const JoinUse& use, const AuditEntry& audit) {
  if (auto may = ask("using a join token"); !may) return std::unexpected(may.error());
  JoinToken* token = find_join_token(use.token);
  if (token == nullptr) return fail(Errc::invalid, "there is no join token {}", use.token);
  const auto known = memory_->join_uses.find({use.token, use.node});
  const JoinUsed used = judge_use(
      *token, known == memory_->join_uses.end() ? std::nullopt : std::optional(known->second), use);
  if (used.verdict == JoinUsed::Verdict::replayed || used.verdict == JoinUsed::Verdict::used_up)
    return used;
  memory_->join_uses[{use.token, use.node}] = use.number;
  if (used.verdict == JoinUsed::Verdict::counted) ++token->uses;
  memory_->write_audit(audit);
  return used;
}

Result<std::uint32_t> MemoryStore::generation() {
  if (auto may = ask("reading the generation"); !may) return std::unexpected(may.error());
  return memory_->generation;
}

Result<std::uint32_t> MemoryStore::raise_generation(std::uint32_t at_least) {
  if (auto may = ask("raising the generation"); !may) return std::unexpected(may.error());
  memory_->generation = std::max(memory_->generation, at_least);
  return memory_->generation;
}

Result<std::optional<std::string>> MemoryStore::setting(std::string_view key) {
  if (auto may = ask("reading a setting"); !may) return std::unexpected(may.error());
  const auto found = memory_->settings.find(key);
  if (found == memory_->settings.end()) return std::optional<std::string>();
  return found->second;
}

Result<> MemoryStore::set_setting(std::string_view key, std::string_view value) {
  if (auto may = ask("saving a setting"); !may) return may;
  memory_->settings.insert_or_assign(std::string(key), std::string(value));
  return {};
}

}  // namespace postern::store
