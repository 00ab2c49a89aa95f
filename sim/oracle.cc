#include "sim/oracle.h"

#include <algorithm>
#include <cstring>

#include "base/cursor.h"
#include "identity/key.h"

namespace postern::sim {
namespace {

constexpr std::size_t kHeaderBytes = 216, kSignedBytes = 152;
constexpr std::string_view kMagic = "PSTB";

/// A batch as batch.md draws it.
struct Seen {
  BatchName name, first;  // first: of what it was sealed again from
  Digest hash{}, payload{};
  wire::PayloadKind kind = wire::PayloadKind::metrics;
  ByteView content;
  std::size_t bytes = 0;
};

std::optional<Seen> read(ByteView bytes) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  Reader in(bytes);
  in.view(4);
  const std::uint8_t version = in.u8(), lane = in.u8(), kind = in.u8();
  in.u8();
  Seen seen;
  seen.name.stream.node.bytes = in.array<16>();
  seen.name.stream.epoch.ordinal = in.u32();
  in.u32();
  seen.name.stream.epoch.random = in.u64();
  seen.name.sequence = in.u64();
  in.view(32 + 3 * 8 + 4);
  const std::uint32_t payload_bytes = in.u32();
  in.view(8);
  seen.payload = in.array<32>();
  if (version != 1 || !wire::is_lane(lane) || bytes.size() - kHeaderBytes < payload_bytes)
    return std::nullopt;
  seen.name.stream.lane = static_cast<wire::Lane>(lane);
  seen.kind = static_cast<wire::PayloadKind>(kind);
  seen.content = bytes.subspan(kHeaderBytes, payload_bytes);
  if (sha256(seen.content) != seen.payload) return std::nullopt;  // the magic by chance
  seen.hash = sha256(bytes.first(kSignedBytes));
  seen.first = seen.name;
  seen.bytes = kHeaderBytes + payload_bytes;
  if (seen.kind == wire::PayloadKind::sealed_again) {
    const auto inner = read(seen.content);
    if (!inner || inner->name.stream.node != seen.name.stream.node) return std::nullopt;
    seen.first = inner->first;
    seen.payload = inner->payload;
    seen.kind = inner->kind;
    seen.content = inner->content;
  }
  return seen;
}

bool is_observed(wire::PayloadKind kind) {
  return kind == wire::PayloadKind::metrics || kind == wire::PayloadKind::logs;
}

constexpr std::string_view kOpenings[] = {"epoch: none", "epoch: new folder", "epoch: unreadable",
                                          "epoch: set back"};

/// By which a later record replaces an earlier one (batch.md#B50); epochs of one ordinal, which
/// only set back and cloned folders make, are ordered by their random part.
auto rank(const BatchName& name) {
  return std::tuple(name.stream.epoch.ordinal, name.stream.epoch.random, name.sequence);
}

}  // namespace

std::string Oracle::text(const BatchName& batch) const {
  const auto node = nodes_.find(batch.stream.node);
  return fmt::format("batch {} of {}/{}.{:04x}/{}", batch.sequence,
                     node == nodes_.end() ? "a stranger" : node->second.label,
                     batch.stream.epoch.ordinal, batch.stream.epoch.random & 0xffff,
                     wire::to_string(batch.stream.lane));
}

void Oracle::breaks(const char* promise, std::string words) {
  if (broken_) return;
  trace_.note(9999);
  broken_ = Broken{promise, std::move(words)};
}

void Oracle::meet(std::size_t machine, const NodeId& node, const std::string& label, bool server) {
  node_of_machine_[machine] = node;
  nodes_[node].label = label;
  nodes_[node].server = server;
}

void Oracle::observed(const NodeId&, const Digest& payload, std::vector<Record> records) {
  contents_[payload] = std::move(records);
}

Oracle::Made* Oracle::find(const BatchName& batch, const Digest& hash) {
  const auto found = made_.find(batch);
  if (found == made_.end()) return nullptr;
  for (Made& made : found->second)
    if (made.hash == hash) return &made;
  return nullptr;
}

// ---- The origin's disk

