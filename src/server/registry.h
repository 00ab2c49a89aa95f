#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "node/admission.h"
#include "server/group.h"
#include "settings/settings.h"
#include "store/store.h"

namespace postern {

inline constexpr std::size_t kPendingMax = 1000;

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

  /// Reads the keys of all nodes. Once, at the start.
  Result<> load();
  void set_policy(ServerSettings::AgentPolicy policy) { policy_ = policy; }

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
  /// Ends its membership; the new deny list is among take_documents().
  Result<store::Node> remove(store::Node node, const std::string& by);

  /// The identity key that signs this node's batches, if it is or was a member.
  struct Member {
    PublicKey key;
    bool removed = false;
    std::string name;
  };
  const Member* member(const NodeId& id) const;

  /// Documents made since the last call: to be believed here and sent down.
  std::vector<wire::pb::Signed> take_documents() { return std::exchange(documents_, {}); }

 private:
  Result<store::Node> save_approved(store::Node node, const std::string& by,
                                    const std::string& what);
  Result<> issue_approval(store::Node& node);
  Result<> issue_deny_list();
  Result<wire::pb::Signed> issue(node::DocumentType type, const std::optional<NodeId>& audience,
                                 const std::string& payload);
  node::Decision pend(store::Node node, const node::Candidate& candidate,
                      const std::vector<std::string>& path, const std::string& why,
                      wire::Refusal reason);
  void remember(const store::Node& node);

  store::Store& store_;
  const Log& log_;
  const Clock& clock_;
  const node::Self& self_;
  const GroupFolder::Delegate& delegate_;
  ServerSettings::AgentPolicy policy_;
  std::map<NodeId, Member> members_;
  std::vector<wire::pb::Signed> documents_;
};

}  // namespace postern
