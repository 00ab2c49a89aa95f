#include "doctor/doctor.h"

#include <algorithm>

#include "base/utf8.h"
#include "doctor/own.h"
#include "identity/state_folder.h"
#include "identity/verify.h"
#include "node/trust.h"

namespace postern::doctor {
namespace {

namespace fs = std::filesystem;

constexpr double kSpoolFullPart = 0.95;
constexpr Duration kNameWaitMax = std::chrono::seconds(3);
constexpr Duration kProgramWaitMax = std::chrono::seconds(3);

std::string megabytes(std::uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

node::Role role_named(const std::string& role) {
  if (role == "server") return node::Role::server;
  return role == "gateway" ? node::Role::gateway : node::Role::agent;
}

/// One examination: what is found goes into the diagnosis, what later steps need into Own.
class Examination {
 public:
  Examination(Outside& outside, Disk& disk, const Clock& clock, const Patient& patient)
      : outside_(outside), disk_(disk), clock_(clock), patient_(patient) {}

  Diagnosis run() {
    diagnosis_.role = own_.place.role = patient_.role;
    own_.anchors = patient_.known_anchors;
    read_configuration();
    read_state();
    look_at_name();
    if (!own_.place.state.empty()) {
      look_at_state_folder();
      look_at_certificate();
      look_at_root();
      look_at_program();
      prepare_hello();
    } else {
      own_.why_no_hello = "this machine has no identity yet: its node was never set up";
    }
    look_at_parents();
    if (!own_.place.state.empty()) look_at_room();
    diagnosis_.name = own_.place.name;
    diagnosis_.config = own_.place.config;
    diagnosis_.state = own_.place.state;
    return std::move(diagnosis_);
  }

 private:
  void add(std::string id, Verdict verdict, std::string reason, std::string words,
           std::string fix = "") {
    diagnosis_.steps.push_back(
        {std::move(id), "", verdict, std::move(reason), to_utf8(words), std::move(fix)});
  }
  void pass(std::string id, std::string words) {
    add(std::move(id), Verdict::passed, "ok", std::move(words));
  }
  void not_reached(std::string id, std::string words) {
    add(std::move(id), Verdict::not_reached, "not_reached", std::move(words));
  }
  void failed(std::string id, const std::string& reason, std::string words) {
    add(std::move(id), Verdict::failed, reason, std::move(words), remedy(reason, own_.place));
  }
  void warning(std::string id, const std::string& reason, std::string words) {
    add(std::move(id), Verdict::warning, reason, std::move(words), remedy(reason, own_.place));
  }

  void read_configuration() {
    if (patient_.state) own_.place.state = patient_.state->string();
    if (!patient_.config) {
      if (patient_.state)
        not_reached("configuration",
                    "none was named; name and certificate are those of " + own_.place.state);
      else
        // Who asks about the way to a parent may well have nothing else yet.
        add("configuration", patient_.to ? Verdict::warning : Verdict::failed, "not_set_up",
            "no role of Postern is set up on this machine", remedy("not_set_up", own_.place));
      return;
    }
    own_.place.config = patient_.config->string();
    if (patient_.role == "server") {
      const auto settings = load_server_settings(disk_, *patient_.config);
      if (!settings) return failed("configuration", "bad_configuration", settings.error().message);
      take(settings->group, settings->name, settings->state_dir);
    } else {
      const auto kind = patient_.role == "gateway" ? NodeRole::gateway : NodeRole::agent;
      const auto settings = load_node_settings(disk_, *patient_.config, kind);
      if (!settings) return failed("configuration", "bad_configuration", settings.error().message);
      take(settings->group, settings->name, settings->state_dir);
      own_.parents = settings->parents;
      spool_bytes_max_ = settings->spool_bytes_max;
    }
    pass("configuration", fmt::format("{} is good", own_.place.config));
  }
  void take(const std::string& group, const std::string& name, const fs::path& state) {
    group_ = group;
    own_.place.name = name;
    if (!patient_.state) own_.place.state = state.string();
  }

  fs::path state() const { return own_.place.state; }
  std::optional<unsigned> owner_of_state() const {
    const auto found = disk_.status(state());
    return found ? std::optional(found->user) : std::nullopt;
  }

  /// What can be used of the state folder; what is wrong with it is said by other steps.
  void read_state() {
    if (own_.place.state.empty()) return;
    StateFolder folder(disk_, state());
    if (auto credential = folder.tls()) own_.credential = std::move(*credential);
    if (auto anchors = folder.anchors()) own_.anchors = std::move(*anchors);
    if (!own_.place.name.empty() || !own_.credential) return;
    const auto& names = own_.credential->chain.front().dns_names();
    if (!names.empty()) own_.place.name = normal_fqdn(names.front()).value_or("");
  }

  void look_at_name() {
    const std::string& name = own_.place.name;
    if (name.empty()) {
      not_reached("own_name", "there is no configuration or certificate yet that says it");
      not_reached("own_name_resolution", "the name is not known");
      return;
    }
    pass("own_name", name);
    const Duration wait = std::min(patient_.timeout, kNameWaitMax);
    const auto found = outside_.addresses_of(name, wait);
    if (!found) {
      const std::string words =
          fmt::format("{} is not found here: {}", name, found.error().message);
      // Nobody dials an agent.
      if (patient_.role == "agent")
        return pass("own_name_resolution", words + "; an agent does not need it");
      return warning("own_name_resolution", "own_name_not_resolved", words);
    }
    const auto reverse = outside_.name_of_address(found->front(), wait);
    std::string hint;
    if (reverse && *reverse != name)
      hint = fmt::format(" ({} is called {} in reverse, which does not matter)", found->front(),
                         *reverse);
    pass("own_name_resolution", fmt::format("{} is {}{}", name, fmt::join(*found, ", "), hint));
  }

  void look_at_state_folder() {
    const auto found = disk_.status(state());
    if (!found)
      return failed("state_folder", "no_state_folder",
                    fmt::format("the state folder is not there: {}", found.error().message));
    if (!found->folder)
      return failed("state_folder", "no_state_folder",
                    fmt::format("{} is not a folder", own_.place.state));
    if ((found->mode & 022) != 0)
      return add(
          "state_folder", Verdict::failed, to_string(Reason::unsafe_permissions),
          fmt::format("{} has mode {:04o}: others than its owner can replace the node's keys",
                      own_.place.state, found->mode),
          fmt::format("run: chmod 700 {}", own_.place.state));
    const fs::path key = state() / "identity.key";
    if (const auto exists = disk_.exists(key); exists && !*exists)
      return pass("state_folder",
                  "only its owner can write it; the identity key is made at the first start");
    if (const auto safe = check_private_file(disk_, key, found->user); !safe) {
      const WordsAndFix split = without_command(safe.error().message);
      return add("state_folder", Verdict::failed, to_string(Reason::unsafe_permissions),
                 split.words, split.fix);
    }
    pass("state_folder", "only its owner can write it and read the identity key");
  }

  void look_at_certificate() {
    VerifyRequest request;
    request.files = {state() / "tls/chain.pem"};
    request.key = state() / "tls/key.pem";
    if (const auto there = disk_.exists(state() / "anchors.pem"); there && *there)
      request.anchors = state() / "anchors.pem";
    else
      request.known_anchors = own_.anchors;
    if (!own_.place.name.empty()) request.name = own_.place.name;
    request.as_server = patient_.role != "agent";
    request.now = clock_.wall();
    request.also_owner = owner_of_state();
    const auto report = verify_certificate(disk_, request);
    if (!report) {
      const auto there = disk_.exists(request.files.front());
      const Reason reason = there && *there ? Reason::malformed : Reason::no_certificate;
      return add("own_certificate.form", Verdict::failed, to_string(reason),
                 reason == Reason::no_certificate
                     ? fmt::format("no certificate is installed in {}/tls", own_.place.state)
                     : report.error().message,
                 remedy_for_own_certificate(to_string(reason), own_.place));
    }
    for (const Finding& finding : report->findings) {
      Step step = step_of(finding, "own_certificate", "this node's certificate");
      if (!finding.passed && step.fix.empty())
        step.fix = remedy_for_own_certificate(step.reason, own_.place);
      diagnosis_.steps.push_back(std::move(step));
    }
  }

  void look_at_root() {
    StateFolder folder(disk_, state());
    const auto root = folder.group_root();
    if (root && !*root)
      return warning("group_root", "unpinned",
                     "no group root is pinned: this node sends data and believes nothing that "
                     "comes back");
    if (!root) return failed("group_root", "unpinned", root.error().message);
    root_ = *root;
    pass("group_root", "is pinned: SHA-256 " + to_hex(root_->fingerprint()));
  }

  void look_at_program() {
    own_.program = outside_.program_at(state(), std::min(patient_.timeout, kProgramWaitMax));
    const Program& program = own_.program;
    if (program.state == Program::State::unknown) return not_reached("program", program.words);
    if (program.state == Program::State::stopped)
      return warning("program", "not_running",
                     fmt::format("postern-{} does not run", own_.place.role));
    if (program.ready) return pass("program", "runs and delivers");
    // Why no parent is attached is what the steps below find out.
    const bool alone = program.words.find("no parent is attached") != std::string::npos;
    if (alone) return warning("program", "not_ready", "runs, and " + program.words);
    failed("program", "not_ready", "runs and does not deliver: " + program.words);
  }

  /// Everything that the node would say hello with, without changing any of it.
  void prepare_hello() {
    if (patient_.role == "server") return;
    if (own_.program.state == Program::State::unknown) {
      own_.why_no_hello = "whether the node runs is not known, and a second hello would disturb it";
      return;
    }
    if (own_.program.state == Program::State::running) return;  // it knows
    if (group_.empty()) {
      own_.why_no_hello = "the group is not known without a configuration (--config)";
      return;
    }
    if (!own_.credential) {
      own_.why_no_hello = "there is no certificate to show";
      return;
    }
    const fs::path key_file = state() / "identity.key";
    const auto there = disk_.exists(key_file);
    const auto incarnation = node::last_incarnation(disk_, state());
    if (!there || !*there || !incarnation) {
      own_.why_no_hello =
          "this node has no identity before its first start; start it, and it shows";
      return;
    }
    auto key = load_private_key(disk_, key_file, owner_of_state());
    if (!key) {
      own_.why_no_hello = key.error().message;
      return;
    }
    const NodeId id = key->node_id();
    own_.self = std::make_unique<node::Self>(
        node::Self{role_named(patient_.role), group_, own_.place.name, std::move(*key), id,
                   root_ ? root_->node_id() : NodeId{}, root_ ? root_->fingerprint() : Digest{},
                   *incarnation, *incarnation});
    const Log quiet(Level::error, [](Level, std::string_view) {});
    node::Trust trust(quiet, root_, state() / "documents", [](const fs::path&, const Bytes&) {});
    trust.load(disk_, clock_.wall());
    if (const auto approved = trust.approval(id)) own_.approval = approved->document;
  }

  /// With --to: as the configuration dials that parent, if it knows it.
  std::vector<ParentSetting> parents_to_examine() const {
    if (!patient_.to) return own_.parents;
    const ParentSetting& to = *patient_.to;
    if (to.dial.host != to.name) return {to};
    for (const ParentSetting& parent : own_.parents) {
      if (parent.name == to.name) return {{parent.name, {parent.dial.host, to.dial.port}}};
    }
    return {to};
  }

  void look_at_parents() {
    const auto parents = parents_to_examine();
    if (parents.empty() && patient_.role != "server" && !patient_.role.empty())
      not_reached("parents", own_.place.config.empty()
                                 ? "no parent was named; see --to and --config"
                                 : "the configuration cannot be read");
    for (const ParentSetting& parent : parents)
      examine_parent(outside_, clock_, own_, parent, patient_.timeout, diagnosis_.steps);
  }

  std::uint64_t spool_bytes() const {
    std::uint64_t sum = 0;
    const auto names = disk_.list(state() / "spool");
    if (!names) return 0;
    for (const std::string& name : *names) {
      const auto file = disk_.open(state() / "spool" / name, Disk::Open::read);
      if (!file) continue;
      sum += (*file)->size().value_or(0);
    }
    return sum;
  }

  void look_at_room() {
    const auto free = disk_.free_bytes(state());
    if (!free) return not_reached("room", free.error().message);
    if (*free < kRoomMin)
      return failed("room", "disk_full",
                    fmt::format("the disk of {} has only {} KiB left, too little for a batch",
                                own_.place.state, *free >> 10));
    if (patient_.role == "server" || spool_bytes_max_ == 0)
      return pass("room",
                  fmt::format("{} free on the disk of {}", megabytes(*free), own_.place.state));
    const std::uint64_t used = spool_bytes();
    const std::string words =
        fmt::format("the spool has {} of {}, its disk {} free", megabytes(used),
                    megabytes(spool_bytes_max_), megabytes(*free));
    if (static_cast<double>(used) > kSpoolFullPart * static_cast<double>(spool_bytes_max_))
      return warning("room", "spool_full", words);
    if (used + *free < spool_bytes_max_) return warning("room", "disk_smaller_than_limit", words);
    pass("room", words);
  }

  Outside& outside_;
  Disk& disk_;
  const Clock& clock_;
  const Patient& patient_;
  Diagnosis diagnosis_;
  Own own_;
  std::string group_;
  std::optional<PublicKey> root_;
  std::uint64_t spool_bytes_max_ = 0;
};

}  // namespace

Result<ParentSetting> parse_peer(std::string_view text) {
  auto peer = parse_parent(text);
  if (peer && peer->name.find_first_not_of("0123456789.") == std::string::npos)
    return fail(Errc::invalid,
                "{} is an address: give the name that stands in the other side's certificate; "
                "where its name is not the way there, write NAME=ADDRESS:PORT",
                peer->name);
  return peer;
}

std::vector<Step> shake_hands(Outside& outside, const Clock& clock, const ParentSetting& peer,
                              std::optional<TlsCredential> credential, Anchors anchors,
                              const std::string& role, const std::string& name, Duration timeout) {
  Own own;
  own.place.role = role;
  own.place.name = name;
  own.credential = std::move(credential);
  own.anchors = std::move(anchors);
  own.why_no_hello = "only the handshake was asked for";
  std::vector<Step> steps;
  examine_parent(outside, clock, own, peer, timeout, steps);
  std::erase_if(steps, [](const Step& step) {
    return step.id == "approval" || step.id == "group" || step.id == "version";
  });
  return steps;
}

Diagnosis Doctor::examine(const Patient& patient) {
  return Examination(outside_, disk_, clock_, patient).run();
}

}  // namespace postern::doctor
