#include "cli/seed_tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/client.h"
#include "cli/installation.h"
#include "cli/seed_arguments.h"
#include "identity/certificate.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kApprovalUsage =
    "Microsoft.EnterpriseManagement.GatewayApprovalTool\n"
    "    /ManagementServerName=<FQDN>   a management server, or an approved gateway for a chain\n"
    "    /GatewayName=<FQDN>\n"
    "    /Action=Create|Delete\n"
    "    [/ManagementServerInitiatesConnection[=True|False]]   (True is refused by this version)\n"
    "    [/SiteName=<name>]\n"
    "Example:\n"
    "  Microsoft.EnterpriseManagement.GatewayApprovalTool /ManagementServerName=ms1.home.example "
    "/GatewayName=gw1.dmz.example /Action=Create\n";

constexpr std::string_view kImportUsage =
    "MOMCertImport [FILE.pfx [--password-file FILE]] /SubjectName <certificate subject name>\n"
    "              [--role agent|gateway|server | --state DIR]\n"
    "    looks in /etc/postern/certificates, or in $POSTERN_CERT_STORE\n"
    "Example:\n"
    "  MOMCertImport /SubjectName gw1.dmz.example\n";

int say(World& world, std::string_view tool, int status, const std::string& message) {
  world.err << tool << ": " << message << '\n';
  return status;
}

int say_mistake(World& world, std::string_view tool, const SeedMistake& mistake,
                std::string_view usage) {
  world.err << tool << ": " << mistake.message << ". Usage:\n" << usage;
  return mistake.wrong_action ? kExitWrongAction : kExitUsage;
}

int say_failure(World& world, const Failure& failure) {
  static constexpr std::pair<std::string_view, int> kStatuses[] = {
      {"no-right", kExitNoRight},
      {"denied", kExitNoRight},
      {"unreachable", kExitUnreachable},
      {"unavailable", kExitUnreachable},
      {"unknown-parent", kExitUnknownManagementServer},
      {"direction-not-available", kExitDirection},
      {"not-found", kExitUnknownGateway},
      {"conflict", kExitConflict},
  };
  int status = kExitFailed;
  for (const auto& [type, known] : kStatuses)
    if (failure.type == type) status = known;
  return say(world, kApprovalToolName, status, failure.message);
}

int create(const ApprovalArguments& arguments, Client& client, World& world) {
  json::object body;
  body["name"] = arguments.gateway;
  json::array parents;
  parents.emplace_back(arguments.management_server);
  body["parents"] = std::move(parents);
  body["direction"] = arguments.server_initiates ? "parent-dials" : "child-dials";
  if (!arguments.site.empty()) body["site"] = arguments.site;
  const auto answer = client.post("/api/v1/gateways", body);
  if (!answer) return say_failure(world, answer.error());
  world.out << fmt::format("The approval of server {} completed successfully.\n",
                           arguments.gateway);
  const json::value* already =
      answer->is_object() ? answer->get_object().if_contains("already_approved") : nullptr;
  if (already != nullptr && already->is_bool() && already->get_bool())
    world.out << fmt::format("It had been approved already; nothing changed.\n");
  return kExitDone;
}

/// The named server says which group is meant; one that is not in it is a mistake worth stopping.
std::expected<bool, Failure> is_known_parent(Client& client, const std::string& name) {
  const auto node = client.get("/api/v1/nodes/" + path_segment(name));
  if (!node && node.error().type == "not-found") return false;
  if (!node) return std::unexpected(node.error());
  const json::value* role = node->is_object() ? node->get_object().if_contains("role") : nullptr;
  return role != nullptr && role->is_string() && role->get_string() != "agent";
}

int remove(const ApprovalArguments& arguments, Client& client, World& world) {
  const auto known = is_known_parent(client, arguments.management_server);
  if (!known) return say_failure(world, known.error());
  if (!*known)
    return say(world, kApprovalToolName, kExitUnknownManagementServer,
               fmt::format("/ManagementServerName: {} is neither a management server of this group "
                           "nor an approved gateway; `postern topology` shows them",
                           arguments.management_server));
  const auto answer = client.remove("/api/v1/gateways/" + path_segment(arguments.gateway));
  if (!answer) return say_failure(world, answer.error());
  world.out << fmt::format(
      "The removal of server {} from the management group completed successfully.\n",
      arguments.gateway);
  return kExitDone;
}

std::string_view base_name(std::string_view program) {
  if (const auto slash = program.rfind('/'); slash != program.npos)
    program.remove_prefix(slash + 1);
  if (program.size() > 4 && same_in_any_case(program.substr(program.size() - 4), ".exe"))
    program.remove_suffix(4);
  return program;
}

}  // namespace

SeedTool seed_tool_named(std::string_view program) {
  const auto name = base_name(program);
  if (same_in_any_case(name, kApprovalToolName)) return run_approval_tool;
  if (same_in_any_case(name, kImportToolName)) return run_import_tool;
  return nullptr;
}

int run_approval_tool(const std::vector<std::string>& arguments, World& world) {
  const auto parsed = parse_approval_arguments(arguments);
  if (!parsed) return say_mistake(world, kApprovalToolName, parsed.error(), kApprovalUsage);
  if (parsed->help) {
    world.out << kApprovalUsage;
    return kExitDone;
  }
  if (auto name = normal_fqdn(parsed->gateway); !name)
    return say(world, kApprovalToolName, kExitNotAnFqdn, "/GatewayName: " + name.error().message);
  if (auto name = normal_fqdn(parsed->management_server); !name)
    return say(world, kApprovalToolName, kExitNotAnFqdn,
               "/ManagementServerName: " + name.error().message);
  auto client = Client::open(Options{}, world);
  if (!client) return say(world, kApprovalToolName, kExitUsage, client.error().message);
  return parsed->action == SeedAction::create ? create(*parsed, *client, world)
                                              : remove(*parsed, *client, world);
}

int run_import_tool(const std::vector<std::string>& arguments, World& world) {
  const auto parsed = parse_import_arguments(arguments);
  if (!parsed) return say_mistake(world, kImportToolName, parsed.error(), kImportUsage);
  if (parsed->help) {
    world.out << kImportUsage;
    return kExitDone;
  }
  if (parsed->role && std::ranges::find(kRoleNames, *parsed->role) == std::end(kRoleNames))
    return say(world, kImportToolName, kExitUsage,
               fmt::format("--role is '{}', it must be agent, gateway or server", *parsed->role));
  const Installation installation{parsed->subject_name, std::nullopt, parsed->role,
                                  parsed->state,        parsed->file, parsed->password_file};
  switch (install_certificate(installation, std::string(kImportToolName), world)) {
    case Installed::done:
      break;
    case Installed::no_certificate:
      return kExitNoCertificate;
    case Installed::requirement_failed:
      return kExitRequirementFailed;
    case Installed::no_role:
      return kExitNoRole;
    case Installed::failed:
      return kExitFailed;
  }
  world.out << fmt::format("The certificate of {} was imported successfully.\n",
                           parsed->subject_name);
  return kExitDone;
}

}  // namespace postern::cli
