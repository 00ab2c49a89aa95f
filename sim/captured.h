#pragma once

#include <array>
#include <set>
#include <vector>

#include "identity/key.h"
#include "sim/machine.h"

namespace postern::sim {

/// A gateway in wrong hands, between its honest program and the wires: it has the gateway's keys
/// and nobody else's, and does with every message whatever it likes. What it says in its own name
/// is its own; all else must not be believed.
class Captured final {
 public:
  Captured(Surface& surface, Machine& machine, const PrivateKey& identity,
           std::vector<NodeId> nodes);

  /// From now on, until release().
  void capture();
  void release() { active_ = false; }
  bool active() const { return active_; }
  bool has(const Host& host) const { return active_ && host.index() == machine_.index(); }

  /// A message leaves or reaches it. False: it goes no further.
  bool leaving(Channel& channel, wire::Message& message);
  bool arriving(Channel& channel, wire::Message& message);

 private:
  using Type = wire::Type;
  struct Batch {
    wire::StreamKey stream;
    std::uint64_t sequence = 0;
    Digest hash{};
    wire::Message message;
  };

  bool one_in(std::uint64_t n) { return surface_.random.below(n) == 0; }
  void remember(const wire::Message& message);
  bool withhold_or_alter(Channel& channel, wire::Message& message);
  void send_later(Channel& channel, wire::Message message);
  void lie_in_hello(Channel& channel, wire::Message& message);
  void lie_down(Channel& channel);  // to a child
  void lie_up(Channel& channel);    // to the parent
  static std::optional<Batch> batch_in(const wire::Message& message);
  wire::Message stored_without_hash(const Batch& batch);
  wire::Message forged_stored();
  wire::Message forged_settled();
  wire::Message forged_answer();
  wire::Message forged_gap();
  wire::Message forged_presence();
  wire::Message forged_notice();
  void put(Channel& channel, wire::Message message, std::string_view what);
  static void turn_a_bit(wire::Message& message, Random& random);

  Surface& surface_;
  Machine& machine_;
  const PrivateKey& identity_;
  const std::vector<NodeId> nodes_;
  bool active_ = false;
  bool withholds_ = false, freezes_documents_ = false, lies_ = false, alters_ = false;
  std::vector<Batch> batches_;                           // seen, the newest few
  std::array<std::vector<wire::Message>, 32> messages_;  // by type, likewise
  std::uint64_t own_gaps_ = 0;
  std::set<std::uint64_t> false_hellos_;  // channels on which it said to be what it is not
};

}  // namespace postern::sim
