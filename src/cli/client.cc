#include "cli/client.h"

#include <fmt/format.h>

namespace postern::cli {
namespace {

namespace json = boost::json;

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

Failure failure_of(const Error& error, const std::string& path) {
  if (error.code == Errc::denied)
    return {0, "no-right",
            fmt::format("no right to ask the management server at unix:{}: {}\n"
                        "Run it as root or as a member of the group postern-admin",
                        path, error.message)};
  return {0, "unreachable",
          fmt::format("cannot reach the management server at unix:{}: {}\n"
                      "Look at `systemctl status postern-server` on this machine; another place: "
                      "--server unix:PATH or {}",
                      path, error.message, kServerVariable)};
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

Result<Client> Client::open(const Options& options, World& world) {
  std::string address = options.server.value_or("");
  if (address.empty()) address = world.environment(kServerVariable).value_or("");
  if (address.empty()) address = "unix:" + world.home + "/server/api.sock";
  if (address.starts_with("https://"))
    return fail(Errc::invalid,
                "--server {}: https is not available in this version. Use unix:PATH on the "
                "management server itself",
                address);
  if (!address.starts_with("unix:") || address.size() == 5)
    return fail(Errc::invalid, "--server {}: must be unix:PATH", address);
  return Client(address.substr(5), world);
}

std::expected<std::string, Failure> Client::ask(const HttpRequest& request) {
  auto response = world_.send(path_, request);
  if (!response) return std::unexpected(failure_of(response.error(), path_));
  if (response->status < 200 || response->status > 299)
    return std::unexpected(failure_of(*response));
  return std::move(response->body);
}

std::expected<json::value, Failure> Client::get(const std::string& target) {
  return parsed(ask(request_of("GET", target)));
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
