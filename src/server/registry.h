#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "node/admission.h"
#include "node/join.h"
#include "server/group.h"
#include "server/revocations.h"
#include "settings/settings.h"
#include "store/store.h"

namespace postern {

inline constexpr std::size_t kPendingMax = 1000;
/// A node that waits knocks every few seconds; what it is seen by is written down this often, and
/// at once when anything changes that an administrator decides by.
inline constexpr std::chrono::minutes kPendingNotedEvery{1};
inline constexpr std::size_t kIssuedRememberedMax = 20'000;  // renewals, one a node

struct Rewind;  // server/numbers.h

/// Who belongs to the management group: approvals, Pending, removal; makes the documents that say
/// so. Blocking; belongs to the store thread.
class Registry {
 public:
  Registry(store::Store& store, const Log& log, const Clock& clock, const node::Self& self,
           const GroupFolder::Delegate& delegate, ServerSettings::AgentPolicy policy)
      : store_(store),
        log_(log),
        clock_(clock),
        self_(self),
        delegate_(delegate),
        policy_(policy) {}

  /// Reads the keys of all nodes. Once, at the start. When the deny list in the store says
  /// something else than the nodes do, a new one is among take_documents().
  Result<> load();
  void set_policy(ServerSettings::AgentPolicy policy) { policy_ = policy; }
  /// How long after its end a certificate stays on the deny list (channel.md#W63).
  void set_expiry_grace(Duration grace) { expiry_grace_ = grace; }

  /// May this candidate be a child of the first of `path` (names, its would-be parent first, up to
  /// us)? Unknown ones go to Pending.
  node::Decision admit(const node::Candidate& candidate, const std::vector<std::string>& path);

  struct Approved {
    store::Node node;
    bool already = false;
  };
  /// Approves by name, before or after the node first came. The node keeps an identity it is known
  /// by.
  Result<Approved> approve(const std::string& name, store::Role role,
                           std::vector<std::string> parents, const std::string& by);
  /// Records the wish for a direction that this version does not have; approves nothing.
  Result<> record_direction(const std::string& name, store::Role role,
                            std::vector<std::string> parents, const std::string& by);
  Result<Approved> approve_pending(store::Node node, std::vector<std::string> parents,
                                   const std::string& by);
  Result<store::Node> reject(store::Node node, const std::string& by);
  /// A machine that has the key of `token`, which allows it (docs/formats/join.md).
  struct Joiner {
    PublicKey identity;
    std::string name;
    store::Role role = store::Role::agent;
    std::string address;
    std::vector<std::string> path;  // names, from the one it asked up to us
  };
  struct NotJoined {
    node::JoinReason reason = node::JoinReason::busy;
    std::string words;
  };
  /// True: it is approved. False: it waits in Pending, as the token wants.
  std::expected<bool, NotJoined> join(const Joiner& joiner, const store::JoinToken& token);
  /// Ends its membership; the new deny list is among take_documents().
  Result<store::Node> remove(store::Node node, const std::string& by);

  struct Revoked {
    std::vector<store::Revocation> revocations;  // what counts no more, now or before
    bool already = false;
    bool identity = false;  // of the node, too: it does not come back under it
  };
  /// The certificate that the node uses now, by key and by serial, and one that was issued to it
  /// since; the node stays, and comes back with another. As `compromised` its identity goes with
  /// it (rule T3): who has the machine has the key that signs its batches. The new deny list is
  /// among take_documents(). `unavailable` while nothing is known of its certificate, `exhausted`
  /// when the list is full.
  Result<Revoked> revoke(const store::Node& node, store::Revocation::Reason reason,
                         const std::string& by);
  /// The certificates of that number that nodes use; when there is none, that of `issuer`, which
  /// ends at `not_after` at the latest. No identity goes with it, whatever the reason.
  Result<Revoked> revoke(const std::string& serial, const Digest& issuer, WallTime not_after,
                         store::Revocation::Reason reason, const std::string& by);
  /// By this server's memory; refresh() learns what others revoked.
  const Revocations& revocations() const { return revocations_; }
  /// A renewal was signed, and is under way.
  void on_issued(const NodeId& id, const Certificate& certificate);

  /// Whom the group trusts, by its newest word (document.md#G15); nothing before the first one.
  struct PublishedAnchors {
    node::AnchorList list;
    node::Edition edition;
  };
  Result<std::optional<PublishedAnchors>> anchors();
  /// `denied` when this server may not.
  Result<> may_sign_anchors();
  /// Says it anew, among take_documents(), with the audit entry; nothing when it is what was said
  /// last.
  Result<> publish_anchors(const node::AnchorList& list, const store::AuditEntry& entry);

  /// What followed from something that a child showed: see server/numbers.h.
  struct Adopted {
    bool adopted = false;                 // it is in the registry now, and among take_documents()
    std::optional<std::uint32_t> opened;  // the store's new generation
    std::string refused;                  // why not, although it was lost; for the log
  };
  /// A document that a child showed and node::Trust believes (channel.md#W35). One that the store
  /// has lost is taken over: what a deny list names is removed or rejected, an approved node is
  /// approved again as its document says. Deny lists come first: deny_lists_first(). Raises the
  /// alert *store rolled back* and opens a generation before anything else.
  Result<Adopted> adopt(const wire::pb::Signed& document);
  /// A settled that a child showed and node::Trust believes (channel.md#W34). Returns the
  /// generation that it made us open.
  Result<std::optional<std::uint32_t>> meet_settled(const wire::Settled& shown);
  /// A tick of that generation was shown, likewise.
  Result<std::optional<std::uint32_t>> meet_generation(std::uint32_t shown);

