#include <algorithm>
#include <cctype>

#include "identity/certificate.h"

namespace postern {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_label_character(char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-'; }

std::string printable(std::string_view text) {
  std::string shown(text.substr(0, 80));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text.size() > 80 ? shown + "..." : shown;
}

}  // namespace

bool name_matches(const Certificate& certificate, std::string_view fqdn) {
  const auto equal = [&](const std::string& name) {
    return std::equal(name.begin(), name.end(), fqdn.begin(), fqdn.end(),
                      [](char a, char b) { return lower(a) == lower(b); });
  };
  // Equality alone would let "*.site.example" match a peer that claims that very text.
  if (fqdn.empty() || fqdn.find('*') != std::string_view::npos) return false;
  const auto& names = certificate.dns_names();
  return std::any_of(names.begin(), names.end(), equal);
}

Result<std::string> normal_fqdn(std::string_view text) {
  const std::string shown = printable(text);
  if (text.empty()) return fail(Errc::invalid, "the host name is empty; give the FQDN");
  if (text.size() > 253)
    return fail(Errc::invalid, "'{}' has {} bytes; a host name has at most 253", shown,
                text.size());
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(), lower);
  if (name.back() == '.')
    return fail(Errc::invalid, "'{}' ends with a dot; write it without", shown);
  if (name.find('.') == std::string::npos)
    return fail(Errc::invalid, "'{}' is not an FQDN: it has no domain (host.domain)", shown);

  std::string_view rest = name;
  std::string_view label;
  while (!rest.empty()) {
    label = rest.substr(0, rest.find('.'));
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
    if (label.empty())
      return fail(Errc::invalid, "'{}' has an empty label (two dots, or one in front)", shown);
    if (label.size() > 63)
      return fail(Errc::invalid, "'{}' has a label of {} characters; the limit is 63", shown,
                  label.size());
    const auto wrong = std::find_if_not(label.begin(), label.end(), is_label_character);
    if (wrong != label.end() && *wrong == '*')
      return fail(Errc::invalid, "'{}' is a wildcard; give the full name of one host", shown);
    if (wrong != label.end())
      return fail(
          Errc::invalid,
          "'{}' has a character that no host name has; letters, digits, '-' and '.' are allowed",
          shown);
    if (label.front() == '-' || label.back() == '-')
      return fail(Errc::invalid, "'{}' has a label that begins or ends with '-'", shown);
  }
  if (std::all_of(label.begin(), label.end(), is_digit))
    return fail(Errc::invalid, "'{}' looks like an IP address; give the FQDN", shown);
  return name;
}

}  // namespace postern
