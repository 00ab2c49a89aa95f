#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/certificate_mark.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "identity/key.h"
#include "node/anchor_list.h"
#include "wire/channel.pb.h"
#include "wire/coverage.h"
#include "wire/document.pb.h"

namespace postern::node {

inline constexpr std::string_view kDocumentContext = "postern document v1";
inline constexpr std::size_t kDocumentBodyMax = 256u << 10;  // document.md#G5
inline constexpr std::size_t kDenyEntriesMax = 4096;         // document.md#G13
inline constexpr std::size_t kDeniedCertificatesMax = 1500;  // of these; see kDocumentBodyMax
inline constexpr std::size_t kNewerShownMax = 64;
inline constexpr std::size_t kApprovalsKeptMax = 20'000;  // of children, for times without a server

enum class DocumentType : std::uint32_t {
  delegation = 1,
  successor,
  approval,
  deny,
  configuration,
  tick,
  task,
  anchors
};
inline constexpr std::string_view kHoleContext = "postern hole v1";    // channel.md#W52
inline constexpr std::string_view kTraceContext = "postern trace v1";  // channel.md#W54

/// Generation and number: what orders documents of one type and audience (document.md#G4).
using Edition = std::pair<std::uint32_t, std::uint64_t>;

enum class Scope : std::uint32_t { documents = 1, settled = 2, ticks = 3, authority = 4 };

/// What this node believes of the group (rule T4): the pinned root, delegations under it, the
/// newest document of each type and audience, the deny list, the newest tick. Belongs to the core
/// loop.
///
/// Documents are kept as they were signed, in STATE/documents, one file each; saving is handed to
/// `save`, which may be slow, because a document that is lost comes again.
class Trust {
 public:
  using Save = std::function<void(std::filesystem::path, Bytes)>;
  Trust(const Log& log, std::optional<PublicKey> root, std::filesystem::path folder, Save save);

  /// Reads what was kept. Unreadable or unbelievable files are logged and left alone.
  void load(Disk& disk, WallTime now);

  bool pinned() const { return root_.has_value(); }
  /// All zeros while unpinned.
  NodeId group_id() const { return root_ ? root_->node_id() : NodeId{}; }
  const std::optional<PublicKey>& root() const { return root_; }

  struct Taken {
    wire::pb::DocumentBody body;
    bool is_new = false;  // false: known already, or older than what is known
  };
  /// Verifies (document.md#G6) and keeps the newest (G4). `denied` when it cannot be believed.
  Result<Taken> take(const wire::pb::Signed& document, WallTime now);

  /// document.md and batch.md#B41: group, delegation, scope, time, signature.
  Result<> believe(const wire::SettledView& settled, WallTime now) const;

  /// A message of the group that is no document: signed under a delegation with `scope`.
  Result<> believe(const wire::pb::Signed& message, std::string_view context, Scope scope,
                   WallTime now) const;

  struct Denied {
    std::uint32_t reason = 0;  // document.md#G13
    bool certificate = false;  // not the node, only what it shows
  };
  std::optional<Denied> denied(const NodeId& id, const CertificateMark& certificate) const;
  /// Of whoever shows it.
  std::optional<Denied> denied(const CertificateMark& certificate) const;

  /// The newest believed approval of a node, if there is one.
  struct Approved {
    wire::pb::Approval approval;
    wire::pb::Signed document;
  };
  std::optional<Approved> approval(const NodeId& id) const;

  /// Whom the group trusts, when it has ever said so in a document.
  struct KeptAnchors {
    AnchorList list;
    Edition edition;
  };
  const std::optional<KeptAnchors>& anchors() const { return anchors_; }

  /// What a child needs: delegations, deny list, anchors, newest tick.
  std::vector<wire::pb::Signed> for_children() const;
  /// What is needed to believe the anchors, and they; nothing when there is no word about them.
  std::vector<wire::pb::Signed> anchors_and_delegations() const;
  std::vector<wire::pb::DocumentNumber> numbers() const;
  /// Documents that are newer than what `tick` says is the newest of their type, or of a type that
  /// it does not name; the deny list first; at most kNewerShownMax (channel.md#W35).
  std::vector<wire::pb::Signed> newer_than(const wire::pb::DocumentBody& tick) const;
  /// Deny list and anchors, when they are newer than those that a child's head names
  /// (channel.md#W37).
  std::vector<wire::pb::Signed> unknown_to(const wire::pb::Head& head) const;
  std::optional<WallTime> newest_tick() const { return tick_time_; }
  std::uint32_t generation() const { return generation_; }

 private:
  struct Kept {
    std::uint32_t generation = 0;
    std::uint64_t number = 0;
    wire::pb::Signed document;
    Bytes payload;
  };
  struct Delegated {
    PublicKey key;
    std::set<Scope> scopes;
    std::int64_t not_after_ms = 0;
  };
  Result<Taken> verify_and_keep(const wire::pb::Signed& document, WallTime now);
  Result<const PublicKey*> signer(std::uint64_t number, Scope scope, WallTime now) const;
  Result<> apply(const wire::pb::DocumentBody& body);
  std::vector<wire::pb::Signed> kept_of(std::initializer_list<DocumentType> types) const;
  std::filesystem::path file_of(const wire::pb::DocumentBody& body) const;

  const Log& log_;
  std::optional<PublicKey> root_;
  std::filesystem::path folder_;
  Save save_;
  std::map<std::pair<std::uint32_t, std::string>, Kept>
      kept_;  // by type and audience (delegation: number)
  std::map<std::uint64_t, Delegated> delegations_;
  std::map<NodeId, std::uint32_t> denied_nodes_;
  std::map<Digest, std::uint32_t> denied_keys_;
  // By serial and issuer; an issuer of zeros is any.
  std::map<std::pair<std::string, Digest>, std::uint32_t> denied_serials_;
  std::optional<KeptAnchors> anchors_;
  std::optional<WallTime> tick_time_;
  std::uint32_t generation_ = 0;
};

/// Signs a document body with a delegated key (or, with number 0, the group root).
wire::pb::Signed sign_document(const wire::pb::DocumentBody& body, const PrivateKey& key,
                               std::uint64_t signer);

}  // namespace postern::node
