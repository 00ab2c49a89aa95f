#include "sim/group.h"

#include "base/invariant.h"
#include "node/trust.h"
#include "server/registry.h"

namespace postern::sim {
namespace {

constexpr const char* kGroup = "sim";
constexpr const char* kState = "/state";
constexpr std::uint64_t kSpoolBytesEnough = 1u << 20;  // for everything in a run

class AgentProduct final : public Product {
 public:
  explicit AgentProduct(std::unique_ptr<Agent> agent) : agent_(std::move(agent)) {}
  void stop(const std::string& why) override { agent_->stop(why); }
  void reload(const NodeSettings& settings) override { agent_->reload(settings); }

 private:
  std::unique_ptr<Agent> agent_;
};

class GatewayProduct final : public Product {
 public:
  explicit GatewayProduct(std::unique_ptr<Gateway> gateway) : gateway_(std::move(gateway)) {}
  void stop(const std::string& why) override { gateway_->stop(why); }
  void reload(const NodeSettings& settings) override { gateway_->reload(settings); }

 private:
  std::unique_ptr<Gateway> gateway_;
};

class ServerProduct final : public Product {
 public:
  explicit ServerProduct(std::unique_ptr<Server> server) : server_(std::move(server)) {}
  void stop(const std::string& why) override { server_->stop(why); }
  void call(const std::string& method, const std::string& target,
            std::function<void(unsigned)> done) override {
    HttpRequest request;
    request.method = method;
    request.target = target;
    request.loopback = true;
    server_->api(std::move(request), api::Caller{0, 0, "the simulation", api::Scope::administrate},
                 [done = std::move(done)](const HttpResponse& response) { done(response.status); });
  }

 private:
  std::unique_ptr<Server> server_;
};

template <typename Wrapped, typename Opened>
Result<std::unique_ptr<Product>> wrapped(Result<std::unique_ptr<Opened>> opened) {
  if (!opened) return std::unexpected(opened.error());
  return std::make_unique<Wrapped>(std::move(*opened));
}

wire::pb::Signed delegation(const PrivateKey& root, const PrivateKey& delegate,
                            std::uint64_t number, const NodeId& server, const std::string& name) {
  const WallTime start = MachineClock::kStart;
  wire::pb::Delegation delegation;
  delegation.set_number(number);
  delegation.set_public_key(to_string(delegate.public_key().spki()));
  for (const auto scope :
       {node::Scope::documents, node::Scope::settled, node::Scope::ticks, node::Scope::authority})
    delegation.add_scopes(static_cast<std::uint32_t>(scope));
  delegation.set_not_after_ms(to_ms(start + std::chrono::days(3652)));
  delegation.set_node_id(node::field_of(server.bytes));
  delegation.set_name(name);
  wire::pb::DocumentBody body;
  body.set_version(1);
  body.set_type(static_cast<std::uint32_t>(node::DocumentType::delegation));
  body.set_group_id(node::field_of(root.node_id().bytes));
  body.set_generation(1);
  body.set_number(number);
  body.set_issued_ms(to_ms(start));
  body.set_payload(delegation.SerializeAsString());
  return node::sign_document(body, root, 0);
}

template <typename Value>
void must(const Value& result, const char* what) {
  invariant(result.has_value(), what);
}

}  // namespace

Shape draw_shape(Random& random) {
  Shape shape;
  shape.gateways = 1 + random.below(3);
  shape.agents = 1 + random.below(3);
  const auto server = [&] { return random.below(2) == 0 ? "ms1" : "ms2"; };
  for (std::size_t i = 0; i < shape.gateways; ++i) {
    // The first one hangs on a server, a later one perhaps on one before it.
    const bool chained = i > 0 && random.below(3) != 0;
    const std::string first = chained ? fmt::format("gw{}", 1 + random.below(i)) : server();
    std::vector<std::string> parents{first};
    const std::string second = server();
    if (second != first) parents.push_back(second);
    shape.parents.push_back(parents);
  }
  for (std::size_t i = 0; i < shape.agents; ++i) {
    const std::string first = fmt::format("gw{}", shape.gateways - random.below(shape.gateways));
    std::vector<std::string> parents{first};
    const std::string second = random.below(2) == 0
                                   ? std::string(server())
                                   : fmt::format("gw{}", 1 + random.below(shape.gateways));
    if (second != first) parents.push_back(second);
    shape.parents.push_back(parents);
  }
  shape.interval = std::chrono::seconds(4 + random.below(12));
  shape.segment_bytes = 1'500 + random.below(6'000);
  if (random.below(6) == 0)
    shape.spool_bytes_max = shape.segment_bytes * (6 + random.below(6)) + random.below(10'000);
  shape.relay.release_patience = std::chrono::minutes(10);
  if (random.below(4) == 0) shape.relay.in_flight_bytes_max = 1'000 + random.below(10'000);
  if (random.below(4) == 0) shape.relay.cached_bytes_max = 1'000 + random.below(10'000);
  if (random.below(4) == 0) {
    shape.credit.window_bytes_max = 2'000 + random.below(20'000);
    shape.credit.first_bytes_min = 500 + random.below(1'500);
  }
  return shape;
}

