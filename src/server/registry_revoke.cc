// Certificates that count no more, although their nodes belong to the group (rule T6).

#include <algorithm>

#include "base/quantity.h"
#include "server/registry.h"

namespace postern {
namespace {

using store::Revocation;

std::string detail_of(const Revocation& one) {
  const auto reason = static_cast<std::uint32_t>(one.reason);
  return fmt::format("serial {}, {}{}",
                     one.certificate.serial.empty() ? "not known" : one.certificate.serial,
                     node::revocation_words(reason),
                     one.not_after ? ", valid until " + to_rfc3339(*one.not_after) : "");
}

}  // namespace

Result<> Registry::load_revocations() {
  auto all = store_.revocations();
  if (!all) return std::unexpected(all.error());
  revocations_ = Revocations(std::move(*all));
  return {};
}

/// Once the certificate is over by everybody's rules, nobody needs to be told.
bool Registry::lasts(const Revocation& one) const {
  return !one.not_after || *one.not_after >= over();
}

WallTime Registry::over() const {
  return clock_.wall() - std::chrono::ceil<std::chrono::milliseconds>(expiry_grace_);
}

void Registry::on_issued(const NodeId& id, const Certificate& certificate) {
  if (issued_.size() >= kIssuedRememberedMax)
    std::erase_if(issued_, [&](const auto& one) { return one.second.not_after < clock_.wall(); });
  if (issued_.size() < kIssuedRememberedMax || issued_.contains(id))
    issued_[id] = {certificate.mark(), certificate.not_after()};
}

Result<Registry::Revoked> Registry::revoke(const store::Node& node, Revocation::Reason reason,
                                           const std::string& by) {
  if (node.certificate == CertificateMark{})
    return fail(Errc::unavailable,
                "which certificate {} uses is not known; it tells with its next word, or name the "
                "certificate by its serial number",
                node.name);
  std::vector<Revocation> wanted{
      {node.certificate, node.name, reason, node.certificate_not_after, by, clock_.wall()}};
  // A renewal may be under way: what it brings is of the same hand.
  if (const auto next = node.id ? issued_.find(*node.id) : issued_.end();
      next != issued_.end() && next->second.certificate != node.certificate &&
      next->second.not_after >= clock_.wall())
    wanted.push_back(
        {next->second.certificate, node.name, reason, next->second.not_after, by, clock_.wall()});
  auto revoked = revoke(std::move(wanted));
  if (!revoked || reason != Revocation::Reason::compromised || !node.id) return revoked;
  revoked->identity = true;
  if (node.compromised) return revoked;
  // Behind its certificate: whoever is told of a failure asks again, and that is known then.
  if (auto gone = compromise(node, by); !gone) return std::unexpected(gone.error());
  revoked->already = false;
  return revoked;
}

Result<> Registry::compromise(store::Node node, const std::string& by) {
  node.compromised = clock_.wall();
  auto list = issue_deny_list(node);
  if (!list) return std::unexpected(list.error());
  const store::AuditEntry entry{*node.compromised, by, "identity revoked", node.name,
                                fmt::format("{}, compromised", node.id->hex())};
  if (auto saved = commit(node, entry, {std::move(*list)}); !saved)
    return std::unexpected(saved.error());
  log_.info("the identity of {} is revoked by {}: what it has signed and is not applied is refused",
            node.name, by);
  return {};
}

Result<Registry::Revoked> Registry::revoke(const std::string& serial, const Digest& issuer,
                                           WallTime not_after, Revocation::Reason reason,
                                           const std::string& by) {
  auto nodes = store_.nodes();
  if (!nodes) return std::unexpected(nodes.error());
  std::vector<Revocation> wanted;
  for (const store::Node& node : *nodes) {
    if (node.certificate.serial != serial) continue;
    const auto same = [&](const Revocation& one) { return one.certificate == node.certificate; };
    if (std::ranges::none_of(wanted, same))  // a name that changed, a node that came back
      wanted.push_back(
          {node.certificate, node.name, reason, node.certificate_not_after, by, clock_.wall()});
  }
  if (wanted.empty())
    wanted.push_back({{{}, issuer, serial}, "", reason, not_after, by, clock_.wall()});
  return revoke(std::move(wanted));
}

Result<Registry::Revoked> Registry::revoke(std::vector<Revocation> wanted) {
  // The list is the whole list: also what another server revoked is on it.
  if (auto loaded = load_revocations(); !loaded) return std::unexpected(loaded.error());
  Revoked done;
  std::vector<store::AuditEntry> entries;
  std::vector<Revocation> fresh;
  for (const Revocation& one : wanted) {
    const Revocation* known = revocations_.find(one.certificate);
    done.revocations.push_back(known != nullptr ? *known : one);
    if (known != nullptr) continue;
    fresh.push_back(one);
    entries.push_back({one.decided, one.decided_by, "certificate revoked",
                       one.name.empty() ? one.certificate.serial : one.name, detail_of(one)});
  }
  done.already = fresh.empty();
  if (done.already) return done;

  auto nodes = store_.nodes();
  if (!nodes) return std::unexpected(nodes.error());
  std::vector<Revocation> all = revocations_.all();
  all.insert(all.end(), fresh.begin(), fresh.end());
  std::erase_if(all, [this](const Revocation& one) { return !lasts(one); });
  const auto denied =
      std::ranges::count_if(*nodes, [](const store::Node& node) { return denied_for(node) != 0; });
  if (all.size() > node::kDeniedCertificatesMax ||
      all.size() + static_cast<std::size_t>(denied) > node::kDenyEntriesMax)
    return fail(Errc::exhausted,
                "the deny list is full: {} certificates and {} nodes are on it, the limits are {} "
                "certificates and {} entries; a certificate leaves it {} after its end, or remove "
                "the node instead",
                all.size() - fresh.size(), denied, node::kDeniedCertificatesMax,
                node::kDenyEntriesMax, format_duration(expiry_grace_));
  auto issued = issue(node::DocumentType::deny, std::nullopt,
                      deny_list(std::move(*nodes), all).SerializeAsString());
  if (!issued) return std::unexpected(issued.error());
  if (auto saved = store_.add_revocations(fresh, entries, {&issued->stored, 1}, over()); !saved)
    return std::unexpected(saved.error());
  revocations_ = Revocations(std::move(all));
  documents_.push_back(std::move(issued->document));
  for (const store::AuditEntry& entry : entries)
    log_.info("the certificate of {} is revoked by {}: {}", entry.subject, entry.who, entry.detail);
  return done;
}

/// An entry of a list that the store has lost: it stays revoked.
Result<bool> Registry::revoke_as_listed(const wire::pb::DenyEntry& entry) {
  Revocation one;
  one.certificate = {node::digest_of_field(entry.tls_key_sha256()),
                     node::digest_of_field(entry.issuer_sha256()),
                     serial_text(as_bytes(entry.serial()))};
  if (one.certificate == CertificateMark{}) return false;
  one.reason = entry.reason() == 3   ? Revocation::Reason::compromised
               : entry.reason() == 4 ? Revocation::Reason::retired
                                     : Revocation::Reason::superseded;
  if (entry.not_after_ms() != 0) one.not_after = wall_from_ms(entry.not_after_ms());
  one.decided_by = self_.name;
  one.decided = clock_.wall();
  if (!lasts(one) || revocations_.find(one.certificate) != nullptr) return false;
  const store::AuditEntry audit{one.decided, self_.name,
                                "certificate revoked: adopted after the store was set back",
                                one.certificate.serial, detail_of(one)};
  if (auto saved = store_.add_revocations({&one, 1}, {&audit, 1}, {}, std::nullopt); !saved)
    return std::unexpected(saved.error());
  auto loaded = load_revocations();
  if (!loaded) return std::unexpected(loaded.error());
  return true;
}

/// Likewise for an identity.
Result<bool> Registry::compromise_as_listed(const NodeId& id) {
  auto known = store_.node(id);
  if (!known) return std::unexpected(known.error());
  store::Node node;
  if (*known) {
    node = **known;
    if (node.compromised) return false;
  } else {
    node.id = id;  // all that is left of it
    node.name = id.hex();
    node.standing = store::Standing::removed;
    node.decided_by = self_.name;
    node.decided = clock_.wall();
  }
  node.compromised = clock_.wall();
  const store::AuditEntry entry{*node.compromised, self_.name,
                                "identity revoked: adopted after the store was set back", node.name,
                                id.hex()};
  auto saved = store_.save_node(node, entry);
  if (!saved) return std::unexpected(saved.error());
  remember(*saved);
  return true;
}

}  // namespace postern
