#pragma once

#include <functional>
#include <map>

#include "api/service.h"
#include "identity/authority.h"
#include "identity/group_file.h"
#include "server/hole_watch.h"
#include "server/node_watch.h"
#include "server/registry.h"

namespace postern {

inline constexpr std::size_t kTracesAskedMax = 1000;   // remembered; the oldest are forgotten
inline constexpr std::chrono::seconds kTraceEvery{1};  // of one node: it seals no more than that
/// All alerts that there can be: open ones are few, closed ones have a limit.
inline constexpr std::size_t kAlertsSearched = 10 * store::kClosedAlertsMax;
/// How exact the time of a token's last use is: noting it is a commit.
inline constexpr std::chrono::minutes kTokenUseNotedEvery{1};

/// Where the store keeps until when an expired node may renew its certificate by an administrator's
/// word.
inline std::string late_renewal_key(const NodeId& id) { return "certificate.renew." + id.hex(); }
inline constexpr std::chrono::hours kLateRenewalFor{24};
inline constexpr std::chrono::seconds kAuthorityReadEvery{10};

/// Something to be asked of a node far down: the server sends it as a request (channel.md#W53).
struct Question {
  NodeId target;
  std::uint32_t kind = 0;
  wire::pb::Signed body;
};

/// The REST API's calls, answered from the store and the registry (api/service.h). Blocking;
/// belongs to the store thread.
class ServerService final : public api::Service {
 public:
  struct About {
    std::string group, name, listen, software;
    NodeId id;
    std::vector<std::string> addresses;
    PublicKey root;
    Anchors anchors;
    WallTime started{}, certificate_not_after{};
    Duration interval{};
    std::chrono::seconds certificate_lifetime = kCertificateLifetime;
    CertificateMark certificate{};  // our own
  };
  /// `holes`: what is watched, for the ages of holes; without it the ledger shows every hole.
  /// `watch`: who is lost or unknown; without it nobody is, but by the time of its last head.
  ServerService(store::Store& store, Registry& registry, GroupFolder& folder, const Clock& clock,
                Random& random, About about, const HoleWatch* holes = nullptr,
                NodeWatch* watch = nullptr)
      : store_(store),
        registry_(registry),
        folder_(folder),
        clock_(clock),
        random_(random),
        about_(std::move(about)),
        holes_(holes),
        watch_(watch) {}

  api::Answer<api::Approved> approve_gateway(const api::Caller&,
                                             const api::GatewayApproval&) override;
  api::Answer<api::Approved> approve_agent(const api::Caller&, const api::AgentApproval&) override;
  api::Answer<api::NodeSummary> remove_node(const api::Caller&, api::Role role,
                                            std::string_view node) override;
  api::Answer<std::vector<api::PendingView>> pending() override;
  api::Answer<api::Approved> approve_pending(const api::Caller&, std::string_view node) override;
  api::Answer<api::PendingView> reject_pending(const api::Caller&, std::string_view node) override;
  api::Answer<std::vector<api::NodeSummary>> inventory(const api::NodeQuery& query) override;
  api::Answer<api::NodeDetail> node(std::string_view node) override;
  api::Answer<std::vector<api::EntityView>> entities(std::string_view node) override;
  api::Answer<api::Observations<api::ValueView>> series(std::string_view node,
                                                        const api::SeriesQuery&) override;
  api::Answer<api::Observations<api::EventView>> events(std::string_view node,
                                                        const api::EventQuery&) override;
  api::Answer<std::vector<api::TopologyNode>> topology() override;
  api::Answer<std::vector<api::LossView>> losses(const api::LossQuery&) override;
  api::Answer<std::vector<api::AlertView>> alerts(bool open_only) override;
  api::Answer<api::AlertView> alert(std::int64_t id) override;
  api::Answer<api::AlertView> close_alert(const api::Caller&, std::int64_t id) override;
  api::Answer<api::TraceStarted> trace(const api::Caller&, std::string_view node) override;
  api::Answer<api::TraceView> trace_result(std::string_view id) override;
  api::Answer<api::SignedCertificate> sign_certificate(const api::Caller&,
                                                       const api::SigningRequest&) override;
  api::Answer<api::Revoked> revoke_certificate(const api::Caller&,
                                               const api::RevocationRequest&) override;
  api::Answer<std::vector<api::RevocationView>> revocations() override;
  api::Answer<api::RenewalAllowed> allow_renewal(const api::Caller&,
                                                 std::string_view node) override;
  api::Answer<api::AuthorityView> authority() override;
  api::Answer<api::AuthorityView> roll_authority(const api::Caller&) override;
  api::Answer<api::AuthorityView> switch_authority(const api::Caller&, bool leave_behind) override;
  api::Answer<api::AuthorityView> finish_authority(const api::Caller&, bool leave_behind) override;
  api::Answer<api::GroupView> group() override;
  api::Answer<std::string> group_file() override;
  api::Answer<std::vector<api::ServerView>> servers() override;
  api::Answer<std::vector<api::AuditView>> audit(std::size_t limit,
                                                 std::optional<std::int64_t> before) override;
  api::Answer<api::NewToken> create_token(const api::Caller&, const api::TokenRequest&) override;
  api::Answer<std::vector<api::TokenView>> tokens() override;
  api::Answer<api::TokenView> revoke_token(const api::Caller&, std::string_view id) override;

