#include "server/registry.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace postern {
namespace {

using node::Decision;
using node::Refusal;
using store::Standing;

constexpr std::chrono::seconds kPendingRetry{3};

Refusal internal(const Error& error) {
  return {wire::Refusal::busy, "the registry cannot be read now: " + error.message,
          std::chrono::seconds(10)};
}

store::AuditEntry audit(WallTime now, const std::string& who, const std::string& what,
                        const store::Node& node) {
  return {now, who, what, node.name, node.id ? node.id->hex() : std::string("not known yet")};
}

}  // namespace

Result<> Registry::load() {
  auto nodes = store_.nodes();
  if (!nodes) return std::unexpected(nodes.error());
  for (const store::Node& node : *nodes) remember(node);
  if (auto loaded = load_revocations(); !loaded) return loaded;
  return repair_deny_list(*nodes);
}

void Registry::remember(const store::Node& node) {
  if (!node.id || node.identity_key.empty()) return;
  const bool member = node.standing == Standing::approved || node.standing == Standing::removed;
  auto key = PublicKey::from_spki(node.identity_key);
  if (!member || !key) {
    members_.erase(*node.id);
    return;
  }
  members_.insert_or_assign(*node.id, Member{*key, node.standing == Standing::removed,
                                             node.compromised.has_value(), node.name});
}

