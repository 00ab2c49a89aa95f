#include "api/router.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/exchange.h"
#include "api/json.h"
#include "base/bytes.h"
#include "base/node_id.h"
#include "base/utf8.h"
#include "identity/certificate.h"
#include "identity/key.h"

namespace postern::api {
namespace {

struct Route {
  std::string_view method;
  std::string_view pattern;  // {node} and {id} stand for one segment
  Handler handler;
  Scope needs = Scope::read_only;
  bool body = false;                 // the handler reads one
  std::string_view parameters = {};  // the query parameters it knows, "a, b"
  /// What If-Match is compared with before anything is changed: the ETag of this representation.
  Handler subject = nullptr;
};

constexpr std::size_t kTagBytes = 16;  // of a SHA-256
constexpr std::string_view kPaged = "cursor, limit";
constexpr std::string_view kNodeFilters = "connected, cursor, limit, name";

constexpr Route kRoutes[] = {
    {"GET", "/api/v1/gateways", list_gateways, Scope::read_only, false, kNodeFilters},
    {"POST", "/api/v1/gateways", approve_gateway, Scope::administrate, true},
    {"GET", "/api/v1/gateways/{node}", show_gateway},
    {"DELETE",
     "/api/v1/gateways/{node}",
     remove_gateway,
     Scope::administrate,
     false,
     {},
     show_approval},
    {"GET", "/api/v1/agents", list_agents, Scope::read_only, false, kNodeFilters},
    {"POST", "/api/v1/agents", approve_agent, Scope::administrate, true},
    {"GET", "/api/v1/agents/{node}", show_agent},
    {"DELETE",
     "/api/v1/agents/{node}",
     remove_agent,
     Scope::administrate,
     false,
     {},
     show_approval},
    {"GET", "/api/v1/pending", list_pending},
    {"GET", "/api/v1/pending/{node}", show_pending},
    {"POST",
     "/api/v1/pending/{node}/approve",
     approve_pending,
     Scope::administrate,
     false,
     {},
     show_pending},
    {"POST",
     "/api/v1/pending/{node}/reject",
     reject_pending,
     Scope::administrate,
     false,
     {},
     show_pending},
    {"GET", "/api/v1/nodes", list_nodes, Scope::read_only, false,
     "connected, cursor, limit, name, role"},
    {"GET", "/api/v1/nodes/{node}", show_node},
    {"GET", "/api/v1/nodes/{node}/approval", show_approval},
    {"GET", "/api/v1/nodes/{node}/inventory", list_entities},
    {"GET", "/api/v1/nodes/{node}/series", list_series, Scope::read_only, false,
     "cursor, limit, metric, since, until"},
    {"GET", "/api/v1/nodes/{node}/events", list_events, Scope::read_only, false,
     "contains, cursor, limit, severity, since, until"},
    {"GET", "/api/v1/topology", show_topology},
    {"GET", "/api/v1/servers", list_servers},
    {"GET", "/api/v1/servers/{node}", show_server},
    {"GET", "/api/v1/audit", list_audit, Scope::read_only, false, kPaged},
    {"GET", "/api/v1/losses", list_losses, Scope::read_only, false, "cursor, limit, node, since"},
    {"GET", "/api/v1/alerts", list_alerts, Scope::read_only, false,
     "cursor, limit, node, open, severity"},
    {"GET", "/api/v1/alerts/{id}", show_alert},
    {"POST", "/api/v1/alerts/{id}/close", close_alert, Scope::operate, false, {}, show_alert},
    {"POST", "/api/v1/nodes/{node}/trace", start_trace, Scope::operate},
    {"POST", "/api/v1/nodes/{node}/renewal", allow_renewal, Scope::administrate},
    {"GET", "/api/v1/traces/{id}", show_trace},
    {"GET", "/api/v1/group", show_group},
    {"GET", "/api/v1/group/file", export_group},
    {"GET", "/api/v1/certificates", list_certificates, Scope::read_only, false,
     "connected, cursor, limit, name, role"},
    {"POST", "/api/v1/certificates", sign_certificate, Scope::administrate, true},
    {"GET", "/api/v1/revocations", list_revocations},
    {"POST", "/api/v1/revocations", revoke_certificate, Scope::administrate, true},
    {"GET", "/api/v1/authority", show_authority},
    {"POST", "/api/v1/authority/roll", roll_authority, Scope::administrate},
    {"POST", "/api/v1/authority/switch", switch_authority, Scope::administrate, true},
    {"POST", "/api/v1/authority/finish", finish_authority, Scope::administrate, true},
    {"GET", "/api/v1/openapi.yaml", show_description},
    {"GET", "/api/v1/changes", listen_to_changes, Scope::read_only, false, "kinds"},
    {"GET", "/api/v1/join-tokens", list_join_tokens, Scope::administrate},
    {"POST", "/api/v1/join-tokens", create_join_token, Scope::administrate, true},
    {"DELETE", "/api/v1/join-tokens/{id}", revoke_join_token, Scope::administrate},
    {"GET", "/api/v1/tokens", list_tokens, Scope::administrate},
    {"POST", "/api/v1/tokens", create_token, Scope::administrate, true},
    {"DELETE", "/api/v1/tokens/{id}", revoke_token, Scope::administrate},
};

/// Undoes %41 in one segment or parameter; nothing when it is malformed or hides a control
/// character or a slash.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto byte = from_hex(text.substr(i + 1, 2));
    if (!byte || byte->size() != 1) return std::nullopt;
    const char decoded = static_cast<char>((*byte)[0]);
    if (static_cast<unsigned char>(decoded) < 0x20 || decoded == '/') return std::nullopt;
    out += decoded;
    i += 2;
  }
  return out;
}

