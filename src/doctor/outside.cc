#include "doctor/outside.h"

#include "base/utf8.h"
#include "net/http_client.h"
#include "net/http_date.h"
#include "net/resolver.h"

namespace postern::doctor {

Result<std::vector<std::string>> RealOutside::addresses_of(const std::string& host,
                                                           Duration timeout) {
  return postern::addresses_of(host, timeout);
}

std::optional<std::string> RealOutside::name_of_address(const std::string& address,
                                                        Duration timeout) {
  return postern::name_of_address(address, timeout);
}

PeerProbe RealOutside::probe(const ProbeRequest& request) { return probe_peer(request); }

std::optional<WallTime> RealOutside::clock_of(const std::string& name, const std::string& address,
                                              std::uint16_t port, const Anchors& anchors,
                                              Duration timeout) {
  HttpRequest request;
  request.target = "/livez";
  const auto response = http_over_tls(name, address, port, anchors, request, timeout);
  if (!response) return std::nullopt;
  for (const auto& [header, value] : response->headers)
    if (header == "Date" || header == "date") return parse_http_date(value);
  return std::nullopt;
}

Program RealOutside::program_at(const std::filesystem::path& state, Duration timeout) {
  // A management server's own socket answers the same questions.
  bool known = true;
  for (const char* name : {"status.sock", "api.sock"}) {
    const auto listens = somebody_listens(state / name);
    known = known && listens.has_value();
    if (!listens.value_or(false)) continue;
    HttpRequest request;
    request.target = "/readyz";
    const auto response = http_over_unix(state / name, request, timeout);
    if (!response) return {Program::State::running, false, response.error().message};
    std::string words = to_utf8(response->body);
    while (words.ends_with('\n')) words.pop_back();
    return {Program::State::running, response->status == 200, std::move(words)};
  }
  if (!known)
    return {Program::State::unknown, false,
            fmt::format("the sockets in {} cannot be asked; run it as root or as the program's "
                        "user",
                        state.string())};
  return {Program::State::stopped, false, "it is not running"};
}

}  // namespace postern::doctor
