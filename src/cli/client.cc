#include "cli/client.h"

#include <fmt/format.h>

#include <cctype>

#include "identity/group_file.h"
#include "settings/settings.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kHttps = "https://";
constexpr std::string_view kProblemPrefix = "urn:postern:problem:";

HttpRequest request_of(const char* method, const std::string& target) {
  HttpRequest request;
  request.method = method;
  request.target = target;
  return request;
}

std::string text_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

Failure failure_of(const Error& error, const ServerAddress& to) {
  const bool here = !to.unix_path.empty();
  if (error.code == Errc::denied)
    return {0, "no-right",
            here ? fmt::format("no right to ask the management server at {}: {}\n"
                               "Run it as root or as a member of the group postern-admin",
                               to.text(), error.message)
                 : fmt::format("nothing was sent to {}: {}\n"
                               "The group file (--group-file) must be the one that `postern group "
                               "export` writes there now, and the name the one in its certificate",
                               to.text(), error.message)};
  return {0, "unreachable",
          here ? fmt::format("cannot reach the management server at {}: {}\n"
                             "Look at `systemctl status postern-server` on this machine; another "
                             "place: --server unix:PATH, --server https://NAME:PORT or {}",
                             to.text(), error.message, kServerVariable)
               : fmt::format("cannot reach the management server at {}: {}\n"
                             "Its server.yaml must list this machine's address in api_from",
                             to.text(), error.message)};
}

Failure failure_of(const HttpResponse& response) {
  json::error_code failed;
  const json::value body = json::parse(response.body, failed);
  if (failed || !body.is_object())
    return {static_cast<int>(response.status), "internal",
            fmt::format("the management server answered with status {} and no reason",
                        response.status)};
  std::string type = text_at(body.get_object(), "type");
  if (type.starts_with(kProblemPrefix)) type.erase(0, kProblemPrefix.size());
  std::string detail = text_at(body.get_object(), "detail");
  if (detail.empty()) detail = text_at(body.get_object(), "title");
  return {static_cast<int>(response.status), type, detail};
}

std::expected<json::value, Failure> parsed(const std::expected<std::string, Failure>& text) {
  if (!text) return std::unexpected(text.error());
  json::error_code failed;
  json::value value = json::parse(*text, failed);
  if (failed)
    return std::unexpected(Failure{200, "internal",
                                   "the management server's answer is not JSON: " +
                                       failed.message() + ". Is something else listening there?"});
  return value;
}

}  // namespace

std::string ServerAddress::text() const {
  return unix_path.empty() ? fmt::format("https://{}:{}", host, port) : "unix:" + unix_path;
}

Result<Client> Client::open(const Options& options, World& world) {
  std::string address = options.server.value_or("");
  if (address.empty()) address = world.environment(kServerVariable).value_or("");
  if (address.empty()) address = "unix:" + world.home + "/server/api.sock";
  if (address.starts_with(kHttps))
    return open_https(std::string_view(address).substr(kHttps.size()), options, world);
  if (!address.starts_with("unix:") || address.size() == 5)
    return fail(Errc::invalid, "--server {}: must be unix:PATH or https://NAME[:PORT]", address);
  ServerAddress to;
  to.unix_path = address.substr(5);
  return Client(std::move(to), "", world);
}

Result<Client> Client::open_https(std::string_view address, const Options& options, World& world) {
  const auto file_of = [&](const std::optional<std::string>& option, const char* variable) {
    return option ? *option : world.environment(variable).value_or("");
  };
  const std::string token_file = file_of(options.token_file, kTokenFileVariable);
  if (token_file.empty())
    return fail(
        Errc::invalid,
        "--server {}{} needs a token: --token-file FILE or {} (an administrator makes one on "
        "the management server: postern api-token create --role read-only --out FILE)",
        kHttps, address, kTokenFileVariable);
  std::string group_file = file_of(options.group_file, kGroupFileVariable);
  if (group_file.empty()) group_file = world.settings + "/" + std::string(kGroupFileName);

  ServerAddress to;
  auto endpoint =
      parse_endpoint(address.ends_with('/') ? address.substr(0, address.size() - 1) : address);
  if (!endpoint)
    return fail(Errc::invalid, "--server {}{}: {}", kHttps, address, endpoint.error().message);
  to.host = endpoint->host;
  to.port = endpoint->port;
  auto token = world.disk.read_file(token_file, kTokenFileBytesMax);
  if (!token) return fail(Errc::invalid, "--token-file: {}", token.error().message);
  auto text = world.disk.read_file(group_file, kGroupFileBytesMax);
  if (!text)
    return fail(Errc::invalid,
                "{}; the group file says whom to believe: write it on the management server with "
                "`postern group export FILE`, and name it here with --group-file FILE or {}",
                text.error().message, kGroupFileVariable);
  auto group = parse_group_file(as_text(*text));
  if (!group) return fail(Errc::invalid, "{}: {}", group_file, group.error().message);
  to.anchors = group->anchors;
  to.dial = to.host;
  for (const GroupServer& server : group->servers)
    if (const auto known = parse_endpoint(server.address);
        known && server.name == to.host && known->port == to.port)
      to.dial = known->host;
  std::string secret = to_string(ByteView(*token));
  while (!secret.empty() && std::isspace(static_cast<unsigned char>(secret.back())) != 0)
    secret.pop_back();
  if (secret.find_first_of(" \r\n") != secret.npos || secret.empty())
    return fail(Errc::invalid, "{} must hold one token and nothing else", token_file);
  return Client(std::move(to), std::move(secret), world);
}

std::expected<std::string, Failure> Client::ask(HttpRequest request) {
  if (!token_.empty()) request.headers.emplace_back("authorization", "Bearer " + token_);
  auto response = world_.send(address_, request);
  if (!response) return std::unexpected(failure_of(response.error(), address_));
  if (response->status < 200 || response->status > 299)
    return std::unexpected(failure_of(*response));
  return std::move(response->body);
}

std::expected<json::value, Failure> Client::get(const std::string& target) {
  auto answer = parsed(ask(request_of("GET", target)));
  while (answer && answer->is_object()) {
    json::object& list = answer->get_object();
    json::value* items = list.if_contains("items");
    const std::string next = text_at(list, "next");
    if (items == nullptr || !items->is_array() || next.empty()) break;
    auto page = parsed(ask(request_of(
        "GET", fmt::format("{}{}cursor={}", target, target.contains('?') ? '&' : '?', next))));
    if (!page) return page;
    for (const json::value& item : page->at("items").as_array()) items->get_array().push_back(item);
    list["next"] = page->at("next");
  }
  return answer;
}
std::expected<std::string, Failure> Client::get_text(const std::string& target) {
  return ask(request_of("GET", target));
}
std::expected<json::value, Failure> Client::post(const std::string& target,
                                                 const json::object& body) {
  HttpRequest request = request_of("POST", target);
  request.headers.emplace_back("content-type", "application/json");
  request.body = json::serialize(body);
  return parsed(ask(request));
}
std::expected<json::value, Failure> Client::post(const std::string& target) {
  return parsed(ask(request_of("POST", target)));
}
std::expected<json::value, Failure> Client::remove(const std::string& target) {
  return parsed(ask(request_of("DELETE", target)));
}

std::string path_segment(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '.' || c == '_';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  return out;
}

}  // namespace postern::cli
