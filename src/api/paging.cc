#include <fmt/format.h>

#include <charconv>

#include "api/exchange.h"
#include "base/bytes.h"

namespace postern::api {

Answer<Page> page_of(const Exchange& exchange, std::size_t otherwise, std::size_t max) {
  Page page{otherwise, {}};
  if (const auto found = exchange.query.find("limit"); found != exchange.query.end()) {
    const std::string& text = found->second;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), page.limit);
    if (failed != std::errc() || end != text.data() + text.size() || page.limit == 0 ||
        page.limit > max)
      return refuse(kProblemInvalid,
                    fmt::format("limit is '{}', it must be a number from 1 to {}", text, max));
  }
  if (const auto found = exchange.query.find("cursor"); found != exchange.query.end()) {
    const auto place = from_hex(found->second);
    if (!place || place->empty())
      return refuse(kProblemInvalid,
                    "this cursor is none of ours; take it from the member 'next' of the page "
                    "before, or leave it out to begin anew");
    page.after = std::string(as_text(*place));
  }
  return page;
}

std::string next_page(std::string_view place) { return to_hex(as_bytes(place)); }

Answer<std::optional<bool>> flag_of(const Exchange& exchange, std::string_view name) {
  const auto found = exchange.query.find(name);
  if (found == exchange.query.end()) return std::optional<bool>();
  if (found->second != "true" && found->second != "false")
    return refuse(kProblemInvalid,
                  fmt::format("{} is '{}', it must be true or false", name, found->second));
  return found->second == "true";
}

}  // namespace postern::api
