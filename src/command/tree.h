#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming): the library's
class App;
}

/// What a program's command line consists of. Its --help, its manual page and its completion are
/// made from the one description that the parser works by, so they cannot tell different things.
namespace postern::command {

struct Option {
  std::vector<std::string> names;  // "--output"; of a positional its one name, "NAME"
  std::string type;                // "FQDN", "table|json|yaml"; "" of flags and most positionals
  std::string what;
  bool positional = false;
  bool required = false;
  bool takes_value = false;     // else a flag
  bool value_optional = false;  // as of --watch [SECONDS]
  bool repeated = false;
  bool operator==(const Option&) const = default;
};

struct Command {
  std::string name;  // of the program, or of the verb alone
  std::string what;
  std::string example;  // one command a line; "" of a group of verbs
  std::vector<Option> options;
  std::vector<Command> verbs;
  bool operator==(const Command&) const = default;
};

/// What is hidden from --help is left out.
Command describe(const CLI::App& app);

/// Stable JSON of the members above, for tools/man-pages.
std::string to_json(const Command& command);

const char* version();  // of all four programs: "0.1.0"

enum class Shell { bash, zsh };

/// A script that completes `program`'s verbs, options and values. Names of nodes come from
/// `postern complete-names`, where `program` has such verbs.
std::string completion_script(const Command& program, Shell shell);

/// Every program of ours answers these, beside what its --help shows: `--describe` (to_json) and
/// `--completion bash|zsh`. "" when `arguments`, without the program's name, are something else.
std::string answer_hidden(const CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace postern::command
