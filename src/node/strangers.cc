#include "node/strangers.h"

#include <fmt/format.h>

namespace postern::node {
namespace {

constexpr std::size_t kWordsMax = 300;

}  // namespace

bool is_for_strangers(std::string_view target) {
  return target == kJoinPath || target == kRenewPath;
}

std::string source_of(const HttpRequest& request) {
  return request.address.substr(0, request.address.rfind(':'));
}

std::string harmless(std::string_view words) {
  std::string safe;
  for (const char c : words.substr(0, kWordsMax)) safe += c >= ' ' && c < 0x7f ? c : ' ';
  while (safe.ends_with(' ')) safe.pop_back();
  return safe;
}

HttpResponse stranger_response(const std::optional<std::string>& answer,
                               const std::string& own_words, Duration retry_after) {
  HttpResponse response;
  if (answer) {
    response.content_type = "application/octet-stream";
    response.body = *answer;
    return response;
  }
  response.status = 503;
  response.body = own_words + "\n";
  response.headers.emplace_back(
      "Retry-After", std::to_string(std::chrono::ceil<std::chrono::seconds>(retry_after).count()));
  return response;
}

std::optional<HttpResponse> StrangerGate::turn_away(const HttpRequest& request,
                                                    std::string_view whose, TimePoint now) {
  HttpResponse response;
  if (request.method != "POST") {
    response.status = 405;
    response.headers.emplace_back("Allow", "POST");
    response.body = "machines ask with POST; see postern-agent setup --help\n";
    return response;
  }
  if (request.body.size() > kStrangersBytesMax) {
    response.status = 413;
    response.body = fmt::format("a request of {} bytes; the limit is {}\n", request.body.size(),
                                kStrangersBytesMax);
    return response;
  }
  Duration wait = strangers_.take(source_of(request), now);
  if (wait == Duration::zero()) wait = all_.take("", now);
  if (wait == Duration::zero()) return std::nullopt;
  response = stranger_response(std::nullopt,
                               fmt::format("too many machines ask this {} at once", whose), wait);
  response.status = 429;
  return response;
}

}  // namespace postern::node
