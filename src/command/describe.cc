// With the programs' own files the only one that includes CLI11, which takes seconds to compile.
#include <CLI/CLI.hpp>

#include "command/tree.h"

namespace postern::command {
namespace {

/// "Example:\n  postern inventory" to "postern inventory"; other footers are no example.
std::string example_in(const std::string& footer) {
  constexpr std::string_view kLabel = "Example:";
  if (!footer.starts_with(kLabel)) return "";
  std::string example;
  std::istringstream lines(footer.substr(kLabel.size()));
  for (std::string line; std::getline(lines, line);) {
    const auto start = line.find_first_not_of(' ');
    if (start == line.npos) continue;
    // Only what is set in as an example is one; a sentence may follow.
    if (start == 0 && !example.empty()) break;
    example += (example.empty() ? "" : "\n") + line.substr(start);
  }
  return example;
}

Option describe_option(const CLI::Option& from) {
  Option option;
  option.positional = from.get_positional();
  if (option.positional) {
    option.names = {from.get_name(true)};
  } else {
    for (const std::string& name : from.get_snames()) option.names.push_back("-" + name);
    for (const std::string& name : from.get_lnames()) option.names.push_back("--" + name);
  }
  option.takes_value = from.get_expected_max() > 0;
  option.value_optional = option.takes_value && from.get_expected_min() == 0;
  option.type = option.takes_value ? from.get_type_name() : "";
  option.what = from.get_description();
  option.required = from.get_required();
  option.repeated = from.get_expected_max() > 1;
  return option;
}

}  // namespace

Command describe(const CLI::App& app) {
  Command command;
  command.name = app.get_name();
  command.what = app.get_description();
  command.example = example_in(app.get_footer());
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty()) command.options.push_back(describe_option(*option));
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!verb->get_group().empty()) command.verbs.push_back(describe(*verb));
  return command;
}

std::string answer_hidden(const CLI::App& app, const std::vector<std::string>& arguments) {
  if (arguments.size() == 1 && arguments[0] == "--describe") return to_json(describe(app));
  if (arguments.size() != 2 || arguments[0] != "--completion") return "";
  if (arguments[1] == "bash") return completion_script(describe(app), Shell::bash);
  if (arguments[1] == "zsh") return completion_script(describe(app), Shell::zsh);
  return "";
}

}  // namespace postern::command
