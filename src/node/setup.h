#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "net/http.h"
#include "node/join.h"
#include "settings/settings.h"

namespace postern::node {

/// What `postern-agent setup` and `postern-gateway setup` are told.
struct SetupRequest {
  NodeRole role = NodeRole::agent;
  std::string token;                 // the line, as it was read
  std::optional<std::string> name;   // nothing: this machine's own
  std::vector<std::string> parents;  // see parse_parent(); empty: those that the token names
  std::filesystem::path config, state_dir;
  std::optional<std::string> listen;        // gateways
  Duration wait = std::chrono::minutes(2);  // how long to go on asking when nobody answers
};

struct SetupDone {
  std::string name, group, over;  // over: the parent that was asked
  bool approved = false;
  bool was_member = false;      // it had joined before: nothing was asked
  bool config_written = false;  // false: there was one, and it stays
  WallTime certificate_not_after{};
  std::chrono::milliseconds ahead{};  // the server's clock less ours
};

/// Makes a machine a node of the group that a token names: identity, key, certificate, anchors,
/// pinned group root, configuration. May be broken off and run again at any point: what is there
/// already is used again, so the machine counts once (docs/formats/join.md).
class Setup {
 public:
  struct World {
    Disk& disk;
    const Clock& clock;
    Random& random;
    /// One request to the first gateway or server of the list that is asked, over TLS that verifies
    /// nobody.
    std::function<Result<HttpResponse>(const Endpoint&, const HttpRequest&)> post;
    std::function<void(Duration)> sleep;
    std::function<std::string()> own_name;        // this machine's FQDN, or ""
    std::function<void(const std::string&)> say;  // progress, a line each
  };
  explicit Setup(World world) : world_(std::move(world)) {}

  /// The error names what is wrong and the way out; the state folder then holds at most an identity
  /// and a key that the next run uses.
  Result<SetupDone> run(const SetupRequest& request);

 private:
  struct Place {
    std::filesystem::path state_dir;
    std::string name;
    bool has_config = false;
  };
  Result<Place> place_of(const SetupRequest& request, const JoinToken& token);
  Result<std::optional<SetupDone>> member_already(const Place& place, const JoinToken& token);
  Result<TlsKey> key_for(const std::filesystem::path& state_dir);
  Result<std::pair<Joining::Member, std::string>> ask_all(Joining& joining,
                                                          const std::vector<ParentSetting>& parents,
                                                          Duration wait);
  Result<std::variant<Joining::Member, Joining::Refused>> ask_one(Joining& joining,
                                                                  const ParentSetting& parent);
  Result<> write_config(const SetupRequest& request, const Place& place, const JoinToken& token,
                        const std::vector<ParentSetting>& parents);

  World world_;
};

}  // namespace postern::node