void Oracle::on_write(std::size_t machine, const NodeId& node, const std::string& path,
                      ByteView bytes) {
  const std::string_view all = as_text(bytes);
  for (auto at = all.find(kMagic); at != all.npos; at = all.find(kMagic, at + 1)) {
    const auto seen = read(bytes.subspan(at));
    if (!seen || seen->name.stream.node != node) continue;
    const Copy copy{seen->name, seen->hash};
    made(machine, copy, seen->first, seen->payload, seen->kind);
    machines_[machine].written.emplace_back(path, copy);
    machines_[machine].files[path].insert(copy);
    if (seen->kind == wire::PayloadKind::release)
      if (const auto release = wire::decode_release(seen->content)) {
        coverage_.count("release record");
        // Nobody can have what was never sent, nor know its hash, whatever a parent says.
        const BatchName last{release->stream, release->last};
        const Made* const given = find(last, release->at_last);
        const bool withheld =
            nodes_[release->parent].captured && withheld_.contains({last, release->at_last});
        if (given == nullptr || !given->sent || withheld)
          breaks("D3", fmt::format("{} is released to a parent that never got it", text(last)));
        releases_.insert({release->stream, release->first, release->last});
      }
    if (seen->kind == wire::PayloadKind::epoch_opening) {
      opened(copy);
      if (const auto opening = wire::decode_epoch_opening(seen->content))
        coverage_.count(kOpenings[static_cast<std::size_t>(opening->reason) & 3]);
    }
    at += seen->bytes - 1;
  }
}

/// Whatever happened to its folder: an epoch is begun once, and by one life (rule D1).
void Oracle::opened(const Copy& copy) {
  if (nodes_[copy.batch.stream.node].captured) return;
  if (copy.batch.sequence != 1)
    breaks("D1", fmt::format("{} opens an epoch that is open already", text(copy.batch)));
  const auto [first, fresh] = openings_.emplace(copy.batch.stream, copy.hash);
  if (!fresh && first->second != copy.hash)
    breaks("D1", fmt::format("{} opens an epoch that another life has opened", text(copy.batch)));
}

void Oracle::made(std::size_t machine, const Copy& copy, const BatchName& first,
                  const Digest& payload, wire::PayloadKind kind) {
  if (find(copy.batch, copy.hash) != nullptr) return;
  const Node& node = nodes_[copy.batch.stream.node];
  for (const Made& other : made_[copy.batch])
    if ((other.promised || other.sent) && node.excuses.empty())
      breaks("D1", fmt::format("{} is made a second time, with another content", text(copy.batch)));
  if (is_observed(kind) && !contents_.contains(payload) && !node.captured)
    breaks("D6", fmt::format("{} holds what nobody observed", text(copy.batch)));
  made_[copy.batch].push_back({copy.hash, payload, first, kind, machine, false, false, false});
  auto& batches = sealed_in_[payload];
  batches.insert(copy.batch);
  if (is_observed(kind) && batches.size() > 1) coverage_.count("sealed again");
}

void Oracle::on_sync(std::size_t machine, const std::string& path) {
  Machine& at = machines_[machine];
  std::erase_if(at.written, [&](const auto& entry) {
    if (entry.first != path) return false;
    if (Made* const made = find(entry.second.batch, entry.second.hash)) made->synced = true;
    at.synced.push_back(entry);
    return true;
  });
}

void Oracle::turn_ended(std::size_t machine, bool all_well) {
  Machine& at = machines_[machine];
  if (all_well)
    for (const auto& [path, copy] : at.synced)
      if (Made* const made = find(copy.batch, copy.hash); made != nullptr && !made->promised) {
        made->promised = true;
        ++promised_;
      }
  at.synced.clear();
}

void Oracle::machine_ended(std::size_t machine) {
  machines_[machine].synced.clear();
  machines_[machine].written.clear();
}

void Oracle::on_batch_sent(std::size_t machine, ByteView message) {
  const std::size_t stamps = message.empty() ? 0 : std::to_integer<std::size_t>(message[0]);
  const std::size_t at = 1 + 24 * stamps;
  if (message.size() < at + kHeaderBytes) return;
  const NodeId& node = node_of_machine_[machine];
  if (!std::equal(node.bytes.begin(), node.bytes.end(), message.begin() + at + 8)) return;
  if (const auto seen = read(message.subspan(at))) on_sent(seen->name, seen->hash);
}