Group::Group(Surface& surface, Certificates& certificates, Shape shape)
    : surface_(surface), certificates_(certificates), shape_(std::move(shape)) {
  const PrivateKey root = PrivateKey::generate();
  std::vector<Keys> nodes;
  std::vector<PrivateKey> delegates;
  const auto add = [&](const char* kind, std::size_t count) {
    for (std::size_t i = 1; i <= count; ++i)
      nodes.push_back({fmt::format("{}{}", kind, i), PrivateKey::generate()});
  };
  add("ms", shape_.servers);
  add("gw", shape_.gateways);
  add("a", shape_.agents);
  for (std::size_t i = 0; i < shape_.servers; ++i) delegates.push_back(PrivateKey::generate());

  make_store(root, delegates, nodes);
  capturable_ = surface_.random.below(shape_.gateways);
  key_of_capturable_ = *PrivateKey::from_pem(nodes[shape_.servers + capturable_].identity.to_pem());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    add_machine(nodes[i]);
    const bool server = is_server(i);
    machines_[i]->disk().replace(
        surface_.random.u64(),
        files_of(nodes[i], root, server ? &delegates[i] : nullptr, server ? i + 1 : 0));
    const NodeId id = nodes[i].identity.node_id();
    surface_.oracle.meet(i, id, nodes[i].label, server);
    if (shape_.spool_bytes_max < kSpoolBytesEnough && !server)
      surface_.oracle.excuse(id, Oracle::Excuse::small_disk);
  }
}

std::vector<NodeId> Group::node_ids() const {
  std::vector<NodeId> ids;
  for (std::size_t i = 0; i < size(); ++i) ids.push_back(machines_[i]->node());
  return ids;
}

/// All processes end before any machine is gone, because each names the others.
Group::~Group() {
  for (const auto& machine : machines_) machine->switch_off();
}

void Group::make_store(const PrivateKey& root, const std::vector<PrivateKey>& delegates,
                       const std::vector<Keys>& nodes) {
  const WallTime start = MachineClock::kStart;
  for (std::size_t i = 0; i < shape_.servers; ++i) {
    const NodeId id = nodes[i].identity.node_id();
    const auto document =
        delegation(root, delegates[i], i + 1, id, name_of(nodes[i].label)).SerializeAsString();
    store::StoredDocument stored;
    stored.type = static_cast<std::uint32_t>(node::DocumentType::delegation);
    stored.audience = id;  // one a server; the newest of each is kept
    stored.generation = 1;
    stored.number = i + 1;
    stored.document = to_bytes(std::string_view(document));
    must(store_.save_document(stored), "a delegation is kept");
  }
  const Log quiet(Level::error, [](Level, std::string_view) {});
  const MachineClock clock(surface_.events);
  const PrivateKey& first = nodes.front().identity;
  const GroupFolder::Delegate delegate{*PrivateKey::from_pem(delegates.front().to_pem()), 1};
  const node::Self self{node::Role::server,
                        kGroup,
                        name_of(nodes.front().label),
                        *PrivateKey::from_pem(first.to_pem()),
                        first.node_id(),
                        root.node_id(),
                        root.public_key().fingerprint(),
                        1,
                        0};
  Registry registry(store_, quiet, clock, self, delegate, ServerSettings::AgentPolicy::pending);
  must(registry.load(), "a new registry");
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    store::Node node;
    node.name = name_of(nodes[i].label);
    node.id = nodes[i].identity.node_id();
    node.identity_key = to_bytes(nodes[i].identity.public_key().spki());
    node.role = is_server(i)    ? store::Role::server
                : is_gateway(i) ? store::Role::gateway
                                : store::Role::agent;
    node.standing = is_server(i) ? store::Standing::approved : store::Standing::pending;
    node.decided = start;
    auto saved = store_.save_node(node, std::nullopt, {});
    must(saved, "a node is known");
    if (!is_server(i)) must(registry.approve_pending(*saved, {}, "the simulation"), "approved");
  }
}