/// What stood for {node} and {id}, still encoded.
struct Segments {
  std::string_view node, id;
};

/// Whether the path has the pattern's form.
bool matches(std::string_view pattern, std::string_view path, Segments& segments) {
  while (!pattern.empty() || !path.empty()) {
    if (pattern.empty() || path.empty() || pattern[0] != '/' || path[0] != '/') return false;
    pattern.remove_prefix(1);
    path.remove_prefix(1);
    const auto wanted = pattern.substr(0, pattern.find('/'));
    const auto found = path.substr(0, path.find('/'));
    if (wanted == "{node}" || wanted == "{id}") {
      if (found.empty()) return false;
      (wanted == "{node}" ? segments.node : segments.id) = found;
    } else if (wanted != found) {
      return false;
    }
    pattern.remove_prefix(wanted.size());
    path.remove_prefix(found.size());
  }
  return true;
}

/// A node id of 32 hex digits, else a name; both in their normal form.
Answer<std::string> node_reference(std::string_view encoded) {
  const auto text = percent_decoded(encoded);
  if (!text) return refuse(kProblemInvalid, "the path has a malformed % sequence");
  if (const auto id = parse_node_id(*text)) return id->hex();
  auto name = normal_fqdn(*text);
  if (!name) return refuse(kProblemInvalid, name.error().message);
  return *name;
}

/// Whether `name` stands in the list "a, b".
bool names(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const auto one = list.substr(0, list.find(','));
    if (one == name) return true;
    list.remove_prefix(std::min(one.size() + 2, list.size()));
  }
  return false;
}

Answer<void> read_query(Exchange& exchange, std::string_view query, std::string_view known) {
  while (!query.empty()) {
    const auto one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(one.size() + 1, query.size()));
    const auto equals = one.find('=');
    const auto name = percent_decoded(one.substr(0, equals));
    const auto value =
        percent_decoded(equals == one.npos ? std::string_view() : one.substr(equals + 1));
    if (!name || !value) return refuse(kProblemInvalid, "the query has a malformed % sequence");
    if (!names(known, *name))
      return refuse(kProblemInvalid, fmt::format("the parameter '{}' is not known here{}{}", *name,
                                                 known.empty() ? "" : "; known here: ", known));
    if (!exchange.query.emplace(*name, *value).second)
      return refuse(kProblemInvalid, fmt::format("the parameter '{}' is given twice", *name));
  }
  return {};
}

/// Peers and files have put words into our answers that need not be UTF-8, as JSON must be.
std::string text_of(const boost::json::value& json) {
  std::string text = boost::json::serialize(json);
  return is_utf8(text) ? text : to_utf8(text);
}

/// A strong entity tag (RFC 9110, 8.8.3): equal bytes, equal tag.
std::string entity_tag(const std::string& body) {
  return '"' + to_hex(ByteView(sha256(as_bytes(body))).first(kTagBytes)) + '"';
}

