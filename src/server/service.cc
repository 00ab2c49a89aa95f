#include "server/service.h"

#include <boost/json.hpp>

#include "node/strangers.h"

namespace postern {
namespace {

using api::Answer;
using api::problem;
using store::Standing;

api::Role role_of(store::Role role) { return static_cast<api::Role>(static_cast<int>(role) - 1); }
store::Role role_of(api::Role role) { return static_cast<store::Role>(static_cast<int>(role) + 1); }
const char* name_of(store::Role role) { return to_string(static_cast<node::Role>(role)); }

std::unexpected<api::ApiError> failed(const Error& error) {
  return std::unexpected(api::problem_of(error));
}

api::PendingView pending_view(const store::Node& node) {
  api::PendingView view;
  view.name = node.name;
  view.id = node.id ? node.id->hex() : "";
  view.role = role_of(node.role);
  view.reason = node.reason;
  view.certificate_sha256 = node.certificate_sha256;
  view.address = node.address;
  view.path = node.path;
  view.first_seen = node.first_seen;
  view.last_seen = node.last_seen;
  return view;
}

std::string text_in(const boost::json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::optional<std::uint64_t> number_in(const boost::json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_int64() || value->as_int64() < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value->as_int64());
}

/// What the node's own inventory says (probe/inventory.h).
void add_inventory(api::NodeSummary& summary, const std::string& attributes) {
  boost::system::error_code error;
  const boost::json::value parsed = boost::json::parse(attributes, error);
  if (error || !parsed.is_object()) return;
  const boost::json::object& host = parsed.as_object();
  summary.os = text_in(host, "os.description");
  if (summary.os.empty()) summary.os = text_in(host, "os.name");
  summary.kernel = text_in(host, "host.kernel.release");
  summary.architecture = text_in(host, "host.arch");
  if (const auto cpus = number_in(host, "host.cpu.count"))
    summary.cpus = static_cast<std::uint32_t>(*cpus);
  summary.memory_bytes = number_in(host, "host.memory.total");
  if (const auto* addresses = host.if_contains("host.ip");
      addresses != nullptr && addresses->is_array())
    for (const boost::json::value& address : addresses->as_array())
      if (address.is_string()) summary.addresses.emplace_back(address.as_string());
}

}  // namespace

/// Connected by the node's own signed word, not by a gateway's (rule D6), and never while the rules
/// for alerts count it as lost.
bool ServerService::connected(const store::Node& node) const {
  if (node.role == store::Role::server) return true;
  if (watch_ != nullptr) return watch_->connected(node, clock_.wall());
  return NodeWatch({about_.id, about_.name, {}, {}, about_.interval}, clock_.now())
      .connected(node, clock_.wall());
}

/// The worst of what is open about each node, by its name.
Answer<ServerService::Worst> ServerService::worst_open() {
  auto open = store_.alerts(true, kAlertsSearched);
  if (!open) return failed(open.error());
  Worst worst;
  Names names;
  for (const store::Alert& alert : *open) {
    const auto named = AlertRules::node_of(alert.cause);
    if (!named && !alert.node) continue;
    auto& health = worst[named ? std::string(*named) : name_of_node(*alert.node, names)];
    const auto this_one =
        alert.severity == "critical" ? api::Health::critical : api::Health::warning;
    health = std::max(health, this_one);
  }
  return worst;
}

/// What is not known is never shown as well: a node behind a lost gateway, one that waits, and one
/// that has not come yet.
ServerService::Shown ServerService::health(const store::Node& node, const Worst& worst) const {
  if (watch_ != nullptr)
    if (auto via = watch_->unknown_via(node.name)) return {api::Health::unknown, *via};
  const auto found = worst.find(node.name);
  if (node.standing != Standing::approved) return {api::Health::unknown, ""};
  if (found != worst.end()) return {found->second, ""};
  const bool came = node.first_seen || node.role == store::Role::server;
  return {came ? api::Health::healthy : api::Health::unknown, ""};
}

api::NodeSummary ServerService::summary(const store::Node& node) {
  return summary(node, worst_open().value_or(Worst{}));
}

const std::optional<GroupFolder::Facts>& ServerService::authority_facts() {
  const TimePoint now = clock_.now();
  if (!authority_read_ || now - *authority_read_ >= kAuthorityReadEvery) {
    authority_read_ = now;
    auto facts = folder_.facts();
    if (facts) authority_facts_ = std::move(*facts);  // else what was known before
  }
  return authority_facts_;
}

/// "" when it is not known: of an issuer that is no anchor itself we have a hash alone.
std::string ServerService::issuer_name(const Digest& issuer) {
  if (const auto& authority = authority_facts()) {
    const auto name = authority->names.find(issuer);
    if (name != authority->names.end()) return name->second;
  }
  for (const Certificate& anchor : about_.anchors.certificates())
    if (anchor.subject_sha256() == issuer) return anchor.subject();
  return "";
}

void ServerService::add_certificate(api::NodeSummary& summary, const store::Node& node) {
  const bool own = node.id == about_.id;
  const CertificateMark& mark = own ? about_.certificate : node.certificate;
  summary.certificate_sha256 = node.certificate_sha256;
  summary.certificate_not_after =
      own ? std::optional(about_.certificate_not_after) : node.certificate_not_after;
  summary.certificate_serial = mark.serial;
  summary.certificate_issuer = issuer_name(mark.issuer);
  const auto* revoked = registry_.revocations().find(mark);
  if (revoked != nullptr)
    summary.certificate_revoked =
        node::revocation_words(static_cast<std::uint32_t>(revoked->reason));
  const auto head = newest_head(node);
  const auto& authority = authority_facts();
  if (!head || !authority) return;
  summary.certificate_key = node::harmless(head->tls_key_kind());
  CertificateFacts facts = certificate_facts(*head, authority->names);
  facts.connected = summary.connected;
  facts.revoked = revoked != nullptr;
  const RenewalOutlook outlook = outlook_of(facts, clock_.wall());
  summary.renewal = to_string(outlook.state);
  summary.renewal_words = outlook.words;
}

api::NodeSummary ServerService::summary(const store::Node& node, const Worst& worst) {
  api::NodeSummary s;
  s.name = node.name;
  s.id = node.id ? node.id->hex() : "";
  s.role = role_of(node.role);
  s.standing = static_cast<api::Standing>(node.standing);
  s.connected = connected(node);
  std::tie(s.health, s.via) = health(node, worst);
  s.first_seen = node.first_seen;
  s.last_seen = node.last_seen;
  s.parents = node.parents;
  s.direction = static_cast<api::Direction>(node.direction);
  s.path = node.path;
  s.address = node.address;
  s.software = node.software;
  add_certificate(s, node);
  s.reason = node.reason;
  s.decided_by = node.decided_by;
  s.decided = node.decided;
  if (!node.id) return s;
  if (auto entities = store_.entities(*node.id))
    for (const store::Entity& entity : *entities)
      if (entity.type == "host") add_inventory(s, entity.attributes);
  return s;
}

Answer<store::Node> ServerService::find(std::string_view name_or_id,
                                        std::optional<Standing> standing) {
  std::vector<store::Node> found;
  if (auto id = parse_node_id(name_or_id)) {
    auto node = store_.node(*id);
    if (!node) return failed(node.error());
    if (*node) found.push_back(**node);
  } else {
    auto nodes = store_.nodes_named(name_or_id);
    if (!nodes) return failed(nodes.error());
    found = std::move(*nodes);
  }
  if (standing)
    std::erase_if(found, [&](const store::Node& node) { return node.standing != *standing; });
  if (found.empty())
    return std::unexpected(
        problem(api::kProblemNotFound,
                fmt::format("there is no {}node {}",
                            standing == Standing::pending ? "pending " : "", name_or_id)));
  if (standing == Standing::pending && found.size() > 1) {
    std::string ids;
    for (const store::Node& node : found)
      ids += (ids.empty() ? "" : ", ") + (node.id ? node.id->hex() : "no id");
    return std::unexpected(
        problem(api::kProblemConflict,
                fmt::format("several nodes wait under the name {}; name one by its id: {}",
                            name_or_id, ids)));
  }
  // An approved one before what is over.
  const auto approved = std::find_if(found.begin(), found.end(), [](const store::Node& node) {
    return node.standing == Standing::approved;
  });
  if (approved != found.end()) return *approved;
  return found.front();
}

std::optional<api::ApiError> ServerService::check_parents(const std::vector<std::string>& parents) {
  for (const std::string& parent : parents) {
    auto node = store_.node_by_name(parent);
    if (!node) return api::problem_of(node.error());
    const bool good =
        *node && (*node)->standing == Standing::approved && (*node)->role != store::Role::agent;
    if (!good)
      return problem(
          api::kProblemUnknownParent,
          fmt::format(
              "{} is neither a management server nor an approved gateway of this management group; "
              "postern server list and postern gateway list show those there are",
              parent));
  }
  return std::nullopt;
}

Answer<api::Approved> ServerService::approve_gateway(const api::Caller& caller,
                                                     const api::GatewayApproval& approval) {
  if (auto bad = check_parents(approval.parents)) return std::unexpected(*bad);
  if (std::find(approval.parents.begin(), approval.parents.end(), approval.name) !=
      approval.parents.end())
    return std::unexpected(problem(api::kProblemUnprocessable,
                                   fmt::format("{} cannot be its own parent", approval.name)));
  if (approval.direction == api::Direction::parent_dials) {
    auto recorded = registry_.record_direction(approval.name, store::Role::gateway,
                                               approval.parents, caller.name);
    if (!recorded) return failed(recorded.error());
    return std::unexpected(problem(api::kProblemDirection,
                                   "connections initiated by the management server are not "
                                   "available in this version; the wish is recorded; "
                                   "approve without the switch to let the gateway dial"));
  }
  auto approved =
      registry_.approve(approval.name, store::Role::gateway, approval.parents, caller.name);
  if (!approved && approved.error().code == Errc::denied)
    return std::unexpected(problem(api::kProblemConflict, approved.error().message));
  if (!approved) return failed(approved.error());
  changes_.emplace_back("node", approval.name);
  return api::Approved{summary(approved->node), approved->already};
}

Answer<api::Approved> ServerService::approve_agent(const api::Caller& caller,
                                                   const api::AgentApproval& approval) {
  if (auto bad = check_parents(approval.parents)) return std::unexpected(*bad);
  auto approved =
      registry_.approve(approval.name, store::Role::agent, approval.parents, caller.name);
  if (!approved && approved.error().code == Errc::denied)
    return std::unexpected(problem(api::kProblemConflict, approved.error().message));
  if (!approved) return failed(approved.error());
  changes_.emplace_back("node", approval.name);
  return api::Approved{summary(approved->node), approved->already};
}

Answer<api::NodeSummary> ServerService::remove_node(const api::Caller& caller, api::Role role,
                                                    std::string_view name) {
  auto node = find(name, Standing::approved);
  if (!node || node->role != role_of(role))
    return std::unexpected(problem(
        api::kProblemNotFound,
        fmt::format("there is no {} {} in this management group", name_of(role_of(role)), name)));
  if (!node->id) {
    const store::AuditEntry audit{clock_.wall(), caller.name, "removed", node->name,
                                  "it never connected"};
    if (auto gone = store_.erase_node(node->row, audit); !gone) return failed(gone.error());
    node->standing = Standing::removed;
    changes_.emplace_back("node", node->name);
    return summary(*node);
  }
  auto removed = registry_.remove(*node, caller.name);
  if (!removed) return failed(removed.error());
  changes_.emplace_back("node", node->name);
  return summary(*removed);
}

Answer<std::vector<api::PendingView>> ServerService::pending() {
  auto nodes = store_.nodes();
  if (!nodes) return failed(nodes.error());
  std::vector<api::PendingView> views;
  for (const store::Node& node : *nodes)
    if (node.standing == Standing::pending) views.push_back(pending_view(node));
  return views;
}

Answer<api::Approved> ServerService::approve_pending(const api::Caller& caller,
                                                     std::string_view name) {
  auto node = find(name, Standing::pending);
  if (!node) return std::unexpected(node.error());
  std::vector<std::string> parents = node->parents;
  if (!node->path.empty()) parents = {node->path.front()};
  if (!node->id)
    return approve_gateway(caller, {node->name, parents, api::Direction::child_dials, ""});
  auto approved = registry_.approve_pending(*node, parents, caller.name);
  if (!approved) return failed(approved.error());
  changes_.emplace_back("pending", node->name);
  changes_.emplace_back("node", node->name);
  return api::Approved{summary(approved->node), false};
}

Answer<api::PendingView> ServerService::reject_pending(const api::Caller& caller,
                                                       std::string_view name) {
  auto node = find(name, Standing::pending);
  if (!node) return std::unexpected(node.error());
  if (!node->id) {
    const store::AuditEntry audit{clock_.wall(), caller.name, "rejected", node->name,
                                  "it never connected"};
    if (auto gone = store_.erase_node(node->row, audit); !gone) return failed(gone.error());
    changes_.emplace_back("pending", node->name);
    return pending_view(*node);
  }
  auto rejected = registry_.reject(*node, caller.name);
  if (!rejected) return failed(rejected.error());
  changes_.emplace_back("pending", node->name);
  return pending_view(*rejected);
}

Answer<std::vector<api::NodeSummary>> ServerService::inventory(const api::NodeQuery& query) {
  auto nodes = store_.nodes();
  if (!nodes) return failed(nodes.error());
  // First all filters and the order; what is not shown is not looked up.
  std::vector<std::pair<std::string, const store::Node*>> found;
  for (const store::Node& node : *nodes) {
    if (node.standing != Standing::approved || (query.role && node.role != role_of(*query.role)) ||
        (query.connected && connected(node) != *query.connected) ||
        (!query.name.empty() && !api::matches_pattern(query.name, node.name)))
      continue;
    std::string place = api::place_of(node.name, node.id ? node.id->hex() : "");
    if (place > query.after) found.emplace_back(std::move(place), &node);
  }
  std::sort(found.begin(), found.end());
  if (found.size() > query.limit) found.resize(query.limit);
  auto worst = worst_open();
  if (!worst) return std::unexpected(worst.error());
  std::vector<api::NodeSummary> list;
  for (const auto& [place, node] : found) list.push_back(summary(*node, *worst));
  return list;
}

Answer<api::NodeDetail> ServerService::node(std::string_view name) {
  auto node = find(name, std::nullopt);
  if (!node) return std::unexpected(node.error());
  api::NodeDetail detail;
  detail.node = summary(*node);
  if (!node->id) return detail;
  auto streams = store_.streams(*node->id);
  if (!streams) return failed(streams.error());
  for (const store::StreamRow& row : *streams) {
    api::StreamView view;
    view.lane = to_string(row.stream.lane);
    view.epoch_ordinal = row.stream.epoch.ordinal;
    view.epoch_random = fmt::format("{:016x}", row.stream.epoch.random);
    view.sealed = row.sealed;
    for (const wire::Interval& interval : row.applied)
      view.applied.push_back({interval.first, interval.last});
    for (std::size_t i = 0; i < row.gaps.size(); ++i)
      view.gaps.push_back(
          {{row.gaps[i].first, row.gaps[i].last}, wire::to_string(row.gap_reasons.at(i))});
    detail.streams.push_back(std::move(view));
  }
  auto values = store_.latest(*node->id);
  if (!values) return failed(values.error());
  for (const store::LatestValue& value : *values)
    detail.values.push_back(
        {value.metric, value.unit, value.attributes, value.value, value.integer, value.time});
  return detail;
}

Answer<std::vector<api::TopologyNode>> ServerService::topology() {
  auto nodes = store_.nodes();
  if (!nodes) return failed(nodes.error());
  auto worst = worst_open();
  if (!worst) return std::unexpected(worst.error());
  std::vector<api::TopologyNode> tree;
  for (const bool servers : {true, false})
    for (const store::Node& node : *nodes) {
      if (node.standing != Standing::approved || (node.role == store::Role::server) != servers)
        continue;
      api::TopologyNode view;
      view.name = node.name;
      view.role = role_of(node.role);
      view.standing = api::Standing::approved;
      view.connected = connected(node);
      std::tie(view.health, view.via) = health(node, *worst);
      view.last_seen = node.last_seen;
      view.path = node.path;
      view.certificate_not_after = node.certificate_not_after;
      if (!servers)
        view.parent = !node.path.empty() ? node.path.front()
                                         : (node.parents.empty() ? "" : node.parents.front());
      if (node.id) {
        std::uint64_t waiting = 0;
        if (auto streams = store_.streams(*node.id))
          for (const store::StreamRow& row : *streams) {
            std::uint64_t there = 0;
            for (const auto& interval : row.applied) there += interval.last - interval.first + 1;
            waiting += row.sealed > there ? row.sealed - there : 0;
          }
        view.queue_batches = waiting;
        if (auto newest = store_.archive(*node.id, 1); newest && !newest->empty()) {
          auto stamped = wire::read_stamped(*newest->front().message);
          auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
          if (batch) view.lag_ms = (newest->front().arrived - batch->header.sealed).count();
        }
      }
      tree.push_back(std::move(view));
    }
  return tree;
}

Answer<api::SignedCertificate> ServerService::sign_certificate(const api::Caller& caller,
                                                               const api::SigningRequest& request) {
  auto authority = folder_.authority();
  if (!authority) return failed(authority.error());
  SignOptions options;
  options.now = clock_.wall();
  options.lifetime = about_.certificate_lifetime;
  if (request.days) options.lifetime = std::chrono::days(*request.days);
  auto certificate = authority->sign(as_bytes(request.csr_pem), options, random_);
  if (!certificate) return failed(certificate.error());
  if (registry_.revocations().find(certificate->mark()) != nullptr)
    return std::unexpected(problem(
        api::kProblemConflict,
        fmt::format("the key in the request was revoked with a certificate; make a new one: "
                    "postern cert request --name {}",
                    certificate->dns_names().empty() ? certificate->subject()
                                                     : certificate->dns_names().front())));
  const store::AuditEntry audit{clock_.wall(), caller.name, "certificate signed",
                                certificate->subject(), "serial " + certificate->serial()};
  if (auto noted = store_.audit(audit); !noted) return failed(noted.error());
  return api::SignedCertificate{certificate->pem() + authority->certificate().pem(),
                                certificate->subject(), certificate->serial(),
                                certificate->not_after()};
}

Answer<api::RenewalAllowed> ServerService::allow_renewal(const api::Caller& caller,
                                                         std::string_view node) {
  auto found = find(node, Standing::approved);
  if (!found) return std::unexpected(found.error());
  if (!found->id)
    return std::unexpected(problem(
        api::kProblemConflict,
        fmt::format("{} has never connected: it has no certificate to renew", found->name)));
  const WallTime until = clock_.wall() + kLateRenewalFor;
  if (auto saved = store_.set_setting(late_renewal_key(*found->id), to_rfc3339(until)); !saved)
    return failed(saved.error());
  if (auto noted = store_.audit({clock_.wall(), caller.name, "renewal after expiry allowed",
                                 found->name, "until " + to_rfc3339(until)});
      !noted)
    return failed(noted.error());
  return api::RenewalAllowed{found->name, until};
}

Answer<api::GroupView> ServerService::group() {
  api::GroupView view;
  view.name = about_.group;
  view.id = about_.root.node_id().hex();
  view.root_sha256 = root_fingerprint(about_.root);
  view.servers = {about_.name};
  view.addresses = about_.addresses;
  for (const Certificate& anchor : about_.anchors.certificates())
    view.anchors_sha256.push_back(to_hex(anchor.fingerprint()));
  return view;
}

Answer<std::string> ServerService::group_file() {
  GroupFile file{about_.group, {}, about_.root, about_.anchors};
  for (const std::string& address : about_.addresses)
    file.servers.push_back({about_.name, address});
  return encode_group_file(file);
}

Answer<std::vector<api::ServerView>> ServerService::servers() {
  api::ServerView view;
  view.name = about_.name;
  view.id = about_.id.hex();
  view.this_server = true;
  view.listen = about_.listen;
  view.software = about_.software;
  view.started = about_.started;
  view.certificate_not_after = about_.certificate_not_after;
  auto generation = store_.generation();
  if (!generation) return failed(generation.error());
  view.generation = *generation;
  return std::vector{view};
}

Answer<std::vector<api::AuditView>> ServerService::audit(std::size_t limit,
                                                         std::optional<std::int64_t> before) {
  auto entries = store_.audit_log(limit, before);
  if (!entries) return failed(entries.error());
  std::vector<api::AuditView> views;
  for (const store::AuditEntry& entry : *entries)
    views.push_back({entry.time, entry.who, entry.what, entry.subject, entry.detail, entry.row});
  return views;
}

}  // namespace postern