  api::Answer<api::NewJoinToken> create_join_token(const api::Caller&,
                                                   const api::JoinTokenRequest&) override;
  api::Answer<std::vector<api::JoinTokenView>> join_tokens() override;
  api::Answer<api::JoinTokenView> revoke_join_token(const api::Caller&,
                                                    std::string_view id) override;

  void set_certificate(const CertificateMark& certificate, WallTime not_after) {
    about_.certificate = certificate;
    about_.certificate_not_after = not_after;
  }

  /// Of the group's own authority, as its files were within the last kAuthorityReadEvery.
  const std::optional<GroupFolder::Facts>& authority_facts();
  void set_anchors(const Anchors& anchors) { about_.anchors = anchors; }

  /// Who asks with this token; kProblemUnauthenticated with the reason when nobody does.
  api::Answer<api::Caller> caller_of_token(std::string_view token);

  api::Answer<std::function<void(std::shared_ptr<HttpStream>)>> changes(
      const api::ChangeQuery& query) override;
  /// Where changes() gets its answer from.
  using Listen = std::function<void(const api::ChangeQuery&, std::shared_ptr<HttpStream>)>;
  void set_listen(Listen listen) { listen_ = std::move(listen); }
  /// What these calls have changed since the last time it was asked: kind and subject.
  std::vector<std::pair<std::string, std::string>> take_changes() {
    return std::exchange(changes_, {});
  }

  /// Asked since the last call: to be sent down.
  std::vector<Question> take_questions() { return std::exchange(questions_, {}); }

 private:
  /// Names of nodes, looked up once for an answer.
  using Names = std::map<NodeId, std::string>;
  const std::string& name_of_node(const NodeId& id, Names& names);
  api::LossView loss_view(const store::Loss& loss, Names& names);
  api::AlertView alert_view(const store::Alert& alert, Names& names);
  api::Answer<std::vector<store::Loss>> unexplained(const std::optional<NodeId>& node);
  api::Answer<store::Alert> find_alert(std::int64_t id);

  using Worst = std::map<std::string, api::Health>;
  using Shown = std::pair<api::Health, std::string>;  // and the gateway it is unknown by
  api::Answer<Worst> worst_open();
  Shown health(const store::Node& node, const Worst& worst) const;
  api::NodeSummary summary(const store::Node& node);
  api::NodeSummary summary(const store::Node& node, const Worst& worst);
  bool connected(const store::Node& node) const;
  api::Answer<store::Node> find(std::string_view name_or_id,
                                std::optional<store::Standing> standing);
  std::optional<api::ApiError> check_parents(const std::vector<std::string>& parents);

  std::string issuer_name(const Digest& issuer);
  void add_certificate(api::NodeSummary& summary, const store::Node& node);
  std::optional<GroupFolder::Facts> authority_facts_;
  std::optional<TimePoint> authority_read_;
  // service_authority.cc
  Result<> say_anchors(const Anchors& anchors, const GroupFolder::Rollover& rollover,
                       std::vector<Digest> withdrawn, const store::AuditEntry& entry);
  std::optional<api::ApiError> against_leaving(const api::AuthorityView& view, bool leave_behind,
                                               std::string_view what) const;

  store::Store& store_;
  Registry& registry_;
  GroupFolder& folder_;
  const Clock& clock_;
  Random& random_;
  About about_;
  const HoleWatch* holes_;
  NodeWatch* watch_;
  std::vector<Question> questions_;
  Listen listen_;
  std::vector<std::pair<std::string, std::string>> changes_;
  struct Asked {
    std::string id;  // hex
    NodeId node;
    WallTime time{};
    TimePoint since{};
  };
  std::vector<Asked> asked_;  // oldest first
};

}  // namespace postern
