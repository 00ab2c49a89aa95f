// docs/api: any request to the API, by any caller.

#include <boost/json.hpp>

#include "api/fake_service.h"
#include "api/router.h"
#include "api/time.h"
#include "api/token.h"
#include "fuzz/target.h"

namespace postern::fuzz {
namespace {

constexpr const char* kMethods[] = {"GET", "POST", "DELETE", "HEAD", "PUT"};

void check_answer(const HttpResponse& response) {
  claim(response.status >= 200 && response.status < 508, "a status that there is");
  claim(response.status != 500, "no input is an internal error");
  if (response.status < 400) return;
  boost::system::error_code failed;
  const auto body = boost::json::parse(response.body, failed);
  claim(!failed && response.content_type == "application/problem+json",
        "a refusal is problem+json");
  claim(body.at("status").as_int64() == response.status && !body.at("detail").as_string().empty(),
        "with its status and words");
}

}  // namespace

void one_input(ByteView bytes) {
  Input in(bytes);
  api::FakeService service;
  service.nodes.push_back(api::FakeService::agent_node("a1.dmz.example"));
  api::AlertView alert;
  alert.id = 1;
  service.alert_list = {alert};
  HttpRequest request;
  request.method = kMethods[in.u8() % std::size(kMethods)];
  const std::uint8_t flags = in.u8();
  const auto scope = static_cast<api::Scope>(flags % 3);
  const api::Caller caller{1000, 1000, "ada", scope};
  if (flags & 8) request.headers.emplace_back("content-type", "application/json");
  if (flags & 16) request.headers.emplace_back("if-match", as_text(in.piece()));
  request.target = as_text(in.piece());
  request.body = as_text(in.rest());
  const HttpResponse response = api::handle(request, caller, service);
  check_answer(response);
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (reads || scope == api::Scope::read_only || response.status >= 400)
    claim(service.audit_log.empty(), "nothing changes by reading, by a reader, or by a refusal");
  if (!reads && response.status < 300 && response.status != 200)
    claim(!service.audit_log.empty(), "what was changed is in the audit list");

  if (auto token = api::parse_token(request.target))
    claim(token->id.size() == 2 * api::kTokenIdBytes, "a token has its id");
  (void)api::bearer_token(request.target);
  (void)api::parse_rfc3339(request.target);
}

std::vector<Bytes> seeds() {
  const auto seed = [](std::uint8_t method, std::string_view target, std::string_view body) {
    Writer out;
    out.u8(method).u8(8 + 2);
    put_piece(out, as_bytes(target));
    out.bytes(as_bytes(body));
    return out.take();
  };
  return {seed(0, "/api/v1/nodes?role=agent&limit=1&name=a*", ""),
          seed(0, "/api/v1/losses?since=2026-01-31T08:15:00Z&node=a1.dmz.example", ""),
          seed(1, "/api/v1/gateways",
               R"({"name":"gw1.dmz.example","parents":["ms1.home.example"],"direction":null})"),
          seed(1, "/api/v1/agents", R"({"name":"a2.dmz.example","parents":["ms1.home.example"]})"),
          seed(1, "/api/v1/tokens", R"({"role":"operator","label":"wall","days":7})"),
          seed(1, "/api/v1/alerts/1/close", ""),
          seed(0, api::token_text("0123456789ab", Bytes(api::kTokenSecretBytes)), ""),
          seed(0, "Bearer 2026-01-31T08:15:00Z", ""),
          seed(2, "/api/v1/agents/a1.dmz.example", ""),
          seed(1, "/api/v1/nodes/%61%31.dmz.example/trace", "")};
}

}  // namespace postern::fuzz
