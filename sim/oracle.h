#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/bytes.h"
#include "base/node_id.h"
#include "sim/trace.h"
#include "wire/batch.h"
#include "wire/coverage.h"

namespace postern::sim {

/// What somebody observed, as the oracle's own key for it.
struct Record {
  bool state = false;        // of an entity; else a measurement
  std::string name;          // which entity, which measurement
  std::uint64_t number = 0;  // unique in the run
};

struct BatchName {
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  auto operator<=>(const BatchName&) const = default;
};

/// Knows what must be true of a run, from what it saw itself: what was observed, what stood on
/// whose disk and when, what went over the wires, what the store was told. It shares no code with
/// the product's decisions; it reads batches by the offsets of docs/formats/batch.md.
class Oracle {
 public:
  struct Broken {
    std::string promise;  // "D3"
    std::string words;
  };

  Oracle(Trace& trace, Coverage& coverage) : trace_(trace), coverage_(coverage) {}

  // ---- What is known of a node
  /// Why something of its own may be gone: damage that was done to its folder.
  enum class Excuse { rot, set_back, small_disk };
  void meet(std::size_t machine, const NodeId& node, const std::string& label, bool server);
  void meet_clone(std::size_t machine, const NodeId& node) { node_of_machine_[machine] = node; }
  void excuse(const NodeId& node, Excuse excuse) { nodes_[node].excuses.insert(excuse); }
  /// Its keys are in wrong hands: what it says of itself is nobody's promise.
  void captured(const NodeId& node) { nodes_[node].captured = true; }
  /// It kept a batch from going on; or let it go on.
  void withheld(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash) {
    withheld_.insert({{stream, sequence}, hash});
  }
  void let_through(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash) {
    withheld_.erase({{stream, sequence}, hash});
  }
  /// What this machine made and nobody has yet dies with it.
  void forget_machine(std::size_t machine) { dead_machines_.insert(machine); }
  void removed(const NodeId& node) { nodes_[node].removed = true; }
  bool is_server(std::size_t machine) const {
    return nodes_.at(node_of_machine_.at(machine)).server;
  }
  bool is_removed(const NodeId& node) const { return nodes_.at(node).removed; }

  // ---- What the origins do
  void observed(const NodeId& node, const Digest& payload, std::vector<Record> records);
  void on_write(std::size_t machine, const NodeId& node, const std::string& path, ByteView bytes);
  void on_sync(std::size_t machine, const std::string& path);
  void on_remove(std::size_t machine, const std::string& path);
  /// A turn of the machine's disk work ended: what was synced in it counts, if nothing failed.
  void turn_ended(std::size_t machine, bool all_well);
  /// The process is gone; with it what was under way.
  void machine_ended(std::size_t machine);
  /// What stood on its disk stands there no more, by somebody else's doing.
  void disk_replaced(std::size_t machine) { machines_.erase(machine); }
  /// Somebody sends a batch message; if it is his own, it must be on stable storage.
  void on_batch_sent(std::size_t machine, ByteView message);
  /// The newest document of a type that a node says it has; since `life` of its process.
  void on_document_number(std::size_t machine, std::uint64_t life, std::uint32_t type,
                          std::uint32_t generation, std::uint64_t number);

  /// Whether somebody honest ever said that it has a deny list.
  bool deny_list_is_known() const;

  /// A node sends a head of itself: the message as it signed it.
  void on_head_sent(ByteView head);

