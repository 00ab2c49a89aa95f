#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace postern::cli {

enum class Format { table, json, yaml };

/// What was said on the command line, for all verbs; a verb reads the members it has options for.
struct Options {
  std::string verb;  // "gateway approve"
  Format output = Format::table;
  std::optional<std::string> server;  // --server
  std::optional<std::string> token_file, group_file;

  std::string name;
  std::vector<std::string> parents, failover;
  bool parent_initiates = false;
  std::optional<std::string> role;
  std::optional<std::uint32_t> watch_seconds;

  std::optional<std::string> node;   // loss list --node
  std::optional<std::string> since;  // loss list --since: a time or a duration
  bool all = false;                  // alert list --all
  std::int64_t id = 0;               // of an alert
  std::string timeout = "30s";       // trace --timeout

  std::string name_pattern;  // token create --name
  std::optional<std::uint32_t> uses;
  std::string expires;
  std::vector<std::string> addresses;  // --via
  bool pending = false;
  bool leave_behind = false;  // ca switch, ca finish

  std::optional<std::string> to, config;  // doctor --to, --config
  std::optional<std::string> peer;        // cert verify --peer
  std::string wait = "10s";               // doctor --timeout, cert verify --timeout

  std::string scope;  // api-token create --role
  std::string label;
  std::string token_id;

  std::vector<std::string> alternative_names;
  std::string key_kind = "ec";
  std::string folder;                                 // --out of cert request
  std::string file;                                   // a positional file
  std::vector<std::string> files;                     // several
  std::optional<std::string> key_file, anchors_file;  // cert verify --key, --anchors
  std::optional<std::string> out_file;                // --out of cert sign, --to of spool export
  std::optional<std::uint32_t> days;
  std::string reason;  // cert revoke --reason
  std::optional<std::string> store, state;
  std::optional<std::string> pkcs12, password_file;  // cert import, cert verify
};

struct CommandLine {
  Options options;
  std::optional<int> exit;  // nothing to run: `text` is help (0) or what is wrong (2)
  std::string text;
};

/// `arguments` without the program's name.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

}  // namespace postern::cli
