#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/world.h"
#include "settings/settings.h"

/// Installing a certificate for the roles of this machine: `postern cert import`, MOMCertImport.
namespace postern::cli {

inline constexpr const char* kStoreVariable = "POSTERN_CERT_STORE";
inline constexpr const char* kRoleNames[] = {"agent", "gateway", "server"};

/// One role of this machine: what its settings say, or where its state usually is.
struct RoleHere {
  std::string role;
  std::string name;  // "" when no settings say it
  std::filesystem::path state;
  CertificateSettings certificates{};
};
/// Nothing when the machine has no such role; the error when its settings cannot be read.
Result<std::optional<RoleHere>> find_role(const std::string& role, World& world);

struct Installation {
  std::string subject_name;
  std::optional<std::string> store;  // else POSTERN_CERT_STORE, else kCertificateStore
  std::optional<std::string> role;   // one of kRoleNames
  std::optional<std::string> state;  // else every role on this machine that has the name
  std::optional<std::string> pkcs12 = std::nullopt;         // take it from this file
  std::optional<std::string> password_file = std::nullopt;  // what opens it
};

enum class Installed {
  done,                // for every role; `out` says for which
  no_certificate,      // none found, or the folder cannot be read
  requirement_failed,  // nothing was changed; `err` has each requirement's line
  no_role,             // no role of this name on this machine
  failed,              // the state folder cannot be written, ...
};

/// A role is on this machine when World::settings has its file, which says its name and state
/// folder, or when its state folder is at the usual place. All roles are examined before the
/// first is changed. `prefix` stands before what goes to `err`.
Installed install_certificate(const Installation& installation, const std::string& prefix,
                              World& world);

}  // namespace postern::cli