  // ---- What the store does
  struct Ledger {  // copied with the store
    std::map<BatchName, Digest> applied;
    struct Gap {
      wire::StreamKey stream;
      std::uint64_t first = 0, last = 0;
      auto operator<=>(const Gap&) const = default;
    };
    std::set<Gap> gaps;
    /// Of what took effect, with its observations: by which batch these were sealed first.
    std::map<Digest, BatchName> payloads;
    std::map<NodeId, std::uint64_t> heads;
  };
  Ledger& ledger() { return ledger_; }
  /// The store committed this batch. `payload`: SHA-256; `refused`: without effect, for good;
  /// `no_effect`: what it holds took effect before, as it says.
  void on_applied(const BatchName& batch, const Digest& hash, Digest payload,
                  wire::PayloadKind kind, bool refused, bool no_effect = false);
  void on_gap(const NodeId& signer, const wire::GapRecord& gap);
  /// The newest head that the store has of a node.
  void on_head_known(const NodeId& node, std::uint64_t number, ByteView head);
  /// By a gateway's word a node is connected: only its own may say that (rule D6).
  void on_good_word(const NodeId& node, const std::string& by);
  /// A server says that this is settled: the store must have committed it by now.
  void on_settled_said(const wire::Coverage& coverage);

  // ---- The verdict
  /// The store as it is at the end, by its own word.
  struct Current {
    std::map<std::string, std::uint64_t> values, entities;  // name -> number
  };
  /// After the quiet time: everything must have arrived or be explained.
  void check_delivery();
  /// Nothing is open any more, so nobody has to wait longer.
  bool all_delivered() const { return !first_undelivered(); }
  void check_current(const NodeId& node, const Current& current);
  /// What the store says is applied of a stream is what it was seen to commit.
  void check_applied(const wire::Coverage& applied);

  void count(std::string_view rare) { coverage_.count(rare); }
  const std::optional<Broken>& broken() const { return broken_; }
  void breaks(const char* promise, std::string words);
  std::size_t promised() const { return promised_; }

 private:
  struct Made {
    Digest hash{}, payload{};  // the payload of what was sealed first
    BatchName first;
    wire::PayloadKind kind = wire::PayloadKind::metrics;
    std::size_t machine = 0;
    bool synced = false;    // its bytes are on stable storage
    bool promised = false;  // and its origin believes so
    bool sent = false;
  };
  struct Node {
    std::string label;
    bool server = false, removed = false, captured = false;
    std::set<Excuse> excuses;
  };
  struct Copy {
    BatchName batch;
    Digest hash{};
    auto operator<=>(const Copy&) const = default;
  };
  struct Machine {
    std::vector<std::pair<std::string, Copy>> written, synced;  // in this turn, by file
    std::map<std::string, std::set<Copy>> files;
  };

  Made* find(const BatchName& batch, const Digest& hash);
  void opened(const Copy& copy);
  void made(std::size_t machine, const Copy& copy, const BatchName& first, const Digest& payload,
            wire::PayloadKind kind);
  bool in_gap(const Ledger& ledger, const BatchName& batch) const;
  bool may_be_forgotten(const BatchName& batch, const Made& made) const;
  void on_sent(const BatchName& batch, const Digest& hash);
  std::optional<BatchName> first_undelivered() const;
  std::string text(const BatchName& batch) const;

  Trace& trace_;
  Coverage& coverage_;
  std::map<NodeId, Node> nodes_;
  std::map<BatchName, std::vector<Made>> made_;
  std::set<Copy> withheld_;
  std::map<wire::StreamKey, Digest> openings_;       // of epochs, as they were made first
  std::map<Digest, std::vector<Record>> contents_;   // by payload
  std::map<Digest, std::set<BatchName>> sealed_in_;  // payload -> batches that hold it
  std::map<std::size_t, Machine> machines_;
  std::map<std::tuple<std::size_t, std::uint64_t, std::uint32_t>,
           std::pair<std::uint32_t, std::uint64_t>>
      documents_;  // by machine, life and type
  std::map<std::size_t, NodeId> node_of_machine_;
  std::set<std::size_t> dead_machines_;
  std::set<Digest> heads_;  // as they were sent
  Ledger ledger_;
  std::set<std::pair<BatchName, Digest>> ever_applied_;
  std::set<Digest> ever_applied_payloads_;
  std::map<wire::StreamKey, std::uint64_t> ever_settled_up_to_;  // from 1 on, without a hole
  std::set<Ledger::Gap> ever_gaps_, releases_;
  std::optional<Broken> broken_;
  std::size_t promised_ = 0;
};

}  // namespace postern::sim
