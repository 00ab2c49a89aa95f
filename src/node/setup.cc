#include "node/setup.h"

#include <algorithm>

#include "identity/state_folder.h"

namespace postern::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kJoinKey = "join.key";  // of the request, until its certificate is there
constexpr seconds kPauseMin{1};
constexpr seconds kPauseMax{10};

const char* program_of(NodeRole role) {
  return role == NodeRole::agent ? "postern-agent" : "postern-gateway";
}

std::string yaml_of(const ParentSetting& parent) {
  if (parent.dial.host == parent.name) return to_string(parent.dial);
  return fmt::format("{{name: {}, address: \"{}\"}}", parent.name, to_string(parent.dial));
}

Result<std::vector<ParentSetting>> parents_of(const SetupRequest& request, const JoinToken& token) {
  const auto& words = request.parents.empty() ? token.addresses : request.parents;
  std::vector<ParentSetting> parents;
  for (const std::string& word : words) {
    auto parent = parse_parent(word);
    if (!parent) return std::unexpected(parent.error());
    parents.push_back(std::move(*parent));
  }
  if (parents.empty())
    return fail(Errc::invalid,
                "the token does not say whom to ask; name the gateway or management server that "
                "this machine reaches: --parent NAME[:PORT]");
  return parents;
}

}  // namespace

Result<SetupDone> Setup::run(const SetupRequest& request) {
  auto token = parse_join_token(request.token);
  if (!token) return std::unexpected(token.error());
  const Role role = request.role == NodeRole::agent ? Role::agent : Role::gateway;
  if (token->role != role)
    return fail(Errc::invalid,
                "the token is for a {}; use {} setup, or a token made with: postern "
                "token create --role {}",
                to_string(token->role),
                program_of(token->role == Role::agent ? NodeRole::agent : NodeRole::gateway),
                to_string(role));
  auto parents = parents_of(request, *token);
  if (!parents) return std::unexpected(parents.error());
  auto place = place_of(request, *token);
  if (!place) return std::unexpected(place.error());

  StateFolder folder(world_.disk, place->state_dir);
  if (auto ready = folder.prepare(); !ready) return std::unexpected(ready.error());
  auto member = member_already(*place, *token);
  if (!member) return std::unexpected(member.error());
  SetupDone done;
  if (*member) {
    done = std::move(**member);
  } else {
    auto identity = folder.load_or_create_identity();
    if (!identity) return std::unexpected(identity.error());
    auto key = key_for(place->state_dir);
    if (!key) return std::unexpected(key.error());
    auto joining = Joining::create(*token, {place->name, role, *identity, *key});
    if (!joining) return std::unexpected(joining.error());
    auto joined = ask_all(*joining, *parents, request.wait);
    if (!joined) return std::unexpected(joined.error());
    // Whom to believe first, then who we are: a node without anchors or root would only say so.
    if (auto ok = folder.pin_group_root(joined->first.root); !ok)
      return std::unexpected(ok.error());
    if (auto ok = folder.install_anchors(joined->first.anchors); !ok)
      return std::unexpected(ok.error());
    if (auto ok = folder.install_tls(joined->first.credential); !ok)
      return std::unexpected(ok.error());
    if (auto ok = world_.disk.remove(place->state_dir / kJoinKey); !ok)
      return std::unexpected(ok.error());
    done.approved = joined->first.approved;
    done.ahead = joined->first.ahead;
    done.over = joined->second;
    done.certificate_not_after = joined->first.credential.chain.front().not_after();
  }
  done.name = place->name;
  done.group = token->group;
  done.config_written = !place->has_config;
  if (!place->has_config)
    if (auto written = write_config(request, *place, *token, *parents); !written)
      return std::unexpected(written.error());
  return done;
}

/// Where it goes and what it is called: by the configuration, when there is one already.
Result<Setup::Place> Setup::place_of(const SetupRequest& request, const JoinToken& token) {
  std::optional<std::string> wanted;
  if (request.name) {
    auto normal = normal_fqdn(*request.name);
    if (!normal) return fail(Errc::invalid, "--name: {}", normal.error().message);
    wanted = *normal;
  }
  auto there = world_.disk.exists(request.config);
  if (!there) return std::unexpected(there.error());
  if (*there) {
    auto settings = load_node_settings(world_.disk, request.config, request.role);
    if (!settings) return std::unexpected(settings.error());
    if (settings->group != token.group || (wanted && *wanted != settings->name))
      return fail(Errc::denied,
                  "{} is there already, for {} in the management group {}; the token is for {}{}; "
                  "nothing was changed: move that file away, or use another machine",
                  request.config.string(), settings->name, settings->group, token.group,
                  wanted ? ", and --name says " + *wanted : "");
    return Place{settings->state_dir, settings->name, true};
  }
  if (!wanted) {
    const std::string own = world_.own_name();
    auto normal = normal_fqdn(own);
    if (!normal)
      return fail(Errc::invalid,
                  "this machine calls itself '{}', which is no name with a domain; say which name "
                  "its certificate shall have: --name FQDN",
                  own);
    wanted = *normal;
  }
  return Place{request.state_dir, *wanted, false};
}

