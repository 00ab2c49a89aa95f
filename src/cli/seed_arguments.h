#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Reads the arguments of the seed's tools: "/Name=Value", names and fixed values in any case.
namespace postern::cli {

enum class SeedAction { create, remove };

struct ApprovalArguments {
  std::string management_server;  // as given
  std::string gateway;            // as given: the words of success repeat it
  SeedAction action = SeedAction::create;
  bool server_initiates = false;
  std::string site;
  bool help = false;  // the rest is empty
  bool operator==(const ApprovalArguments&) const = default;
};

struct ImportArguments {
  std::string subject_name;  // without a leading "CN="
  std::optional<std::string> role, state;
  std::optional<std::string> file, password_file;  // PKCS#12, and what opens it
  bool help = false;
  bool operator==(const ImportArguments&) const = default;
};

struct SeedMistake {
  bool wrong_action = false;  // else wrong usage
  std::string message;
  bool operator==(const SeedMistake&) const = default;
};

std::expected<ApprovalArguments, SeedMistake> parse_approval_arguments(
    const std::vector<std::string>& arguments);

/// Also takes the value as the next argument: "/SubjectName gw1.dmz.example". What ends with
/// .pfx or .p12 is the file.
std::expected<ImportArguments, SeedMistake> parse_import_arguments(
    const std::vector<std::string>& arguments);

bool same_in_any_case(std::string_view a, std::string_view b);  // ASCII

}  // namespace postern::cli