  /// The identity key that signs this node's batches, if it is or was a member.
  struct Member {
    PublicKey key;
    bool removed = false;
    bool compromised = false;
    std::string name;

    /// What it has signed has no effect any more.
    bool over() const { return removed || compromised; }
  };
  const Member* member(const NodeId& id) const;
  /// The same, and asks the store for one that is not known here: another server may have approved
  /// it.
  const Member* find_member(const NodeId& id);
  /// What other servers of the group decided meanwhile; the deny list, if it is another one, is
  /// among take_documents(). Cheap when nothing changed.
  Result<> refresh();
  /// Everything anew: the store lost commits, and what was read from it with them.
  Result<> read_again();

  /// Nodes that were removed, here or by another server, since the last call: what is settled of
  /// their streams is another thing now.
  std::vector<NodeId> take_removed() { return std::exchange(removed_, {}); }

  /// Alerts raised since the last call.
  std::vector<store::Alert> take_alerts() { return std::exchange(alerts_, {}); }

  /// The key that signs for this server.
  const GroupFolder::Delegate& delegate() const { return delegate_; }

  /// Documents committed since the last call: to be believed here and sent down.
  std::vector<wire::pb::Signed> take_documents() { return std::exchange(documents_, {}); }

 private:
  Result<store::Node> save_approved(store::Node node, const std::string& by,
                                    const std::string& what);
  /// A document that is signed, and nobody's before its commit.
  struct Issued {
    wire::pb::Signed document;
    store::StoredDocument stored;
  };
  /// Node, audit entry and documents in one transaction; then the documents may go out.
  Result<store::Node> commit(const store::Node& node, const store::AuditEntry& entry,
                             std::vector<Issued> documents);
  /// A removal or a rejection, with the deny list that says so.
  Result<store::Node> deny(store::Node node, store::Standing standing, const std::string& by);
  Result<Issued> issue_approval(store::Node& node);  // also into node.approval
  /// As it is once `changed` is saved.
  Result<Issued> issue_deny_list(const store::Node& changed);
  wire::pb::DenyList deny_list(std::vector<store::Node> nodes,
                               const std::vector<store::Revocation>& revocations) const;
  /// document.md#G13; 0: it is not denied.
  static std::uint32_t denied_for(const store::Node& node);
  Result<> repair_deny_list(const std::vector<store::Node>& nodes);
  Result<Issued> issue(node::DocumentType type, const std::optional<NodeId>& audience,
                       const std::string& payload);
  // registry_revoke.cc
  Result<> load_revocations();
  bool lasts(const store::Revocation& one) const;
  WallTime over() const;  // who ended before this is not on the list
  Result<Revoked> revoke(std::vector<store::Revocation> wanted);
  Result<bool> revoke_as_listed(const wire::pb::DenyEntry& entry);
  Result<> compromise(store::Node node, const std::string& by);
  Result<bool> compromise_as_listed(const NodeId& id);
  // registry_adopt.cc
  Result<std::optional<std::uint32_t>> follow(const Rewind& rewind);
  Result<> raise_rolled_back(const std::string& words);
  Result<std::uint32_t> open_generation(std::uint32_t generation);
  Result<std::map<std::uint32_t, std::uint64_t>> set_backs(std::uint32_t type);
  Result<> note_set_back(std::uint32_t type, std::uint32_t generation);
  Result<> adopt_deny_list(const wire::pb::Signed& document, const wire::pb::DocumentBody& body,
                           Adopted& adopted);
  Result<bool> deny_as_listed(const wire::pb::DenyEntry& entry,
                              std::optional<WallTime> unless_since);
  Result<> adopt_approval(const wire::pb::Signed& document, const wire::pb::DocumentBody& body,
                          Adopted& adopted);
  Result<bool> listed_as_denied(const NodeId& id);

  /// `before`: the node as it is known under this identity.
  node::Decision pend(store::Node node, const std::optional<store::Node>& before,
                      const node::Candidate& candidate, const std::vector<std::string>& path,
                      const std::string& why, wire::Refusal reason);
  static std::string clash_words(const store::Node& approved, const NodeId& other);
  /// A node that was approved by name comes for the first time: `named` with its identity.
  /// `waited`: as it was pending under that identity.
  Result<store::Node> bind(store::Node named, const std::optional<store::Node>& waited,
                           const std::string& by);
  /// Into Pending, or once more: `node` is as it was seen now. The error is for who knocks.
  std::expected<void, node::Refusal> wait(store::Node node,
                                          const std::optional<store::Node>& before);
  void remember(const store::Node& node);

  store::Store& store_;
  const Log& log_;
  const Clock& clock_;
  const node::Self& self_;
  const GroupFolder::Delegate& delegate_;
  ServerSettings::AgentPolicy policy_;
  std::map<NodeId, Member> members_;
  Duration expiry_grace_ = node::kExpiryGrace;
  Revocations revocations_;
  struct Renewed {
    CertificateMark certificate;
    WallTime not_after{};
  };
  std::map<NodeId, Renewed> issued_;  // by the last renewal of each node
  Bytes deny_list_;                   // as it was seen last
  std::vector<wire::pb::Signed> documents_;
  std::vector<NodeId> removed_;
  std::vector<store::Alert> alerts_;  // at most one: of one cause
};

}  // namespace postern
