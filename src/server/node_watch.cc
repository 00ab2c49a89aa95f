#include "server/node_watch.h"

#include <algorithm>

#include "node/self.h"
#include "node/strangers.h"

namespace postern {
namespace {

Duration interval_of(const wire::pb::Head& head, Duration otherwise) {
  if (head.interval_ms() == 0) return otherwise;
  return std::min<Duration>(std::chrono::milliseconds(head.interval_ms()), kHeadIntervalMax);
}

bool watched(const store::Node& row) {
  return row.standing == store::Standing::approved && row.role != store::Role::server;
}

Duration nearer_to_zero(Duration a, Duration b) {
  return std::chrono::abs(a) < std::chrono::abs(b) ? a : b;
}

}  // namespace

std::optional<wire::pb::Head> newest_head(const store::Node& node) {
  wire::pb::Signed message;
  wire::pb::Head head;
  if (node.head.empty() || !message.ParseFromString(to_string(node.head)) ||
      !head.ParseFromString(message.body()))
    return std::nullopt;
  return head;
}

CertificateFacts certificate_facts(const wire::pb::Head& head,
                                   const std::map<Digest, std::string>& authority) {
  CertificateFacts facts;
  if (head.tls_not_before_ms() != 0) facts.not_before = wall_from_ms(head.tls_not_before_ms());
  if (head.tls_not_after_ms() != 0) facts.not_after = wall_from_ms(head.tls_not_after_ms());
  facts.ours = authority.contains(node::digest_of_field(head.certificate_issuer_sha256()));
  facts.renews = head.renews() || head.tls_key_kind().empty();  // earlier versions said neither
  facts.failures = head.renewal_failures();
  facts.trouble = node::harmless(head.renewal_trouble());
  return facts;
}

Duration head_interval(const store::Node& node, Duration otherwise) {
  const auto head = newest_head(node);
  return head ? interval_of(*head, otherwise) : otherwise;
}

void NodeWatch::resume(std::span<const store::Node> rows, std::span<const store::Alert> alerts) {
  rules_.resume(alerts);
  for (const store::Node& row : rows) {
    if (!watched(row) || !row.id) continue;
    Known& known = known_[*row.id];
    known.since = started_;
    known.number = row.head_number.value_or(0);
    known.last_seen = row.last_seen;
  }
}

void NodeWatch::on_head(const wire::pb::Head& head, std::span<const wire::Stamp> stamps,
                        const NodeId& by, TimePoint now, WallTime received) {
  const NodeId id = node::node_id_of_field(head.node_id());
  const auto [found, first] = known_.try_emplace(id);
  Known& known = found->second;
  if (first) known.since = now;
  if (head.number() <= known.number) return;  // one that came again
  known.number = head.number();
  known.heard = now;
  known.reported_gone.reset();
  if (head.issued_ms() == 0) return;
  const NodeId parent = stamps.empty() ? own_.id : (stamps.size() > 1 ? stamps[1].from : by);
  if (parent != known.clock_parent) known.newest.reset();
  known.clock_parent = parent;
  known.before = known.newest;
  known.newest =
      wall_from_ms(head.issued_ms()) - (stamps.empty() ? received : stamps.front().received);
  known.clock_number = known.number;
}

void NodeWatch::on_finding(const NodeId& node, std::string words) {
  if (node == own_.id) {
    ++own_findings_;
    own_found_ = std::move(words);
    return;
  }
  const auto known = known_.find(node);
  if (known == known_.end()) return;  // no member: there is nothing to be said of it
  ++known->second.findings;
  known->second.found = std::move(words);
}

store::AlertChanges NodeWatch::look(std::span<const store::Node> rows, TimePoint now,
                                    WallTime wall) {
  looked_ = now;
  pause_ = kNodesLookedAtEvery * static_cast<int>(1 + rows.size() / kNodesPerLook);
  ++round_;
  std::vector<std::string> servers{own_.name};
  for (const store::Node& row : rows)
    if (row.role == store::Role::server) servers.push_back(row.name);
  for (const store::Node& row : rows) {
    if (!watched(row) || !row.id) continue;
    const auto [known, first] = known_.try_emplace(*row.id);
    if (first) {
      known->second.since = now;
      known->second.number = row.head_number.value_or(0);
      known->second.last_seen = row.last_seen;
    }
    follow(known->second, row, now);
  }
  std::erase_if(known_, [this](const auto& one) { return one.second.round != round_; });

  std::vector<NodeView> views{own_view(now)};
  for (const store::Node& row : rows)
    if (watched(row))
      views.push_back(view_of(row, row.id ? known_.at(*row.id) : Known{}, servers, wall));
  return rules_.evaluate(views, now, wall);
}

/// What the store has learned since the last look, also by another server.
void NodeWatch::follow(Known& known, const store::Node& row, TimePoint now) {
  known.round = round_;
  const std::uint64_t number = row.head_number.value_or(0);
  if (number > known.number) {
    known.number = number;
    known.heard = now;
    known.reported_gone.reset();
  }
  if (row.last_seen > known.last_seen) {
    known.last_seen = row.last_seen;
    known.heard = now;
  }
  if (row.connected)
    known.reported_gone.reset();
  else if (!known.reported_gone)
    known.reported_gone = now;
  // By its newest head only: another server may have heard that its clock is right again.
  if (known.clock_number != known.number) known.newest = known.before = std::nullopt;
  if (number != known.read) read_head(known, row);
}

void NodeWatch::read_head(Known& known, const store::Node& row) const {
  known.read = row.head_number.value_or(0);
  known.oldest_before = std::exchange(known.oldest_unsettled, std::nullopt);
  known.spool_bytes.reset();
  known.spool_bytes_max.reset();
  known.certificate = {};
  known.interval = own_.interval;
  const auto head = newest_head(row);
  if (!head) return;
  known.interval = interval_of(*head, own_.interval);
  if (head->spool_bytes_max() != 0) {
    known.spool_bytes = head->spool_bytes();
    known.spool_bytes_max = head->spool_bytes_max();
    known.oldest_unsettled = Duration::zero();
    if (head->oldest_unsettled_ms() != 0)
      known.oldest_unsettled = std::chrono::milliseconds(head->issued_ms()) -
                               std::chrono::milliseconds(head->oldest_unsettled_ms());
  }
  known.certificate =
      certificate_facts(*head, authority_ ? authority_->names : std::map<Digest, std::string>{});
}

NodeView NodeWatch::view_of(const store::Node& row, const Known& known,
                            const std::vector<std::string>& servers, WallTime wall) const {
  NodeView view;
  view.name = row.name;
  view.id = row.id;
  view.role = row.role;
  view.approved = row.decided;
  view.first_seen = row.first_seen;
  view.last_seen = row.last_seen;
  for (const std::string& hop : row.path)
    if (std::ranges::find(servers, hop) == servers.end()) view.gateways.push_back(hop);
  view.since = known.since;
  view.interval = known.interval == Duration{} ? own_.interval : known.interval;
  if (!row.id) return view;
  view.heard = known.heard;
  view.reported_gone = known.reported_gone;
  view.clock_difference = clock_difference(*row.id);
  if (known.oldest_unsettled && known.oldest_before)
    view.oldest_unsettled = std::min(*known.oldest_unsettled, *known.oldest_before);
  view.spool_bytes = known.spool_bytes;
  view.spool_bytes_max = known.spool_bytes_max;
  view.certificate_not_before = known.certificate.not_before;
  view.certificate_not_after = known.certificate.not_after;
  if (auto outlook = outlook_of(known.certificate, wall);
      authority_ && outlook.state == RenewalState::will_miss)
    view.renewal_missed = std::move(outlook.words);
  view.findings = known.findings;
  view.found = known.found;
  return view;
}

/// It is heard as long as it can look.
NodeView NodeWatch::own_view(TimePoint now) const {
  NodeView view;
  view.name = own_.name;
  view.id = own_.id;
  view.role = store::Role::server;
  view.first_seen = view.last_seen = WallTime{};
  view.heard = now;
  view.certificate_not_before = own_.certificate_not_before;
  view.certificate_not_after = own_.certificate_not_after;
  if (authority_) {
    view.authority_not_before = authority_->not_before;
    view.authority_not_after = authority_->not_after;
  }
  view.findings = own_findings_;
  view.found = own_found_;
  return view;
}

/// Hop by hop up to us; none when a hop is not known.
std::optional<Duration> NodeWatch::clock_difference(const NodeId& node) const {
  Duration sum{};
  NodeId at = node;
  for (std::size_t hop = 0; at != own_.id; ++hop) {
    const auto known = known_.find(at);
    if (hop == wire::kStampsMax || known == known_.end()) return std::nullopt;
    const Known& one = known->second;
    if (!one.newest || !one.before) return std::nullopt;
    sum += nearer_to_zero(*one.newest, *one.before);
    at = one.clock_parent;
  }
  return sum;
}

bool NodeWatch::connected(const store::Node& node, WallTime wall) const {
  if (!node.connected || !node.last_seen || rules_.is_lost(node.name) ||
      rules_.unknown_via(node.name))
    return false;
  const Duration interval = head_interval(node, own_.interval);
  return wall - *node.last_seen <= rules_.limits().patience(interval, node.path.size() > 1);
}

}  // namespace postern