const Registry::Member* Registry::member(const NodeId& id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

const Registry::Member* Registry::find_member(const NodeId& id) {
  if (const Member* known = member(id)) return known;
  if (auto node = store_.node(id); node && *node) remember(**node);
  return member(id);
}

Result<> Registry::refresh() {
  auto lists = store_.documents(static_cast<std::uint32_t>(node::DocumentType::deny));
  if (!lists) return std::unexpected(lists.error());
  const Bytes newest = lists->empty() ? Bytes() : lists->front().document;
  if (newest == deny_list_) return {};
  auto nodes = store_.nodes();
  if (!nodes) return std::unexpected(nodes.error());
  if (auto loaded = load_revocations(); !loaded) return loaded;
  const auto before = std::exchange(members_, {});
  for (const store::Node& node : *nodes) remember(node);
  for (const auto& [id, member] : members_) {
    const auto known = before.find(id);
    if (member.removed && known != before.end() && !known->second.removed) removed_.push_back(id);
  }
  deny_list_ = newest;
  wire::pb::Signed document;
  if (document.ParseFromArray(newest.data(), static_cast<int>(newest.size())))
    documents_.push_back(std::move(document));
  return {};
}

Result<> Registry::read_again() {
  members_.clear();
  return load();
}

Decision Registry::admit(const node::Candidate& candidate, const std::vector<std::string>& path) {
  const node::Neighbour& who = candidate.who;
  auto known = store_.node(who.id);
  if (!known) return std::unexpected(internal(known.error()));
  if (*known && (*known)->compromised)
    return std::unexpected(refusal_for(node::Trust::Denied{3}, who.name));

  if (*known && (*known)->standing == Standing::approved) {
    store::Node node = **known;
    wire::pb::Signed document;
    if (!document.ParseFromArray(node.approval.data(), static_cast<int>(node.approval.size())))
      return std::unexpected(
          Refusal{wire::Refusal::busy, "the approval cannot be read; approve it again"});
    wire::pb::DocumentBody body;
    wire::pb::Approval approval;
    if (!body.ParseFromString(document.body()) || !approval.ParseFromString(body.payload()))
      return std::unexpected(
          Refusal{wire::Refusal::busy, "the approval cannot be read; approve it again"});
    if (auto refusal = against_approval(approval, candidate, path.front()))
      return std::unexpected(*refusal);
    store::Store::Seen seen;
    seen.id = who.id;
    // What comes by another's hand may be old: it must not keep a dead node alive (rule D6).
    if (path.size() == 1) seen.time = clock_.wall();
    seen.address = candidate.address;
    seen.path = path;
    seen.software = candidate.hello.software();
    seen.certificate_sha256 = to_hex(candidate.chain.front().fingerprint());
    seen.certificate_not_after = candidate.chain.front().not_after();
    seen.certificate = candidate.chain.front().mark();
    if (auto noted = store_.seen(std::span(&seen, 1)); !noted)
      log_.warning("not noted: {}", noted.error().message);
    return node::Admitted{document, {}};
  }
  if (*known && (*known)->standing == Standing::removed)
    return std::unexpected(refusal_for(node::Trust::Denied{1}, who.name));
  if (*known && (*known)->standing == Standing::rejected)
    return std::unexpected(refusal_for(node::Trust::Denied{2}, who.name));

  auto named = store_.node_by_name(who.name);
  if (!named) return std::unexpected(internal(named.error()));
  const auto role = static_cast<store::Role>(who.role);
  if (*named && (*named)->standing == Standing::approved && !(*named)->id) {
    store::Node node = **named;
    if (node.role != role)
      return std::unexpected(
          Refusal{wire::Refusal::wrong_role,
                  fmt::format("{} is approved as {} and calls itself {}", who.name,
                              to_string(static_cast<node::Role>(node.role)), to_string(who.role)),
                  std::chrono::minutes(1)});
    // Approved by name before it first came: its certificate for that name is the proof.
    node.id = who.id;
    node.identity_key = to_bytes(std::string_view(candidate.hello.identity_key()));
    auto saved = bind(node, *known, self_.name);
    if (!saved) return std::unexpected(internal(saved.error()));
    return admit(candidate, path);
  }

  store::Node node;
  if (*known)
    node = **known;
  else if (*named && (*named)->standing == Standing::pending && !(*named)->id)
    node = **named;  // a wish was recorded for this name
  node.name = who.name;
  node.id = who.id;
  node.identity_key = to_bytes(std::string_view(candidate.hello.identity_key()));
  node.role = role;
  const bool clash = *named && (*named)->standing == Standing::approved && (*named)->id != who.id;
  if (clash)
    return pend(std::move(node), *known, candidate, path, clash_words(**named, who.id),
                wire::Refusal::clash);
  if (role == store::Role::agent && policy_ == ServerSettings::AgentPolicy::reject)
    return std::unexpected(
        Refusal{wire::Refusal::rejected,
                "this management group takes agents only after their approval by name",
                std::chrono::minutes(1)});
  if (role == store::Role::agent && policy_ == ServerSettings::AgentPolicy::auto_approve &&
      !*known) {
    node.parents = {};
    auto saved = save_approved(node, "policy agents: auto-approve", "approved");
    if (!saved) return std::unexpected(internal(saved.error()));
    return admit(candidate, path);
  }
  return pend(std::move(node), *known, candidate, path, "not approved yet",
              wire::Refusal::pending_approval);
}

Result<store::Node> Registry::bind(store::Node named, const std::optional<store::Node>& waited,
                                   const std::string& by) {
  if (waited)
    if (auto gone = store_.erase_node(
            waited->row, audit(clock_.wall(), self_.name, "pending entry joined", *waited));
        !gone)
      return std::unexpected(gone.error());
  return save_approved(std::move(named), by, "identity bound to approved name");
}

std::string Registry::clash_words(const store::Node& approved, const NodeId& other) {
  return fmt::format("clash: {} is approved with identity {}, this one is {}", approved.name,
                     approved.id->hex(), other.hex());
}

Decision Registry::pend(store::Node node, const std::optional<store::Node>& before,
                        const node::Candidate& candidate, const std::vector<std::string>& path,
                        const std::string& why, wire::Refusal reason) {
  node.reason = why;
  node.address = candidate.address;
  node.path = path;
  node.software = candidate.hello.software();
  node.certificate_sha256 = to_hex(candidate.chain.front().fingerprint());
  node.certificate_not_after = candidate.chain.front().not_after();
  node.certificate = candidate.chain.front().mark();
  const std::string name = node.name;
  if (auto waits = wait(std::move(node), before); !waits) return std::unexpected(waits.error());
  const std::string words =
      reason == wire::Refusal::clash
          ? fmt::format("{}; an administrator decides in: postern pending list", why)
          : fmt::format(
                "{} is not approved yet; on the management server: postern pending approve {}",
                name, name);
  return std::unexpected(Refusal{reason, words, kPendingRetry});
}

std::expected<void, node::Refusal> Registry::wait(store::Node node,
                                                  const std::optional<store::Node>& before) {
  const bool is_new = node.row == 0;
  if (is_new) {
    auto nodes = store_.nodes();
    if (!nodes) return std::unexpected(internal(nodes.error()));
    const auto pending = std::count_if(nodes->begin(), nodes->end(), [](const store::Node& n) {
      return n.standing == Standing::pending;
    });
    if (static_cast<std::size_t>(pending) >= kPendingMax)
      return std::unexpected(
          Refusal{wire::Refusal::busy,
                  fmt::format("{} nodes wait for approval already, the limit; decide on some first",
                              kPendingMax),
                  std::chrono::minutes(1)});
  }
  node.standing = Standing::pending;
  const WallTime now = clock_.wall();
  if (!node.first_seen) node.first_seen = now;
  node.last_seen = now;
  const bool noted =
      before && before->last_seen && now >= *before->last_seen &&
      now - *before->last_seen < kPendingNotedEvery && before->standing == Standing::pending &&
      before->name == node.name && before->role == node.role && before->reason == node.reason &&
      before->path == node.path && before->certificate_sha256 == node.certificate_sha256;
  if (!noted) {
    std::optional<store::AuditEntry> entry;
    if (is_new) entry = audit(now, self_.name, "pending: " + node.reason, node);
    if (auto saved = store_.save_node(node, entry); !saved)
      return std::unexpected(internal(saved.error()));
  }
  if (is_new)
    log_.info("{} {} at {} waits for approval: {}", to_string(static_cast<node::Role>(node.role)),
              node.name, node.address, node.reason);
  return {};
}

Result<Registry::Approved> Registry::approve(const std::string& name, store::Role role,
                                             std::vector<std::string> parents,
                                             const std::string& by) {
  auto all = store_.nodes_named(name);
  if (!all) return std::unexpected(all.error());
  std::vector<store::Node> pending, removed;
  for (const store::Node& node : *all) {
    if (node.standing == Standing::approved) {
      if (node.role != role)
        return fail(Errc::denied, "{} is known as {}; remove it first", name,
                    to_string(static_cast<node::Role>(node.role)));
      if (node.parents == parents && node.direction == store::Direction::child_dials)
        return Approved{node, true};
      store::Node changed = node;
      changed.parents = std::move(parents);
      changed.direction = store::Direction::child_dials;
      auto saved = save_approved(std::move(changed), by, "approved with other parents");
      if (!saved) return std::unexpected(saved.error());
      return Approved{*saved, false};
    }
    if (node.standing == Standing::pending) pending.push_back(node);
    const bool over = node.standing == Standing::removed || node.standing == Standing::rejected;
    if (over && !node.compromised) removed.push_back(node);
  }
  if (pending.size() > 1)
    return fail(
        Errc::denied,
        "{} nodes wait under the name {}; choose one by its id with: postern pending approve ID",
        pending.size(), name);
  store::Node node;
  if (!pending.empty()) {
    node = pending.front();
  } else if (!removed.empty()) {
    // The machine that had this name comes back as itself; another one under its name is a clash,
    // and one that was rejected under it comes back only if nobody else ever had the name.
    const auto rank = [](const store::Node& n) {
      return std::tuple(n.standing == Standing::removed, n.decided, n.row);
    };
    node = *std::max_element(removed.begin(), removed.end(),
                             [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  }
  if (node.row != 0 && node.role != role) {
    if (node.id && node.standing == Standing::pending)
      return fail(Errc::denied, "{} waits as {}; approve it as that, or reject it first", name,
                  to_string(static_cast<node::Role>(node.role)));
    node = store::Node{};
  }
  node.name = name;
  node.role = role;
  node.parents = std::move(parents);
  node.direction = store::Direction::child_dials;
  auto saved = save_approved(std::move(node), by, "approved");
  if (!saved) return std::unexpected(saved.error());
  return Approved{*saved, false};
}

Result<> Registry::record_direction(const std::string& name, store::Role role,
                                    std::vector<std::string> parents, const std::string& by) {
  auto all = store_.nodes_named(name);
  if (!all) return std::unexpected(all.error());
  store::Node node;
  for (const Standing standing : {Standing::pending, Standing::approved})  // a clash stands back
    for (const store::Node& known : *all)
      if (known.standing == standing) node = known;
  const bool approved = node.row != 0 && node.standing == Standing::approved;
  if (!approved) {
    node.name = name;
    node.role = role;
    node.parents = std::move(parents);
    node.reason =
        "approval asked for with connections that the management server initiates; not available "
        "in this version";
  }
  node.direction = store::Direction::parent_dials;
  auto saved = store_.save_node(
      node, audit(clock_.wall(), by, "parent-initiated connection asked for", node));
  if (!saved) return std::unexpected(saved.error());
  return {};
}

Result<Registry::Approved> Registry::approve_pending(store::Node node,
                                                     std::vector<std::string> parents,
                                                     const std::string& by) {
  // A clash that is approved: the administrator knowingly binds the name to the new identity.
  auto all = store_.nodes_named(node.name);
  if (!all) return std::unexpected(all.error());
  for (const store::Node& other : *all) {
    if (other.row == node.row || other.standing != Standing::approved) continue;
    if (other.id) {
      if (auto gone = remove(other, by); !gone) return std::unexpected(gone.error());
    } else if (auto gone =
                   store_.erase_node(other.row, audit(clock_.wall(), by, "replaced", other));
               !gone) {
      return std::unexpected(gone.error());
    }
  }
  node.parents = std::move(parents);
  node.direction = store::Direction::child_dials;
  auto saved = save_approved(std::move(node), by, "approved");
  if (!saved) return std::unexpected(saved.error());
  return Approved{*saved, false};
}

Result<store::Node> Registry::reject(store::Node node, const std::string& by) {
  return deny(std::move(node), Standing::rejected, by);
}

Result<store::Node> Registry::remove(store::Node node, const std::string& by) {
  node.connected = false;
  auto removed = deny(std::move(node), Standing::removed, by);
  if (!removed || !removed->id) return removed;
  // Its streams end here, in the ledger too (rule D5).
  if (auto closed = store_.close_streams(*removed->id, clock_.wall()); !closed)
    log_.warning("the streams of {} are not closed: {}", removed->name, closed.error().message);
  removed_.push_back(*removed->id);
  return removed;
}

Result<store::Node> Registry::deny(store::Node node, Standing standing, const std::string& by) {
  const std::string what = standing == Standing::removed ? "removed" : "rejected";
  node.standing = standing;
  node.reason = what + " by " + by;
  node.decided_by = by;
  node.decided = clock_.wall();
  auto list = issue_deny_list(node);
  if (!list) return std::unexpected(list.error());
  return commit(node, audit(clock_.wall(), by, what, node), {std::move(*list)});
}

Result<store::Node> Registry::save_approved(store::Node node, const std::string& by,
                                            const std::string& what) {
  if (node.compromised)
    return fail(Errc::denied,
                "the identity of {} was revoked as compromised; it needs a new one: set the "
                "machine up anew with an empty state folder, then choose that one by its id from "
                "postern pending list",
                node.name);
  const bool was_denied = node.standing == Standing::removed || node.standing == Standing::rejected;
  node.standing = Standing::approved;
  node.reason.clear();
  node.decided_by = by;
  node.decided = clock_.wall();
  std::vector<Issued> documents;
  if (node.id) {
    auto approval = issue_approval(node);
    if (!approval) return std::unexpected(approval.error());
    documents.push_back(std::move(*approval));
  }
  if (was_denied) {
    auto list = issue_deny_list(node);
    if (!list) return std::unexpected(list.error());
    documents.push_back(std::move(*list));
  }
  auto saved = commit(node, audit(clock_.wall(), by, what, node), std::move(documents));
  if (!saved) return saved;
  log_.info("{} {}: {} by {}", to_string(static_cast<node::Role>(node.role)), node.name, what, by);
  return saved;
}

Result<store::Node> Registry::commit(const store::Node& node, const store::AuditEntry& entry,
                                     std::vector<Issued> documents) {
  std::vector<store::StoredDocument> stored;
  for (const Issued& issued : documents) stored.push_back(issued.stored);
  auto saved = store_.save_node(node, entry, stored);
  if (!saved) return saved;
  remember(*saved);
  for (Issued& issued : documents) documents_.push_back(std::move(issued.document));
  return saved;
}

Result<Registry::Issued> Registry::issue_approval(store::Node& node) {
  wire::pb::Approval approval;
  approval.set_node_id(node::field_of(node.id->bytes));
  approval.set_identity_key(node::field_of(node.identity_key));
  approval.set_name(node.name);
  approval.set_role(static_cast<std::uint32_t>(node.role));
  for (const std::string& parent : node.parents) approval.add_parents(parent);
  approval.set_direction(static_cast<std::uint32_t>(node.direction));
  auto issued = issue(node::DocumentType::approval, node.id, approval.SerializeAsString());
  if (issued) node.approval = issued->stored.document;
  return issued;
}

Result<Registry::Issued> Registry::issue_deny_list(const store::Node& changed) {
  auto nodes = store_.nodes();
  if (!nodes) return std::unexpected(nodes.error());
  // Also what another server revoked.
  if (auto loaded = load_revocations(); !loaded) return std::unexpected(loaded.error());
  std::erase_if(*nodes, [&](const store::Node& node) { return node.row == changed.row; });
  nodes->push_back(changed);
  return issue(node::DocumentType::deny, std::nullopt,
               deny_list(std::move(*nodes), revocations_.all()).SerializeAsString());
}

/// Certificates first: a node that is removed is refused wherever the server is asked, too.
wire::pb::DenyList Registry::deny_list(std::vector<store::Node> nodes,
                                       const std::vector<store::Revocation>& revocations) const {
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) {
    return std::tie(a.decided, a.row) > std::tie(b.decided, b.row);
  });
  wire::pb::DenyList list;
  for (const store::Revocation& one : revocations) {
    if (!lasts(one) ||
        static_cast<std::size_t>(list.entries_size()) == node::kDeniedCertificatesMax)
      continue;
    auto* entry = list.add_entries();
    if (one.certificate.tls_key != Digest{})
      entry->set_tls_key_sha256(node::field_of(one.certificate.tls_key));
    if (!one.certificate.serial.empty()) {
      entry->set_serial(node::field_of(serial_bytes(one.certificate.serial)));
      if (one.certificate.issuer != Digest{})
        entry->set_issuer_sha256(node::field_of(one.certificate.issuer));
    }
    if (one.not_after) entry->set_not_after_ms(to_ms(*one.not_after));
    entry->set_reason(static_cast<std::uint32_t>(one.reason));
  }
  for (const store::Node& node : nodes) {
    const std::uint32_t reason = denied_for(node);
    if (reason == 0) continue;
    if (static_cast<std::size_t>(list.entries_size()) == node::kDenyEntriesMax) {
      log_.error(
          "more than {} nodes are removed, rejected or compromised; the oldest are not on the "
          "deny list any more",
          node::kDenyEntriesMax);
      break;
    }
    auto* entry = list.add_entries();
    entry->set_node_id(node::field_of(node.id->bytes));
    entry->set_reason(reason);
  }
  return list;
}

std::uint32_t Registry::denied_for(const store::Node& node) {
  if (!node.id) return 0;
  if (node.compromised) return 3;
  return node.standing == Standing::removed ? 1 : node.standing == Standing::rejected ? 2 : 0;
}

/// A store that was restored, or written by an older program, may hold a list of other times.
Result<> Registry::repair_deny_list(const std::vector<store::Node>& nodes) {
  const auto entries_of = [](const wire::pb::DenyList& list) {
    std::set<std::string> entries;
    for (const auto& entry : list.entries()) entries.insert(entry.SerializeAsString());
    return entries;
  };
  auto documents = store_.documents(static_cast<std::uint32_t>(node::DocumentType::deny));
  if (!documents) return std::unexpected(documents.error());
  wire::pb::DenyList known;
  for (const store::StoredDocument& stored : *documents) {
    wire::pb::Signed document;
    wire::pb::DocumentBody body;
    if (!stored.audience && document.ParseFromString(to_string(stored.document)) &&
        body.ParseFromString(document.body()))
      known.ParseFromString(body.payload());
  }
  const wire::pb::DenyList wanted = deny_list(nodes, revocations_.all());
  if (entries_of(known) == entries_of(wanted)) return {};
  log_.warning("the deny list is issued anew: it has {} entries, {} are due", known.entries_size(),
               wanted.entries_size());
  auto issued = issue(node::DocumentType::deny, std::nullopt, wanted.SerializeAsString());
  if (!issued) return std::unexpected(issued.error());
  if (auto saved = store_.save_document(issued->stored); !saved) return saved;
  documents_.push_back(std::move(issued->document));
  return {};
}

Result<Registry::Issued> Registry::issue(node::DocumentType type,
                                         const std::optional<NodeId>& audience,
                                         const std::string& payload) {
  auto number = store_.next_document_number(static_cast<std::uint32_t>(type));
  if (!number) return std::unexpected(number.error());
  auto generation = store_.generation();
  if (!generation) return std::unexpected(generation.error());
  wire::pb::DocumentBody body;
  body.set_version(1);
  body.set_type(static_cast<std::uint32_t>(type));
  body.set_group_id(node::field_of(self_.group_id.bytes));
  if (audience) body.set_audience(node::field_of(audience->bytes));
  body.set_generation(*generation);
  body.set_number(*number);
  body.set_issued_ms(to_ms(clock_.wall()));
  body.set_payload(payload);
  wire::pb::Signed document = node::sign_document(body, delegate_.key, delegate_.number);
  store::StoredDocument stored{static_cast<std::uint32_t>(type), audience, *generation, *number,
                               to_bytes(std::string_view(document.SerializeAsString()))};
  return Issued{std::move(document), std::move(stored)};
}

}  // namespace postern