void Oracle::on_sent(const BatchName& batch, const Digest& hash) {
  Made* const made = find(batch, hash);
  if (made == nullptr) {
    breaks("D1", fmt::format("{} is sent, and was never written down", text(batch)));
    return;
  }
  if (!made->synced)
    breaks("D1", fmt::format("{} is sent before it is on stable storage", text(batch)));
  made->sent = true;
  if (!std::exchange(made->promised, true)) ++promised_;
}

bool Oracle::deny_list_is_known() const {
  constexpr std::uint32_t kDeny = 4;  // document.md
  return std::ranges::any_of(documents_, [this](const auto& entry) {
    const auto& [machine, life, type] = entry.first;
    const auto& node = nodes_.at(node_of_machine_.at(machine));
    return type == kDeny && !node.captured && !node.removed;
  });
}

void Oracle::on_document_number(std::size_t machine, std::uint64_t life, std::uint32_t type,
                                std::uint32_t generation, std::uint64_t number) {
  auto& known = documents_[{machine, life, type}];
  const std::pair now(generation, number);
  if (now < known)
    breaks("T4", fmt::format("{} goes back to an older document of type {}",
                             nodes_[node_of_machine_[machine]].label, type));
  known = now;
}

bool Oracle::in_gap(const Ledger& ledger, const BatchName& batch) const {
  return std::ranges::any_of(ledger.gaps, [&](const Ledger::Gap& gap) {
    return gap.stream == batch.stream && gap.first <= batch.sequence && batch.sequence <= gap.last;
  });
}

/// Rule D3, and what it allows: settled, gone by the origin's own word, released, or sealed anew.
bool Oracle::may_be_forgotten(const BatchName& batch, const Made& made) const {
  if (ever_applied_.contains({batch, made.hash})) return true;
  const auto covers = [&](const Ledger::Gap& gap) {
    return gap.stream == batch.stream && gap.first <= batch.sequence && batch.sequence <= gap.last;
  };
  if (std::ranges::any_of(ever_gaps_, covers) || std::ranges::any_of(releases_, covers))
    return true;
  if (!is_observed(made.kind)) return !nodes_.at(batch.stream.node).excuses.empty();
  for (const BatchName& other : sealed_in_.at(made.payload)) {
    if (other == batch) continue;
    for (const Made& again : made_.at(other))
      if (again.payload == made.payload && again.promised) return true;
  }
  return ever_applied_payloads_.contains(made.payload);
}

void Oracle::on_remove(std::size_t machine, const std::string& path) {
  Machine& at = machines_[machine];
  const auto file = at.files.find(path);
  if (file == at.files.end()) return;
  const std::set<Copy> copies = std::move(file->second);
  at.files.erase(file);
  for (const Copy& copy : copies) {
    const bool elsewhere = std::ranges::any_of(
        at.files, [&](const auto& other) { return other.second.contains(copy); });
    const Made* const made = find(copy.batch, copy.hash);
    const Node& node = nodes_[copy.batch.stream.node];
    if (elsewhere || !made->promised || may_be_forgotten(copy.batch, *made)) continue;
    if (node.excuses.contains(Excuse::rot) || node.excuses.contains(Excuse::small_disk)) continue;
    breaks("D3",
           fmt::format("{} deletes {}, which no server has settled", node.label, text(copy.batch)));
  }
}

// ---- The store

