#pragma once

#include <boost/json.hpp>

#include "api/service.h"

/// How the values of service.h look in JSON. What is unknown is null; times are RFC 3339 in UTC.
/// docs/api/openapi.yaml says the same to clients.
namespace postern::api {

std::string_view to_string(Role role);
std::string_view to_string(Standing standing);
std::string_view to_string(Direction direction);
std::string_view to_string(LossView::Kind kind);
std::string_view to_string(Scope scope);
std::optional<Scope> scope_from(std::string_view text);
std::string_view to_string(RevocationReason reason);
std::optional<RevocationReason> revocation_reason_from(std::string_view text);
std::optional<Role> role_from(std::string_view text);
std::optional<Direction> direction_from(std::string_view text);

boost::json::object to_json(const NodeSummary& node);
boost::json::object to_json(const NodeDetail& detail);  // the summary's members and two more
boost::json::object to_json(const ValueView& value);
boost::json::object to_json(const EntityView& entity);
boost::json::object to_json(const EventView& event);
boost::json::object to_json(const TopologyNode& node);
boost::json::object to_json(const PendingView& pending);
boost::json::object to_json(const Approved& approved);  // the summary's members and one more
boost::json::object to_json(const SignedCertificate& certificate);
boost::json::object to_json(const AuthorityView& authority);
boost::json::object to_json(const RevocationView& revocation);
boost::json::object to_json(const Revoked& revoked);
boost::json::object to_json(const GroupView& group);
boost::json::object to_json(const ServerView& server);
boost::json::object to_json(const AuditView& entry);
boost::json::object to_json(const LossView& loss);
boost::json::object to_json(const AlertView& alert);
boost::json::object to_json(const TraceStarted& started);
boost::json::object to_json(const TraceView& trace);
boost::json::object to_json(const JoinTokenView& token);
boost::json::object to_json(const NewJoinToken& token);
boost::json::object to_json(const TokenView& token);
boost::json::object to_json(const NewToken& token);  // the view's members and one more
boost::json::object to_json(const ApiError& error);  // RFC 9457
/// What an administrator decided about a node, without what was seen of it since.
boost::json::object approval_to_json(const NodeSummary& node);
/// What is known of a node's certificate.
boost::json::object certificate_to_json(const NodeSummary& node);

/// {"items": [...]}: an object, so that paging can be added.
template <typename T>
boost::json::object list_to_json(const std::vector<T>& list) {
  boost::json::array items;
  items.reserve(list.size());
  for (const T& item : list) items.push_back(to_json(item));
  return {{"items", std::move(items)}};
}

}  // namespace postern::api
