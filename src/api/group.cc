#include "api/exchange.h"
#include "api/json.h"
#include "api/openapi.h"
#include "api/router.h"

namespace postern::api {
namespace {

constexpr std::uint32_t kDaysMax = 3650;

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

}  // namespace postern::api
