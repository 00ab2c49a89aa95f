#pragma once

#include <functional>

#include "api/service.h"
#include "identity/group_file.h"
#include "server/registry.h"

namespace postern {

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
  };
  ServerService(store::Store& store, Registry& registry, GroupFolder& folder, const Clock& clock,
                Random& random, About about)
      : store_(store),
        registry_(registry),
        folder_(folder),
        clock_(clock),
        random_(random),
        about_(std::move(about)) {}

  api::Answer<api::Approved> approve_gateway(const api::Caller&,
                                             const api::GatewayApproval&) override;
  api::Answer<api::Approved> approve_agent(const api::Caller&, const api::AgentApproval&) override;
  api::Answer<api::NodeSummary> remove_node(const api::Caller&, api::Role role,
                                            std::string_view node) override;
  api::Answer<std::vector<api::PendingView>> pending() override;
  api::Answer<api::Approved> approve_pending(const api::Caller&, std::string_view node) override;
  api::Answer<api::PendingView> reject_pending(const api::Caller&, std::string_view node) override;
  api::Answer<std::vector<api::NodeSummary>> inventory(std::optional<api::Role> role) override;
  api::Answer<api::NodeDetail> node(std::string_view node) override;
  api::Answer<std::vector<api::TopologyNode>> topology() override;
  api::Answer<api::SignedCertificate> sign_certificate(const api::Caller&,
                                                       const api::SigningRequest&) override;
  api::Answer<api::GroupView> group() override;
  api::Answer<std::string> group_file() override;
  api::Answer<std::vector<api::ServerView>> servers() override;
  api::Answer<std::vector<api::AuditView>> audit(std::size_t limit) override;

 private:
  api::NodeSummary summary(const store::Node& node);
  bool connected(const store::Node& node) const;
  api::Answer<store::Node> find(std::string_view name_or_id,
                                std::optional<store::Standing> standing);
  std::optional<api::ApiError> check_parents(const std::vector<std::string>& parents);

  store::Store& store_;
  Registry& registry_;
  GroupFolder& folder_;
  const Clock& clock_;
  Random& random_;
  About about_;
};

}  // namespace postern
