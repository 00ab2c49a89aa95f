#include "identity/group_file.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace postern {
namespace {

constexpr std::string_view kMagic = "postern-group:";
constexpr std::string_view kBeginKey = "-----BEGIN PUBLIC KEY-----";
constexpr std::string_view kBeginBlock = "-----BEGIN ";
constexpr std::string_view kBeginCertificate = "-----BEGIN CERTIFICATE-----";
constexpr std::size_t kNameBytesMax = 52;  // with " Postern CA" it fits a common name

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

Result<> check_group_name(std::string_view name) {
  if (!name.empty() && name.size() <= kNameBytesMax && printable(name)) return {};
  return fail(Errc::invalid, "the group's name has {} bytes; needed are 1 to {} printable ones",
              name.size(), kNameBytesMax);
}

/// HOST:PORT with a port; whether the host exists is found out when it is dialled.
Result<> check_address(std::string_view address) {
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || address.size() > 300)
    return fail(Errc::invalid, "the address '{}' is not HOST:PORT", address.substr(0, 80));
  const std::string_view host = address.substr(0, colon);
  const std::string_view digits = address.substr(colon + 1);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0 || port > 65535)
    return fail(Errc::invalid, "the address '{}' has no port from 1 to 65535", address);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find(':') != std::string_view::npos)
    return fail(Errc::invalid, "the address '{}' is IPv6 without brackets; write [ADDRESS]:PORT",
                address);
  return {};
}

Result<GroupServer> parse_server(std::string_view value) {
  const auto space = value.find(' ');
  if (space == std::string_view::npos)
    return fail(Errc::invalid, "a server line is 'server: FQDN HOST:PORT'");
  auto name = normal_fqdn(value.substr(0, space));
  if (!name) return std::unexpected(name.error());
  const std::string_view address = trimmed(value.substr(space));
  if (auto checked = check_address(address); !checked) return std::unexpected(checked.error());
  return GroupServer{std::move(*name), std::string(address)};
}

struct Headers {
  std::optional<std::string> version;
  std::optional<std::string> name;
  std::vector<GroupServer> servers;
};

Result<> parse_header(std::string_view line, Headers& headers) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos)
    return fail(Errc::invalid, "is not 'key: value' and begins no PEM block");
  const std::string_view key = line.substr(0, colon);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!headers.version && key != "postern-group")
    return fail(Errc::invalid, "the first line must be 'postern-group: 1'");
  if (key == "postern-group") {
    if (headers.version) return fail(Errc::invalid, "'postern-group' stands there twice");
    if (value != "1")
      return fail(Errc::invalid, "version '{}' is not known here, only 1; update this software",
                  value.substr(0, 20));
    headers.version = value;
    return {};
  }
  if (key == "name") {
    if (headers.name) return fail(Errc::invalid, "'name' stands there twice");
    headers.name = value;
    return check_group_name(value);
  }
  if (key == "server") {
    if (headers.servers.size() == kGroupServersMax)
      return fail(Errc::invalid, "more than {} servers", kGroupServersMax);
    auto server = parse_server(value);
    if (!server) return std::unexpected(server.error());
    headers.servers.push_back(std::move(*server));
    return {};
  }
  return fail(Errc::invalid, "'{}' is not known; known are postern-group, name, server",
              key.substr(0, 40));
}

/// Reads the lines up to the first PEM block and returns what follows them.
Result<std::string_view> parse_headers(std::string_view text, Headers& headers) {
  std::size_t number = 0;
  while (!text.empty() && !text.starts_with(kBeginBlock)) {
    ++number;
    const auto end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    if (!printable(line))
      return fail(Errc::invalid, "group file, line {}: holds a character that is not printable",
                  number);
    if (auto parsed = parse_header(line, headers); !parsed)
      return fail(parsed.error(), fmt::format("group file, line {}", number));
  }
  return text;
}

/// Every block must be one of ours, so that a block that was damaged or a key that slipped in is
/// noticed instead of skipped.
Result<> check_blocks(std::string_view text) {
  std::size_t roots = 0;
  for (auto at = text.find(kBeginBlock); at != std::string_view::npos;
       at = text.find(kBeginBlock, at + 1)) {
    const std::string_view block = text.substr(at);
    if (block.starts_with(kBeginKey)) {
      ++roots;
    } else if (!block.starts_with(kBeginCertificate)) {
      return fail(Errc::invalid,
                  "group file: holds a block that is neither PUBLIC KEY nor CERTIFICATE");
    }
  }
  if (roots != 1)
    return fail(Errc::invalid,
                "group file: has {} PUBLIC KEY blocks; needed is one, the group root", roots);
  return {};
}

}  // namespace

std::string root_fingerprint(const PublicKey& root) { return to_hex(root.fingerprint()); }

bool is_group_file(std::string_view text) {
  while (text.starts_with('#') || text.starts_with('\n') || text.starts_with('\r')) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return false;
    text.remove_prefix(end + 1);
  }
  return text.starts_with(kMagic);
}

std::string encode_group_file(const GroupFile& group) {
  std::string text = fmt::format("{} 1\nname: {}\n", kMagic, group.name);
  for (const GroupServer& server : group.servers)
    text += fmt::format("server: {} {}\n", server.name, server.address);
  text += fmt::format("# compare before you trust: root {}\n\n", root_fingerprint(group.root));
  return text + group.root.to_pem() + group.anchors.to_pem();
}

Result<GroupFile> parse_group_file(std::string_view text) {
  if (text.size() > kGroupFileBytesMax)
    return fail(Errc::invalid, "group file: has {} bytes, the limit is {}", text.size(),
                kGroupFileBytesMax);
  Headers headers;
  auto blocks = parse_headers(text, headers);
  if (!blocks) return std::unexpected(blocks.error());
  if (!headers.version) return fail(Errc::invalid, "group file: has no line 'postern-group: 1'");
  if (!headers.name) return fail(Errc::invalid, "group file: has no line 'name: ...'");
  if (headers.servers.empty())
    return fail(Errc::invalid, "group file: has no line 'server: FQDN HOST:PORT'");
  if (auto checked = check_blocks(*blocks); !checked) return std::unexpected(checked.error());
  auto root = PublicKey::from_pem(*blocks);
  if (!root) return fail(root.error(), "group file: group root");
  auto anchors = Anchors::from_pem(*blocks);
  if (!anchors) return fail(anchors.error(), "group file");
  return GroupFile{std::move(*headers.name), std::move(headers.servers), std::move(*root),
                   std::move(*anchors)};
}

}  // namespace postern
