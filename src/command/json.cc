#include <fmt/format.h>

#include "command/tree.h"

namespace postern::command {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

template <typename List, typename Write>
std::string list_of(const List& list, Write write) {
  std::string out = "[";
  for (const auto& item : list) out += (out.size() > 1 ? "," : "") + write(item);
  return out + "]";
}

std::string option_json(const Option& option) {
  return fmt::format(
      R"({{"names":{},"type":{},"what":{},"positional":{},"required":{},"takes_value":{},)"
      R"("value_optional":{},"repeated":{}}})",
      list_of(option.names, quoted), quoted(option.type), quoted(option.what), option.positional,
      option.required, option.takes_value, option.value_optional, option.repeated);
}

std::string command_json(const Command& command) {
  return fmt::format(R"({{"name":{},"what":{},"example":{},"options":{},"verbs":{}}})",
                     quoted(command.name), quoted(command.what), quoted(command.example),
                     list_of(command.options, option_json), list_of(command.verbs, command_json));
}

}  // namespace

const char* version() { return POSTERN_VERSION; }

std::string to_json(const Command& command) { return command_json(command) + "\n"; }

}  // namespace postern::command
