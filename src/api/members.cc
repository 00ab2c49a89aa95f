#include <fmt/format.h>

#include <algorithm>

#include "api/exchange.h"
#include "api/router.h"
#include "identity/certificate.h"

namespace postern::api {
namespace {

namespace json = boost::json;

constexpr std::size_t kNameBytesMax = 253;  // of a DNS name

bool same_text(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

// Anything but JSON is refused: a browser can be made to send forms and plain text, not this.
bool says_json(const HttpRequest& request) {
  for (const auto& [name, value] : request.headers)
    if (same_text(name, "content-type"))
      return same_text(std::string_view(value).substr(0, value.find(';')), "application/json");
  return false;
}

}  // namespace

Answer<Members> Members::of_body(const HttpRequest& request) {
  if (!says_json(request))
    return refuse(kProblemMediaType, "send the body with Content-Type: application/json");
  if (request.body.size() > kBodyBytesMax)
    return refuse(kProblemTooLarge, fmt::format("the body has {} bytes, at most {} are allowed",
                                                request.body.size(), kBodyBytesMax));
  json::error_code failed;
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  json::value value = json::parse(request.body, failed, {}, options);
  if (failed) return refuse(kProblemInvalid, "the body is not JSON: " + failed.message());
  if (!value.is_object()) return refuse(kProblemInvalid, "the body must be a JSON object");
  return Members(std::move(value.as_object()));
}

void Members::object_to(std::string detail) {
  if (!wrong_) wrong_ = problem(kProblemUnprocessable, std::move(detail));
}

std::optional<json::value> Members::take(std::string_view name) {
  known_.emplace_back(name);
  const json::value* found = object_.if_contains(name);
  if (found == nullptr || found->is_null()) return std::nullopt;
  json::value value = *found;
  object_.erase(name);
  return value;
}

std::string Members::optional_text(std::string_view name, std::size_t bytes_max) {
  const auto value = take(name);
  if (!value) return {};
  if (!value->is_string()) {
    object_to(fmt::format("'{}' must be a text", name));
    return {};
  }
  const json::string& text = value->get_string();
  if (text.size() > bytes_max) {
    object_to(
        fmt::format("'{}' has {} bytes, at most {} are allowed", name, text.size(), bytes_max));
    return {};
  }
  return std::string(text);
}

std::string Members::required_text(std::string_view name, std::size_t bytes_max) {
  std::string text = optional_text(name, bytes_max);
  if (text.empty()) object_to(fmt::format("'{}' is missing or empty", name));
  return text;
}

std::optional<std::uint32_t> Members::optional_count(std::string_view name, std::uint32_t min,
                                                     std::uint32_t max) {
  const auto value = take(name);
  if (!value) return std::nullopt;
  json::error_code failed;
  const auto count = value->to_number<std::uint32_t>(failed);
  if (failed || count < min || count > max) {
    object_to(fmt::format("'{}' must be a whole number from {} to {}", name, min, max));
    return std::nullopt;
  }
  return count;
}

bool Members::optional_flag(std::string_view name) {
  const auto value = take(name);
  if (value && !value->is_bool()) object_to(fmt::format("'{}' must be true or false", name));
  return value && value->is_bool() && value->get_bool();
}

std::vector<std::string> Members::optional_texts(std::string_view name, std::size_t count_max,
                                                 std::size_t bytes_max) {
  const auto value = take(name);
  std::vector<std::string> texts;
  const json::array* list = value ? value->if_array() : nullptr;
  const bool too_many = list != nullptr && list->size() > count_max;
  if ((value && list == nullptr) || too_many) {
    object_to(fmt::format("'{}' must be a list of at most {} texts", name, count_max));
    return texts;
  }
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const json::string* text = (*list)[i].if_string();
    if (text == nullptr || text->empty() || text->size() > bytes_max) {
      object_to(fmt::format("'{}' has texts of 1 to {} bytes", name, bytes_max));
      return texts;
    }
    texts.emplace_back(*text);
  }
  return texts;
}

std::string Members::fqdn(std::string_view member, const std::string& text) {
  auto normal = normal_fqdn(text);
  if (normal) return *normal;
  object_to(fmt::format("'{}': {}", member, normal.error().message));
  return {};
}

std::string Members::required_fqdn(std::string_view name) {
  const std::string text = required_text(name, kNameBytesMax);
  return text.empty() ? text : fqdn(name, text);
}

std::vector<std::string> Members::fqdns(std::string_view name, std::size_t min) {
  const auto value = take(name);
  std::vector<std::string> names;
  const json::array* list = value ? value->if_array() : nullptr;
  if (value && list == nullptr) object_to(fmt::format("'{}' must be a list of names", name));
  const std::size_t count = list == nullptr ? 0 : list->size();
  if (count < min || count > kParentsMax) {
    object_to(
        fmt::format("'{}' has {} names, it must have {} to {}", name, count, min, kParentsMax));
    return names;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const json::string* text = (*list)[i].if_string();
    if (text == nullptr) {
      object_to(fmt::format("'{}' must be a list of names", name));
      return names;
    }
    std::string normal = fqdn(name, std::string(*text));
    if (std::ranges::find(names, normal) != names.end())
      object_to(fmt::format("'{}' names {} twice", name, normal));
    names.push_back(std::move(normal));
  }
  return names;
}

Answer<void> Members::done() {
  for (const auto& member : object_)
    if (!member.value().is_null() ||
        std::ranges::find(known_, std::string_view(member.key())) == known_.end())
      return refuse(kProblemUnprocessable,
                    fmt::format("'{}' is not known here; known are: {}",
                                std::string_view(member.key()), fmt::join(known_, ", ")));
  if (wrong_) return std::unexpected(*wrong_);
  return {};
}

}  // namespace postern::api