void Oracle::on_applied(const BatchName& batch, const Digest& hash, Digest payload,
                        wire::PayloadKind kind, bool refused, bool no_effect) {
  const auto node = nodes_.find(batch.stream.node);
  if (node == nodes_.end()) {
    breaks("D6", fmt::format("{} is applied", text(batch)));
    return;
  }
  if (!node->second.server && !node->second.captured && find(batch, hash) == nullptr)
    breaks("D6", fmt::format("{} is applied, and {} never made it like that", text(batch),
                             node->second.label));
  const auto [at, fresh] = ledger_.applied.try_emplace(batch, hash);
  if (!fresh) breaks("D4", fmt::format("{} is applied twice", text(batch)));
  ever_applied_.insert({batch, hash});
  BatchName sealed_first = batch;
  if (const Made* const made = find(batch, hash)) {
    sealed_first = made->first;
    payload = made->payload;
    kind = made->kind;
  }
  if (!is_observed(kind) || node->second.server || node->second.captured) return;
  if (!contents_.contains(payload))
    breaks("D6", fmt::format("{} is applied with what nobody observed", text(batch)));
  ever_applied_payloads_.insert(payload);
  if (refused) {
    if (!node->second.removed)
      breaks("D11",
             fmt::format("{} is refused for good, and nothing is wrong with it", text(batch)));
    return;
  }
  if (node->second.removed) coverage_.count("applied of a node that is removed meanwhile");
  if (no_effect) {
    coverage_.count("sealed again: known already");
    if (!ledger_.payloads.contains(payload))
      breaks("D4", fmt::format("what {} observed takes no effect with {}, and took none before",
                               node->second.label, text(batch)));
    return;
  }
  const auto [first, once] = ledger_.payloads.try_emplace(payload, sealed_first);
  if (!once)
    breaks("D4", fmt::format("what {} observed takes effect twice: {} and {}", node->second.label,
                             text(first->second), text(batch)));
}

void Oracle::on_gap(const NodeId& signer, const wire::GapRecord& gap) {
  coverage_.count(wire::to_string(gap.reason));
  const Ledger::Gap range{gap.stream, gap.first, gap.last};
  ledger_.gaps.insert(range);
  ever_gaps_.insert(range);
  const Node& node = nodes_[gap.stream.node];
  if (signer == gap.stream.node && node.captured) return;
  const BatchName first{gap.stream, gap.first};
  if (signer != gap.stream.node && gap.reason != wire::GapRecord::Reason::removed)
    breaks("D5", fmt::format("a gap of {} by another node", text(first)));
  using Reason = wire::GapRecord::Reason;
  const auto explained = [&]() {
    switch (gap.reason) {
      case Reason::shed:
        return node.excuses.contains(Excuse::small_disk);
      case Reason::unreadable:
        // Also of what was settled, gave way, and was then lost by the store.
        return !node.excuses.empty();
      case Reason::set_back:
        return node.excuses.contains(Excuse::set_back) || node.excuses.contains(Excuse::rot);
      case Reason::removed:
        return node.removed;
      case Reason::exported:
        return false;
    }
    return false;
  };
  if (!explained())
    breaks("D5", fmt::format("a gap from {} to {} ({}), and nothing happened to {}", text(first),
                             gap.last, wire::to_string(gap.reason), node.label));
}

void Oracle::on_head_sent(ByteView head) { heads_.insert(sha256(head)); }

void Oracle::on_head_known(const NodeId& node, std::uint64_t number, ByteView head) {
  const auto known = nodes_.find(node);
  if (known == nodes_.end()) return breaks("D6", "a head of a stranger is known");
  std::uint64_t& newest = ledger_.heads[node];
  if (number < newest)
    breaks("D6", fmt::format("an older head of {} is taken for its newest", known->second.label));
  if (number > newest && !heads_.contains(sha256(head)))
    breaks("D6", fmt::format("a head of {} is believed that it never sent", known->second.label));
  newest = number;
}

void Oracle::on_good_word(const NodeId& node, const std::string& by) {
  const auto known = nodes_.find(node);
  breaks("D6", fmt::format("{} is connected by the word of {}",
                           known == nodes_.end() ? "a stranger" : known->second.label, by));
}

