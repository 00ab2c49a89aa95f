#include "cli/seed_arguments.h"

#include <fmt/format.h>

#include <algorithm>

namespace postern::cli {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::unexpected<SeedMistake> wrong_usage(std::string message) {
  return std::unexpected(SeedMistake{false, std::move(message)});
}

struct Argument {
  std::string_view name;  // with its "/" or "--"
  std::optional<std::string_view> value;
};

Argument split(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == text.npos) return {text, std::nullopt};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

bool asks_help(std::string_view text) {
  for (const char* word : {"/?", "-?", "/help", "--help", "-h"})
    if (same_in_any_case(text, word)) return true;
  return false;
}

/// Takes a value once; says what is wrong otherwise.
class Values {
 public:
  void set(std::string& target, const Argument& argument) {
    if (!argument.value || argument.value->empty())
      object_to(fmt::format("{} needs a value: {}=<value>", argument.name, argument.name));
    else if (!target.empty())
      object_to(fmt::format("{} is given twice", argument.name));
    else
      target = *argument.value;
  }
  void object_to(std::string message) {
    if (!mistake_) mistake_ = SeedMistake{false, std::move(message)};
  }
  const std::optional<SeedMistake>& mistake() const { return mistake_; }

 private:
  std::optional<SeedMistake> mistake_;
};

/// By its ending: a leading "/" is no sign of an option here.
bool is_file_name(std::string_view text) {
  return text.size() > 4 && (same_in_any_case(text.substr(text.size() - 4), ".pfx") ||
                             same_in_any_case(text.substr(text.size() - 4), ".p12"));
}

std::expected<SeedAction, SeedMistake> action_named(std::string_view text) {
  if (same_in_any_case(text, "Create")) return SeedAction::create;
  if (same_in_any_case(text, "Delete")) return SeedAction::remove;
  return std::unexpected(
      SeedMistake{true, fmt::format("/Action is '{}', it must be Create or Delete", text)});
}

/// Nothing behind the switch means True.
void set_switch(Values& values, std::optional<bool>& target, const Argument& argument) {
  if (target) return values.object_to(fmt::format("{} is given twice", argument.name));
  const std::string_view text = argument.value.value_or("True");
  if (same_in_any_case(text, "True"))
    target = true;
  else if (same_in_any_case(text, "False"))
    target = false;
  else
    values.object_to(fmt::format("{} is '{}', it must be True or False", argument.name, text));
}

}  // namespace

bool same_in_any_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::expected<ApprovalArguments, SeedMistake> parse_approval_arguments(
    const std::vector<std::string>& arguments) {
  ApprovalArguments parsed;
  Values values;
  std::string action;
  std::optional<bool> server_initiates;
  for (const std::string& text : arguments) {
    if (asks_help(text)) return ApprovalArguments{{}, {}, SeedAction::create, false, {}, true};
    const Argument argument = split(text);
    const auto is = [&](const char* name) { return same_in_any_case(argument.name, name); };
    if (is("/ManagementServerName"))
      values.set(parsed.management_server, argument);
    else if (is("/GatewayName"))
      values.set(parsed.gateway, argument);
    else if (is("/Action"))
      values.set(action, argument);
    else if (is("/SiteName"))
      values.set(parsed.site, argument);
    else if (is("/ManagementServerInitiatesConnection"))
      set_switch(values, server_initiates, argument);
    else
      values.object_to(fmt::format("the argument '{}' is not known", text));
  }
  if (values.mistake()) return std::unexpected(*values.mistake());
  if (parsed.management_server.empty())
    return wrong_usage("/ManagementServerName=<FQDN> is missing");
  if (parsed.gateway.empty()) return wrong_usage("/GatewayName=<FQDN> is missing");
  if (action.empty()) return wrong_usage("/Action=Create or /Action=Delete is missing");
  const auto known = action_named(action);
  if (!known) return std::unexpected(known.error());
  parsed.action = *known;
  parsed.server_initiates = server_initiates.value_or(false);
  return parsed;
}

std::expected<ImportArguments, SeedMistake> parse_import_arguments(
    const std::vector<std::string>& arguments) {
  ImportArguments parsed;
  Values values;
  std::string role, state, file, password_file;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (asks_help(arguments[i])) return ImportArguments{{}, {}, {}, {}, {}, true};
    Argument argument = split(arguments[i]);
    std::string* target = nullptr;
    if (same_in_any_case(argument.name, "/SubjectName")) target = &parsed.subject_name;
    if (same_in_any_case(argument.name, "--role")) target = &role;
    if (same_in_any_case(argument.name, "--state")) target = &state;
    if (same_in_any_case(argument.name, "--password-file")) target = &password_file;
    if (target == nullptr && is_file_name(arguments[i])) {
      values.set(file, {"the file", arguments[i]});
      continue;
    }
    if (target == nullptr) {
      values.object_to(fmt::format("the argument '{}' is not known", arguments[i]));
      continue;
    }
    if (!argument.value && i + 1 < arguments.size()) argument.value = arguments[++i];
    values.set(*target, argument);
  }
  if (values.mistake()) return std::unexpected(*values.mistake());
  if (parsed.subject_name.size() > 3 && same_in_any_case(parsed.subject_name.substr(0, 3), "CN="))
    parsed.subject_name.erase(0, 3);
  if (parsed.subject_name.empty()) return wrong_usage("/SubjectName <name> is missing");
  if (!role.empty() && !state.empty()) return wrong_usage("give --role or --state, not both");
  if (!password_file.empty() && file.empty())
    return wrong_usage("--password-file is for a PKCS#12 file; name that too");
  if (!file.empty()) parsed.file = file;
  if (!password_file.empty()) parsed.password_file = password_file;
  if (!role.empty()) parsed.role = role;
  if (!state.empty()) parsed.state = state;
  return parsed;
}

}  // namespace postern::cli