/// Whether a list of entity tags ("*", or "a", "b") has this one. `weak`: W/ in front is no matter.
bool has_tag(std::string_view list, std::string_view tag, bool weak) {
  while (!list.empty()) {
    auto one = list.substr(0, list.find(','));
    list.remove_prefix(std::min(one.size() + 1, list.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (weak && one.starts_with("W/")) one.remove_prefix(2);
    if (one == "*" || one == tag) return true;
  }
  return false;
}

/// Who decided on what they saw does not decide on something else (RFC 9110, 13.1.1).
Answer<void> check_precondition(const Route& route, Exchange& exchange) {
  const auto wanted = exchange.request.header("if-match");
  if (!wanted) return {};
  if (route.subject == nullptr)
    return refuse(kProblemInvalid, "If-Match is not understood by this operation");
  const auto now = route.subject(exchange);
  if (!now) return std::unexpected(now.error());
  if (has_tag(*wanted, entity_tag(text_of(now->json)), false)) return {};
  return refuse(kProblemPrecondition,
                "it has changed since you looked at it; look again, then decide");
}

std::string_view who_may(Scope needs) {
  return needs == Scope::operate ? "a token of the role operator or administrator"
                                 : "a token of the role administrator";
}

Answer<Reply> run(const Route& route, Exchange& exchange, std::string_view query) {
  if (exchange.caller.scope < route.needs)
    return refuse(
        kProblemDenied,
        fmt::format("{} may {}; that takes root or a member of the group postern-admin "
                    "on the management server, or {}",
                    exchange.caller.name,
                    route.method == "GET"                       ? "not read this"
                    : exchange.caller.scope == Scope::read_only ? "read but not change things"
                                                                : "not do this",
                    who_may(route.needs)));
  if (!route.body && !exchange.request.body.empty())
    return refuse(kProblemInvalid, "this operation takes no body");
  if (auto read = read_query(exchange, query, route.parameters); !read)
    return std::unexpected(read.error());
  if (auto same = check_precondition(route, exchange); !same) return std::unexpected(same.error());
  return route.handler(exchange);
}

struct Found {
  const Route* route = nullptr;
  Segments segments;
  std::vector<std::string_view> allowed;  // methods of routes with this path
};

Found find_route(std::string_view method, std::string_view path) {
  Found found;
  for (const Route& route : kRoutes) {
    Segments segments;
    if (!matches(route.pattern, path, segments)) continue;
    found.allowed.push_back(route.method);
    if (route.method == method || (method == "HEAD" && route.method == "GET")) {
      found.route = &route;
      found.segments = segments;
    }
  }
  return found;
}

HttpResponse response_of(const Reply& reply) {
  HttpResponse response;
  response.status = static_cast<unsigned>(reply.status);
  response.content_type = reply.text_type.empty() ? "application/json" : reply.text_type;
  response.body = reply.text_type.empty() ? text_of(reply.json) : reply.text;
  if (!reply.location.empty()) response.headers.emplace_back("Location", reply.location);
  if (reply.go_on) {
    response.headers.emplace_back("Cache-Control", "no-store");
    response.go_on = reply.go_on;
  }
  return response;
}

/// With its tag; 304 when the client has the same already.
HttpResponse tagged(HttpResponse response, const HttpRequest& request) {
  if (response.status != 200 || response.go_on ||
      (request.method != "GET" && request.method != "HEAD"))
    return response;
  const std::string tag = entity_tag(response.body);
  response.headers.emplace_back("ETag", tag);
  if (const auto known = request.header("if-none-match"); known && has_tag(*known, tag, true)) {
    response.status = 304;
    response.body.clear();
  }
  return response;
}

}  // namespace

HttpResponse response_of(const ApiError& error) {
  HttpResponse response;
  response.status = static_cast<unsigned>(error.status);
  response.content_type = "application/problem+json";
  response.body = text_of(to_json(error));
  if (error.type == kProblemUnauthenticated)
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"postern\"");
  return response;
}

HttpResponse handle(const HttpRequest& request, const Caller& caller, Service& service) {
  const std::string_view target = request.target;
  if (target.size() > kTargetBytesMax)
    return response_of(
        problem(kProblemInvalid, fmt::format("the address has {} bytes, at most {} are allowed",
                                             target.size(), kTargetBytesMax)));
  const auto path = target.substr(0, target.find('?'));
  const auto query = path.size() == target.size() ? "" : target.substr(path.size() + 1);
  const Found found = find_route(request.method, path);
  if (found.allowed.empty())
    return response_of(problem(kProblemNotFound, fmt::format("there is nothing at {}", path)));
  if (found.route == nullptr) {
    auto response = response_of(
        problem(kProblemMethod, fmt::format("{} is not known at {}", request.method, path)));
    response.headers.emplace_back("Allow", fmt::format("{}", fmt::join(found.allowed, ", ")));
    return response;
  }
  Exchange exchange{request, caller, service, {}, std::string(found.segments.id), {}};
  if (!found.segments.node.empty()) {
    auto node = node_reference(found.segments.node);
    if (!node) return response_of(node.error());
    exchange.node = std::move(*node);
  }
  const auto reply = run(*found.route, exchange, query);
  return reply ? tagged(response_of(*reply), request) : response_of(reply.error());
}

}  // namespace postern::api