void Oracle::on_settled_said(const wire::Coverage& coverage) {
  const auto node = nodes_.find(coverage.stream.node);
  if (node == nodes_.end() || node->second.removed) return;
  std::uint64_t& known = ever_settled_up_to_[coverage.stream];
  for (const wire::Interval& interval : coverage.intervals) {
    std::uint64_t next = interval.first <= known ? known + 1 : interval.first;
    for (; next <= interval.last; ++next) {
      const BatchName batch{coverage.stream, next};
      const auto applied = ever_applied_.lower_bound({batch, Digest{}});
      const bool committed =
          (applied != ever_applied_.end() && applied->first == batch) ||
          std::ranges::any_of(ever_gaps_, [&](const Ledger::Gap& gap) {
            return gap.stream == batch.stream && gap.first <= next && next <= gap.last;
          });
      if (!committed) {
        breaks("D3", fmt::format("{} is called settled, and was never committed", text(batch)));
        return;
      }
      if (next == known + 1) known = next;
    }
  }
}

// ---- At the end

std::optional<BatchName> Oracle::first_undelivered() const {
  std::map<wire::StreamKey, std::uint64_t> highest;  // that the store has of a stream
  for (const auto& [batch, hash] : ledger_.applied)
    highest[batch.stream] = std::max(highest[batch.stream], batch.sequence);
  for (const auto& [batch, versions] : made_) {
    const Node& node = nodes_.at(batch.stream.node);
    if (node.removed || node.captured) continue;
    for (const Made& made : versions) {
      if (!made.promised) continue;
      const auto applied = ledger_.applied.find(batch);
      if (applied != ledger_.applied.end() && applied->second == made.hash) continue;
      if (in_gap(ledger_, batch)) continue;
      if (is_observed(made.kind) && ledger_.payloads.contains(made.payload)) continue;  // B26
      if (dead_machines_.contains(made.machine)) continue;
      if (!node.excuses.empty()) {
        // What nobody but the damaged folder knew may be gone without a word; a hole may not.
        if (applied != ledger_.applied.end() || batch.sequence > highest[batch.stream]) continue;
      }
      return batch;
    }
  }
  return std::nullopt;
}

void Oracle::check_delivery() {
  if (const auto lost = first_undelivered())
    breaks("D3", fmt::format("{} is neither applied nor explained by a gap", text(*lost)));
}

void Oracle::check_applied(const wire::Coverage& applied) {
  const BatchName low{applied.stream, 0}, high{applied.stream, UINT64_MAX};
  const auto first = ledger_.applied.lower_bound(low), last = ledger_.applied.upper_bound(high);
  std::uint64_t shown = 0;
  for (const wire::Interval& interval : applied.intervals) {
    shown += interval.last - interval.first + 1;
    const auto edge = ledger_.applied.find({applied.stream, interval.last});
    if (edge == last || edge->second != interval.hash)
      breaks("D4", fmt::format("{} ends what is applied, and was not",
                               text({applied.stream, interval.last})));
  }
  if (shown != static_cast<std::uint64_t>(std::distance(first, last)))
    breaks("D4", fmt::format("{} batches are applied up to {}, and {} were", shown,
                             text({applied.stream, shown}), std::distance(first, last)));
}

void Oracle::check_current(const NodeId& node, const Current& current) {
  if (nodes_[node].captured) return;
  Current right;
  std::map<std::string, std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>> setters[2];
  std::map<std::string, std::set<std::uint64_t>> ties[2];
  for (const auto& [payload, batch] : ledger_.payloads) {
    if (batch.stream.node != node) continue;
    for (const Record& record : contents_.at(payload)) {
      auto& setter = setters[record.state ? 1 : 0][record.name];
      auto& numbers = ties[record.state ? 1 : 0][record.name];
      if (rank(batch) < setter) continue;
      if (rank(batch) > setter) numbers.clear();
      setter = rank(batch);
      // Of one batch the last record of a name stands; clones may tie.
      numbers.insert(record.number);
    }
  }
  for (const bool state : {false, true}) {
    const auto& shown = state ? current.entities : current.values;
    for (const auto& [name, numbers] : ties[state ? 1 : 0]) {
      const auto found = shown.find(name);
      if (found != shown.end() && numbers.contains(found->second)) continue;
      breaks("D4", fmt::format("{} {} of {} is {}, and the newest is {}",
                               state ? "entity" : "value", name, nodes_[node].label,
                               found == shown.end() ? "not there" : std::to_string(found->second),
                               *numbers.rbegin()));
      return;
    }
  }
}

}  // namespace postern::sim
