#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "gateway/gateway.h"
#include "identity/key.h"
#include "server/server.h"
#include "sim/certificates.h"
#include "sim/machine.h"
#include "sim/shared_store.h"
#include "store/memory.h"

namespace postern::sim {

/// How large a run's group is and how its nodes hang together; drawn from the seed.
struct Shape {
  std::size_t servers = 2, gateways = 1, agents = 1;
  std::vector<std::vector<std::string>> parents;  // labels, of each gateway, then of each agent
  Duration interval = std::chrono::seconds(10);
  std::uint64_t spool_bytes_max = 64u << 20;
  std::uint64_t segment_bytes = 16u << 20;
  relay::Relay::Limits relay;
  relay::CreditBook::Limits credit;
};
Shape draw_shape(Random& random);

/// A management group: its keys, its store, its machines with everything installed, and everybody
/// approved. Nothing runs yet.
class Group {
 public:
  Group(Surface& surface, Certificates& certificates, Shape shape);
  ~Group();

  Machine& machine(std::size_t index) { return *machines_[index]; }
  std::size_t size() const { return shape_.servers + shape_.gateways + shape_.agents; }
  /// Another machine with the same node on it: a folder that was copied and started. Its disk is
  /// empty and it is off. It stays until the end of the run.
  Machine& add_clone(std::size_t index);
  bool is_server(std::size_t index) const { return index < shape_.servers; }
  bool is_gateway(std::size_t index) const {
    return !is_server(index) && index < shape_.servers + shape_.gateways;
  }
  bool is_agent(std::size_t index) const { return !is_server(index) && !is_gateway(index); }
  const Shape& shape() const { return shape_; }

  /// Which one can be captured; its key is known then.
  Machine& capturable() { return *machines_[shape_.servers + capturable_]; }
  const PrivateKey& key_of_capturable() const { return *key_of_capturable_; }
  std::vector<NodeId> node_ids() const;

  store::MemoryStore& store() { return store_; }
  /// The parents of a node in another order, as an administrator changes them.
  void set_parents(std::size_t index, std::vector<std::string> labels);

  /// What the store shows of a node now, for the oracle.
  Oracle::Current current(const NodeId& node);
  std::vector<wire::Coverage> applied(const NodeId& node);

  static std::string name_of(const std::string& label) { return label + ".sim.example"; }

 private:
  struct Keys {
    std::string label;
    PrivateKey identity;
  };
  void make_store(const PrivateKey& root, const std::vector<PrivateKey>& delegates,
                  const std::vector<Keys>& nodes);
  void add_machine(const Keys& keys);
  WatchedDisk::Files files_of(const Keys& keys, const PrivateKey& root, const PrivateKey* delegate,
                              std::uint64_t number);
  NodeSettings settings_of(std::size_t index);
  Result<std::unique_ptr<Product>> open(std::size_t index, const node::Surroundings& given);
  Result<std::unique_ptr<Product>> open_server(std::size_t index, node::Surroundings around);

  Surface& surface_;
  Certificates& certificates_;
  Shape shape_;
  std::size_t capturable_ = 0;  // of the gateways
  std::optional<PrivateKey> key_of_capturable_;
  store::MemoryStore store_;
  std::vector<std::unique_ptr<Machine>> machines_;
};

}  // namespace postern::sim
