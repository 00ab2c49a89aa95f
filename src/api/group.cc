#include <fmt/format.h>

#include "api/exchange.h"
#include "api/json.h"
#include "api/openapi.h"
#include "api/router.h"

namespace postern::api {
namespace {

constexpr std::uint32_t kDaysMax = 3650;
constexpr std::size_t kReasonBytesMax = 32;
constexpr std::size_t kCertificateNameBytesMax = 253;

}  // namespace

Answer<Reply> show_group(Exchange& exchange) {
  auto group = exchange.service.group();
  if (!group) return std::unexpected(group.error());
  Reply reply;
  reply.json = to_json(*group);
  return reply;
}

Answer<Reply> export_group(Exchange& exchange) {
  auto file = exchange.service.group_file();
  if (!file) return std::unexpected(file.error());
  Reply reply;
  reply.text = std::move(*file);
  reply.text_type = "text/plain; charset=utf-8";
  return reply;
}

Answer<Reply> show_description(Exchange&) {
  Reply reply;
  reply.text = kOpenApi;
  reply.text_type = "application/yaml";
  return reply;
}

Answer<Reply> sign_certificate(Exchange& exchange) {
  auto members = Members::of_body(exchange.request);
  if (!members) return std::unexpected(members.error());
  SigningRequest request;
  request.csr_pem = members->required_text("csr", kCsrBytesMax);
  request.days = members->optional_count("days", 1, kDaysMax);
  if (auto done = members->done(); !done) return std::unexpected(done.error());
  auto signed_one = exchange.service.sign_certificate(exchange.caller, request);
  if (!signed_one) return std::unexpected(signed_one.error());
  Reply reply;
  reply.status = 201;
  reply.json = to_json(*signed_one);
  return reply;
}

Answer<Reply> revoke_certificate(Exchange& exchange) {
  auto members = Members::of_body(exchange.request);
  if (!members) return std::unexpected(members.error());
  RevocationRequest request;
  request.certificate = members->required_text("certificate", kCertificateNameBytesMax);
  const std::string reason = members->optional_text("reason", kReasonBytesMax);
  if (const auto known = revocation_reason_from(reason.empty() ? "superseded" : reason))
    request.reason = *known;
  else
    members->object_to(
        fmt::format("'reason' is '{}', it must be compromised, superseded or retired", reason));
  if (auto done = members->done(); !done) return std::unexpected(done.error());
  auto revoked = exchange.service.revoke_certificate(exchange.caller, request);
  if (!revoked) return std::unexpected(revoked.error());
  Reply reply;
  reply.status = revoked->already_revoked ? 200 : 201;
  reply.json = to_json(*revoked);
  return reply;
}

Answer<Reply> list_revocations(Exchange& exchange) {
  auto revocations = exchange.service.revocations();
  if (!revocations) return std::unexpected(revocations.error());
  Reply reply;
  reply.json = list_to_json(*revocations);
  return reply;
}

namespace {

Answer<Reply> reply_with(const Answer<AuthorityView>& authority) {
  if (!authority) return std::unexpected(authority.error());
  Reply reply;
  reply.json = to_json(*authority);
  return reply;
}

Answer<bool> leave_behind_of(Exchange& exchange) {
  auto members = Members::of_body(exchange.request);
  if (!members) return std::unexpected(members.error());
  const bool leave_behind = members->optional_flag("leave_behind");
  if (auto done = members->done(); !done) return std::unexpected(done.error());
  return leave_behind;
}

}  // namespace

Answer<Reply> show_authority(Exchange& exchange) {
  return reply_with(exchange.service.authority());
}

Answer<Reply> roll_authority(Exchange& exchange) {
  return reply_with(exchange.service.roll_authority(exchange.caller));
}

Answer<Reply> switch_authority(Exchange& exchange) {
  const auto leave_behind = leave_behind_of(exchange);
  if (!leave_behind) return std::unexpected(leave_behind.error());
  return reply_with(exchange.service.switch_authority(exchange.caller, *leave_behind));
}

Answer<Reply> finish_authority(Exchange& exchange) {
  const auto leave_behind = leave_behind_of(exchange);
  if (!leave_behind) return std::unexpected(leave_behind.error());
  return reply_with(exchange.service.finish_authority(exchange.caller, *leave_behind));
}

}  // namespace postern::api