Result<std::optional<SetupDone>> Setup::member_already(const Place& place, const JoinToken& token) {
  StateFolder folder(world_.disk, place.state_dir);
  auto root = folder.group_root();
  if (!root) return std::unexpected(root.error());
  if (*root && (*root)->fingerprint() != token.root_sha256)
    return fail(Errc::denied,
                "{} belongs to another management group than the token; nothing was changed",
                place.state_dir.string());
  auto credential = folder.tls();
  auto anchors = folder.anchors();
  if (!*root || !credential || !anchors) return std::optional<SetupDone>();
  if (why_refused(credential->chain, *anchors, {.now = world_.clock.wall(), .name = place.name}))
    return std::optional<SetupDone>();
  SetupDone done;
  done.was_member = true;
  done.certificate_not_after = credential->chain.front().not_after();
  return std::optional(done);
}

/// The same one until it has its certificate, however often setup is run.
Result<TlsKey> Setup::key_for(const std::filesystem::path& state_dir) {
  const auto file = state_dir / kJoinKey;
  auto there = world_.disk.exists(file);
  if (!there) return std::unexpected(there.error());
  if (*there) {
    auto text = read_private_file(world_.disk, file);
    if (!text) return std::unexpected(text.error());
    auto key = TlsKey::from_pem(*text);
    wipe(*text);
    if (key) return key;
    // A crash may have left half of it; nobody has seen it yet.
  }
  TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  std::string text = key.to_pem();
  auto written = world_.disk.write_file(file, as_bytes(text), 0600);
  wipe(text);
  if (!written) return std::unexpected(written.error());
  return key;
}

Result<std::pair<Joining::Member, std::string>> Setup::ask_all(
    Joining& joining, const std::vector<ParentSetting>& parents, Duration wait) {
  const TimePoint until = world_.clock.now() + wait;
  std::string last;
  for (Duration pause = kPauseMin;; pause = std::min<Duration>(2 * pause, kPauseMax)) {
    Duration asked_to_wait{};
    for (const ParentSetting& parent : parents) {
      auto answer = ask_one(joining, parent);
      std::string words;
      if (!answer) {
        words = fmt::format("{}: {}", parent.name, answer.error().message);
      } else if (auto* member = std::get_if<Joining::Member>(&*answer)) {
        return std::pair(std::move(*member), parent.name);
      } else {
        const auto& refused = std::get<Joining::Refused>(*answer);
        if (refused.retry_after == milliseconds(0))
          return fail(Errc::denied, "the management group {} refuses ({}): {}",
                      joining.token().group, to_string(refused.reason), harmless(refused.words));
        words = fmt::format("{}: not now: {}", parent.name, harmless(refused.words));
        asked_to_wait = std::max<Duration>(asked_to_wait, refused.retry_after);
      }
      if (words != last) world_.say(words);
      last = words;
    }
    pause = std::clamp<Duration>(asked_to_wait, pause, kPauseMax);
    if (world_.clock.now() + pause > until)
      return fail(Errc::unavailable,
                  "nobody answered for {}; the last word: {}; run the same command again when it "
                  "is mended, it goes on where it stopped",
                  joining.token().group, last);
    world_.sleep(pause);
  }
}

Result<std::variant<Joining::Member, Joining::Refused>> Setup::ask_one(
    Joining& joining, const ParentSetting& parent) {
  HttpRequest request;
  request.method = "POST";
  request.target = kJoinPath;
  request.headers = {{"content-type", "application/octet-stream"}};
  request.body = joining.ask(world_.clock.wall(), world_.random);
  auto response = world_.post(parent.dial, request);
  if (!response) return std::unexpected(response.error());
  if (response->status != 200)
    return fail(Errc::unavailable, "it answers with HTTP {}: {}", response->status,
                harmless(response->body));
  return joining.on_answer(response->body, world_.clock.wall());
}

Result<> Setup::write_config(const SetupRequest& request, const Place& place,
                             const JoinToken& token, const std::vector<ParentSetting>& parents) {
  std::string yaml = fmt::format(
      "# Made by {} setup; {} check-config says whether it is right\ngroup: \"{}\"\nname: "
      "{}\nstate_dir: \"{}\"\n",
      program_of(request.role), program_of(request.role), token.group, place.name,
      place.state_dir.string());
  if (request.role == NodeRole::gateway)
    yaml += fmt::format("listen: \"{}\"\n", request.listen.value_or("0.0.0.0:5723"));
  yaml += "parents:\n";
  for (const ParentSetting& parent : parents) yaml += fmt::format("  - {}\n", yaml_of(parent));
  auto settings = parse_node_settings(yaml, request.config.string(), request.role);
  if (!settings) return std::unexpected(settings.error());
  if (auto made = world_.disk.make_directories(request.config.parent_path()); !made) return made;
  return world_.disk.write_file(request.config, as_bytes(yaml), 0644);
}

}  // namespace postern::node