WatchedDisk::Files Group::files_of(const Keys& keys, const PrivateKey& root,
                                   const PrivateKey* delegate, std::uint64_t number) {
  WatchedDisk::Files files;
  const auto put = [&](const std::string& path, const std::string& text) {
    files[std::string(kState) + path] = to_bytes(std::string_view(text));
  };
  const Certificates::Pair& pair = certificates_.of(name_of(keys.label));
  put("/identity.key", keys.identity.to_pem());
  put("/anchors.pem", certificates_.anchors_pem());
  put("/group.pem", root.public_key().to_pem());
  put("/tls/key.pem", pair.key_pem);
  put("/tls/chain.pem", pair.chain_pem);
  if (delegate != nullptr) {
    put("/delegate.key", delegate->to_pem());
    put("/delegate.number", std::to_string(number));
  }
  return files;
}

void Group::add_machine(const Keys& keys) {
  const std::size_t index = machines_.size();
  machines_.push_back(std::make_unique<Machine>(
      surface_, keys.label, index, keys.identity.node_id(),
      [this, index](const node::Surroundings& around) { return open(index, around); }));
}

Machine& Group::add_clone(std::size_t index) {
  const std::size_t own = machines_.size();
  const std::string label = machines_[index]->label() + "'";
  const NodeId& node = machines_[index]->node();
  machines_.push_back(std::make_unique<Machine>(
      surface_, label, own, node,
      [this, index](const node::Surroundings& around) { return open(index, around); }));
  surface_.oracle.meet_clone(own, node);
  return *machines_.back();
}

NodeSettings Group::settings_of(std::size_t index) {
  NodeSettings settings;
  settings.group = kGroup;
  settings.name = name_of(machines_[index]->label());
  settings.state_dir = kState;
  settings.listen = {machines_[index]->label(), kPort};
  for (const std::string& parent : shape_.parents[index - shape_.servers])
    settings.parents.push_back({name_of(parent), {parent, kPort}});
  settings.interval = shape_.interval;
  settings.spool_bytes_max = shape_.spool_bytes_max;
  return settings;
}

Result<std::unique_ptr<Product>> Group::open(std::size_t index, const node::Surroundings& given) {
  node::Surroundings around = given;
  around.relay_limits = shape_.relay;
  around.credit_limits = shape_.credit;
  around.spool_segment_bytes = shape_.segment_bytes;
  if (is_agent(index)) return wrapped<AgentProduct>(Agent::open(around, settings_of(index)));
  if (is_gateway(index)) return wrapped<GatewayProduct>(Gateway::open(around, settings_of(index)));
  return open_server(index, around);
}

Result<std::unique_ptr<Product>> Group::open_server(std::size_t index, node::Surroundings around) {
  ServerSettings settings;
  settings.group = kGroup;
  settings.name = name_of(machines_[index]->label());
  settings.state_dir = kState;
  settings.listen = {machines_[index]->label(), kPort};
  settings.interval = shape_.interval;
  return wrapped<ServerProduct>(Server::open(
      around, std::move(settings), std::make_unique<SharedStore>(store_, surface_.oracle)));
}

void Group::set_parents(std::size_t index, std::vector<std::string> labels) {
  shape_.parents[index - shape_.servers] = std::move(labels);
  Machine& machine = *machines_[index];
  if (Product* const product = machine.product())
    machine.enter(machine.life(), [&] { product->reload(settings_of(index)); });
}

std::vector<wire::Coverage> Group::applied(const NodeId& node) {
  auto streams = store_.streams(node);
  must(streams, "streams");
  std::vector<wire::Coverage> all;
  for (store::StreamRow& row : *streams) all.push_back({row.stream, std::move(row.applied)});
  return all;
}

Oracle::Current Group::current(const NodeId& node) {
  Oracle::Current current;
  auto values = store_.latest(node);
  auto entities = store_.entities(node);
  must(values, "latest values");
  must(entities, "entities");
  for (const store::LatestValue& value : *values)
    current.values[value.metric] = static_cast<std::uint64_t>(value.value);
  for (const store::Entity& entity : *entities) {
    // {"id":"e0"} and {"number":17}
    const auto digits = entity.attributes.find_first_of("0123456789");
    const auto name = entity.id.find("e", entity.id.find(':'));
    current.entities[entity.id.substr(name, 2)] =
        digits == entity.attributes.npos ? 0 : std::stoull(entity.attributes.substr(digits));
  }
  return current;
}

}  // namespace postern::sim
