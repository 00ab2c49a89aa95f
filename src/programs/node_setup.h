#pragma once

// `setup` of an agent or gateway: node/setup.h with a terminal, this machine's name and its service
// manager around it.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "settings/settings.h"

namespace postern {

class NodeSetup {
 public:
  /// `program`: "postern-agent".
  NodeSetup(CLI::App& app, std::string program, NodeRole role);
  bool parsed() const { return verb_->parsed(); }
  int run(const std::string& config);  // the exit status
  CLI::App* verb() { return verb_; }

 private:
  Result<std::string> token() const;
  int say_failure(const std::string& words) const;

  const std::string program_;
  const NodeRole role_;
  CLI::App* verb_;
  std::optional<std::string> token_file_, name_, listen_;
  std::vector<std::string> parents_;
  std::string state_, wait_ = "2m";
  bool no_start_ = false;
};

}  // namespace postern
