// Certificates that count no more, as the API tells of them.

#include "server/service.h"

namespace postern {
namespace {

using api::Answer;
using api::problem;

api::RevocationView view_of(const store::Revocation& one) {
  return {one.name,      one.certificate.serial, static_cast<api::RevocationReason>(one.reason),
          one.not_after, one.decided_by,         one.decided};
}

}  // namespace

Answer<api::Revoked> ServerService::revoke_certificate(const api::Caller& caller,
                                                       const api::RevocationRequest& request) {
  const auto reason = static_cast<store::Revocation::Reason>(request.reason);
  const auto own = [&] {
    return std::unexpected(problem(
        api::kProblemConflict,
        fmt::format("that is the certificate of {} itself: without it nobody finds this server; "
                    "import another one first, then revoke this one by its serial number {}",
                    about_.name, about_.certificate.serial)));
  };
  Result<Registry::Revoked> revoked;
  const auto name = normal_fqdn(request.certificate);
  if (name || parse_node_id(request.certificate)) {
    if (name && *name == about_.name) return own();
    auto node = find(name ? *name : request.certificate, std::nullopt);
    if (!node) return std::unexpected(node.error());
    revoked = registry_.revoke(*node, reason, caller.name);
  } else {
    const auto serial = normal_serial(request.certificate);
    if (!serial)
      return std::unexpected(problem(
          api::kProblemUnprocessable,
          fmt::format("'{}' is neither a node's name nor a serial number", request.certificate)));
    if (*serial == about_.certificate.serial) return own();
    auto authority = folder_.authority();
    if (!authority) return std::unexpected(api::problem_of(authority.error()));
    const Certificate& issuer = authority->certificate();
    revoked =
        registry_.revoke(*serial, issuer.subject_sha256(), issuer.not_after(), reason, caller.name);
  }
  if (!revoked) return std::unexpected(api::problem_of(revoked.error()));
  api::Revoked answer{{}, revoked->already, revoked->identity};
  for (const store::Revocation& one : revoked->revocations) {
    answer.revocations.push_back(view_of(one));
    if (!one.name.empty() && !revoked->already) changes_.emplace_back("node", one.name);
  }
  return answer;
}

Answer<std::vector<api::RevocationView>> ServerService::revocations() {
  std::vector<api::RevocationView> views;
  for (const store::Revocation& one : registry_.revocations().all()) views.push_back(view_of(one));
  std::reverse(views.begin(), views.end());
  return views;
}

}  // namespace postern
