#include "cli/installation.h"

#include <fmt/format.h>

#include <algorithm>

#include "identity/certificate.h"
#include "identity/import.h"
#include "identity/key.h"
#include "settings/settings.h"

namespace postern::cli {
namespace {

namespace fs = std::filesystem;

struct Targets {
  std::vector<fs::path> folders;
  std::vector<std::string> others;  // "gateway gw1.dmz.example": here, but with another name
};

Result<Targets> find_targets(const Installation& installation, const std::string& name,
                             World& world) {
  Targets targets;
  if (installation.state) {
    targets.folders.emplace_back(*installation.state);
    return targets;
  }
  for (const char* role : kRoleNames) {
    if (installation.role && *installation.role != role) continue;
    const auto found = find_role(role, world);
    if (!found) return std::unexpected(found.error());
    if (!*found) {
      // Named on purpose: it may be imported before the role is set up.
      if (installation.role) targets.folders.push_back(fs::path(world.home) / role);
    } else if ((*found)->name.empty() || (*found)->name == name) {
      targets.folders.push_back((*found)->state);
    } else {
      targets.others.push_back(fmt::format("{} {}", role, (*found)->name));
    }
  }
  return targets;
}

void say_report(const ImportReport& report, const fs::path& state, World& world) {
  world.out << fmt::format("{}: the certificate of {} from {} {}; valid until {}\n", state.string(),
                           report.subject_name, report.certificate_file.string(),
                           report.already_installed ? "was installed already" : "is installed",
                           report.certificate ? to_rfc3339(report.certificate->not_after()) : "?");
  for (const std::string& note : report.notes) world.out << "  " << note << '\n';
}

/// Overwrites a password when it is not needed any more.
class Wiped {
 public:
  explicit Wiped(std::optional<std::string>& secret) : secret_(secret) {}
  ~Wiped() {
    if (secret_) wipe(*secret_);
  }
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;

 private:
  std::optional<std::string>& secret_;
};

}  // namespace

Result<std::optional<RoleHere>> find_role(const std::string& role, World& world) {
  const fs::path file = fs::path(world.settings) / (role + ".yaml");
  const auto configured = world.disk.exists(file);
  if (!configured) return std::unexpected(configured.error());
  if (*configured && role == "server") {
    const auto settings = load_server_settings(world.disk, file);
    if (!settings) return std::unexpected(settings.error());
    return RoleHere{role, settings->name, settings->state_dir, settings->certificates};
  }
  if (*configured) {
    const auto kind = role == "agent" ? NodeRole::agent : NodeRole::gateway;
    const auto settings = load_node_settings(world.disk, file, kind);
    if (!settings) return std::unexpected(settings.error());
    return RoleHere{role, settings->name, settings->state_dir, settings->certificates};
  }
  const fs::path state = fs::path(world.home) / role;
  const auto exists = world.disk.exists(state);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) return std::nullopt;
  return RoleHere{role, "", state};
}

Installed install_certificate(const Installation& installation, const std::string& prefix,
                              World& world) {
  const auto say = [&](Installed outcome, const std::string& message) {
    world.err << prefix << ": " << message << '\n';
    return outcome;
  };
  const auto name = normal_fqdn(installation.subject_name);
  if (!name) return say(Installed::no_certificate, name.error().message);
  const auto targets = find_targets(installation, *name, world);
  if (!targets) return say(Installed::failed, targets.error().message);
  if (targets->folders.empty())
    return say(
        Installed::no_role,
        fmt::format("no role of Postern on this machine has the name {} (found: {}). Set "
                    "one up first, or name it with --role or --state",
                    *name,
                    targets->others.empty() ? "none"
                                            : fmt::format("{}", fmt::join(targets->others, ", "))));
  ImportRequest request;
  request.subject_name = installation.subject_name;
  request.store_folder =
      installation.store.value_or(world.environment(kStoreVariable).value_or(kCertificateStore));
  request.now = world.clock.wall();
  if (installation.pkcs12) request.pkcs12 = *installation.pkcs12;
  if (installation.password_file) {
    auto password = read_password_file(world.disk, *installation.password_file);
    if (!password) return say(Installed::failed, password.error().message);
    request.password = std::move(*password);
  }
  const Wiped wiped(request.password);
  for (const fs::path& folder : targets->folders) {
    request.state_folder = folder;
    const auto report = examine_certificate(world.disk, request);
    if (!report) return say(Installed::no_certificate, report.error().message);
    if (report->passed()) continue;
    return say(Installed::requirement_failed,
               fmt::format("the certificate of {} in {} is not installed; nothing was changed:\n{}",
                           installation.subject_name, report->certificate_file.string(),
                           report->failures()));
  }
  for (const fs::path& folder : targets->folders) {
    request.state_folder = folder;
    const auto report = postern::import_certificate(world.disk, request);
    if (!report) return say(Installed::failed, report.error().message);
    say_report(*report, folder, world);
  }
  return Installed::done;
}

}  // namespace postern::cli
