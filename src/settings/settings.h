#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/address_range.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/result.h"
#include "settings/alert_limits.h"
#include "settings/collectors.h"

namespace postern {

inline constexpr std::uint16_t kPort = 5723;

struct Endpoint {
  std::string host;  // name or address
  std::uint16_t port = kPort;
  bool operator==(const Endpoint&) const = default;
};
/// "gw1.example", "192.0.2.1:5723", "[2001:db8::1]:5723".
Result<Endpoint> parse_endpoint(std::string_view text);
std::string to_string(const Endpoint& endpoint);

/// One entry of `parents`: NAME[:PORT], or {name: FQDN, address: IP:PORT} where names cannot be
/// resolved.
struct ParentSetting {
  std::string name;  // stands in the parent's certificate
  Endpoint dial;
  bool operator==(const ParentSetting&) const = default;
};

/// The same in one word, for command lines and join tokens: "gw1.example[:port]" or
/// "gw1.example=192.0.2.1:port".
Result<ParentSetting> parse_parent(std::string_view text);

/// `events`: what of this machine's logs is sent.
struct EventSettings {
  enum class Journal { where_there_is_one, on, off };
  struct Files {
    std::string path;             // absolute; *, ? and [] as in a shell
    std::string multiline_start;  // a regular expression: a matching line begins an event; or empty
    std::string severity;         // of all its lines: "error"; or empty
    bool from_beginning = false;  // at the very first start; else only what comes later
    bool operator==(const Files&) const = default;
  };
  Journal journal = Journal::where_there_is_one;
  unsigned journal_priority = 4;  // and what is more urgent: syslog's numbers, 4 is warning
  std::vector<Files> files;       // at most 64
  std::uint32_t records_per_second_max = 1000;  // of one source; what is more waits in its file
  bool operator==(const EventSettings&) const = default;
};

/// `certificates`: this node's own, and how long a neighbour's counts.
struct CertificateSettings {
  bool renew = true;  // by itself, over the channel, when half of the life is over
  /// A connection ends when what the neighbour showed last is over for longer than this.
  Duration expiry_grace = std::chrono::hours(24);
  /// Certificates that are left there by others are used, see node/certificate_inbox.h; empty: off.
  std::filesystem::path folder{};
  /// Run, without a shell, when the node's certificate is to be renewed elsewhere: the absolute
  /// path of a program and its arguments; what it fetches it leaves in `folder`. Empty: nothing.
  std::vector<std::string> hook = {};
  /// Management servers only: of what the built-in authority signs, unless it is told otherwise.
  Duration lifetime = std::chrono::hours(24 * 365);
  /// Likewise: for so long after its end a certificate is renewed on the word of the identity key
  /// alone.
  Duration renew_expired = std::chrono::hours(24 * 30);
  /// Revocation lists of outside authorities: absolute paths, at most 64.
  std::vector<std::string> crl = {};
  bool refuse_on_stale_crl = false;  // else it is said in the log, and they go on counting
  bool operator==(const CertificateSettings&) const = default;
};

/// What agents and gateways have in common, and a gateway's `listen`.
struct NodeSettings {
  std::string group;
  std::string name;
  std::filesystem::path state_dir;
  Endpoint listen{"0.0.0.0", kPort};  // gateway only
  std::vector<ParentSetting> parents;
  Duration interval = std::chrono::seconds(60);
  CollectorSettings collectors{};
  std::uint64_t spool_bytes_max = 1ull << 30;
  EventSettings events;
  CertificateSettings certificates;
  Level log_level = Level::info;
};

struct ServerSettings {
  static std::vector<AddressRange> loopback();  // 127.0.0.0/8 and ::1
  enum class AgentPolicy { pending, auto_approve, reject };
  std::string group;
  std::string name;
  std::filesystem::path state_dir;
  Endpoint listen{"0.0.0.0", kPort};
  /// "sqlite:/PATH" or "postgresql://...", without a password; default STATE_DIR/store.sqlite
  std::string store;
  std::filesystem::path store_password_file;
  std::filesystem::path api_socket;  // default STATE_DIR/api.sock
  /// Who may use the API over the one port, with a token (rule C6).
  std::vector<AddressRange> api_from = loopback();
  AgentPolicy agents = AgentPolicy::pending;
  Duration interval = std::chrono::seconds(60);
  Duration archive_age = std::chrono::hours(24 * 7);
  std::uint64_t archive_bytes_max = 10ull << 30;
  CertificateSettings certificates;
  AlertLimits alerts;
  std::vector<std::string>
      addresses;  // host:port under which nodes reach this server, for the group file
  Level log_level = Level::info;
};

enum class NodeRole { agent, gateway };

/// Reads one YAML file. Every mistake is `invalid` with FILE:LINE, the key, the value and what
/// would be right; an unknown key is a mistake. Limits: intervals 1 s to 1 h,
/// those of collectors 1 s to 1 d, spool 64 MiB to 1 PiB.
Result<NodeSettings> load_node_settings(Disk& disk, const std::filesystem::path& file,
                                        NodeRole role);
Result<ServerSettings> load_server_settings(Disk& disk, const std::filesystem::path& file);

/// The same from text, for tests; `file` is for messages.
Result<NodeSettings> parse_node_settings(std::string_view text, const std::string& file,
                                         NodeRole role);
Result<ServerSettings> parse_server_settings(std::string_view text, const std::string& file);

}  // namespace postern
