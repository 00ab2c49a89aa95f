#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/world.h"

/// The two tools that operators know by other names (docs/operating/seed-tools.md). `postern` is
/// one of them when it is called by its name, in any case, with or without ".exe".
namespace postern::cli {

inline constexpr std::string_view kApprovalToolName =
    "Microsoft.EnterpriseManagement.GatewayApprovalTool";
inline constexpr std::string_view kImportToolName = "MOMCertImport";

// Exit statuses beside kExitDone, kExitFailed and kExitUsage; documented, so they never change.
inline constexpr int kExitWrongAction = 3;
inline constexpr int kExitNotAnFqdn = 4;
inline constexpr int kExitUnknownManagementServer = 5;
inline constexpr int kExitNoRight = 6;
inline constexpr int kExitUnreachable = 7;
inline constexpr int kExitDirection = 8;
inline constexpr int kExitUnknownGateway = 9;
inline constexpr int kExitConflict = 10;
inline constexpr int kExitNoCertificate = 11;
inline constexpr int kExitRequirementFailed = 12;
inline constexpr int kExitNoRole = 13;

using SeedTool = int (*)(const std::vector<std::string>& arguments, World& world);

/// The tool that `program` (a path is allowed) names; nullptr when it names none.
SeedTool seed_tool_named(std::string_view program);

int run_approval_tool(const std::vector<std::string>& arguments, World& world);
int run_import_tool(const std::vector<std::string>& arguments, World& world);

}  // namespace postern::cli
