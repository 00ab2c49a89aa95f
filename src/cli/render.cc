#include "cli/render.h"

#include <fmt/format.h>

namespace postern::cli {
namespace {

namespace json = boost::json;

bool is_leaf(const json::value& value) {
  if (const json::array* list = value.if_array()) return list->empty();
  if (const json::object* object = value.if_object()) return object->empty();
  return true;
}

// Pairs of numbers, such as [first, last], read better on one line.
bool is_flat(const json::value& value) {
  const json::array* list = value.if_array();
  if (list == nullptr) return is_leaf(value);
  for (const json::value& item : *list)
    if (!item.is_number()) return list->empty();
  return true;
}

void write_json(std::string& out, const json::value& value, std::size_t depth) {
  if (is_flat(value)) {
    out += json::serialize(value);
    return;
  }
  const std::string indent((depth + 1) * 2, ' ');
  const bool object = value.is_object();
  out += object ? '{' : '[';
  const char* separator = "\n";
  if (object) {
    for (const auto& member : value.get_object()) {
      out += separator + indent + json::serialize(member.key()) + ": ";
      write_json(out, member.value(), depth + 1);
      separator = ",\n";
    }
  } else {
    for (const json::value& item : value.get_array()) {
      out += separator + indent;
      write_json(out, item, depth + 1);
      separator = ",\n";
    }
  }
  out += '\n' + std::string(depth * 2, ' ') + (object ? '}' : ']');
}

/// A text in double quotes, JSON's escapes, which YAML has too; and escaped besides what YAML does
/// not take as it is: DEL, the C1 controls, byte order marks and what is no character.
std::string yaml_text(const json::value& value) {
  const std::string in = json::serialize(value);
  std::string out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const auto byte = [&](std::size_t at) {
      return at < in.size() ? static_cast<unsigned char>(in[at]) : 0u;
    };
    const unsigned first = byte(i), second = byte(i + 1), third = byte(i + 2);
    if (first == 0x7f) {
      out += "\\x7F";
    } else if (first == 0xc2 && second < 0xa0) {
      out += fmt::format("\\x{:02X}", second);
      ++i;
    } else if (first == 0xef && (second == 0xbb || second == 0xbf) && third >= 0xbe) {
      out +=
          fmt::format("\\u{:04X}", (first & 0xfu) << 12 | (second & 0x3fu) << 6 | (third & 0x3fu));
      i += 2;
    } else {
      out += in[i];
    }
  }
  return out;
}

// `inline_first`: the first line stands behind "- " already.
void write_yaml(std::string& out, const json::value& value, std::size_t depth, bool inline_first) {
  const std::string indent(depth * 2, ' ');
  bool first = inline_first;
  const auto begin_line = [&] {
    if (!first) out += indent;
    first = false;
  };
  if (const json::object* object = value.if_object(); object != nullptr && !object->empty()) {
    for (const auto& member : *object) {
      begin_line();
      out += yaml_text(json::string(member.key())) + ":";
      if (is_flat(member.value())) {
        out += ' ' + yaml_text(member.value()) + '\n';
      } else {
        out += '\n';
        write_yaml(out, member.value(), depth + 1, false);
      }
    }
    return;
  }
  if (is_flat(value)) {
    begin_line();
    out += yaml_text(value) + '\n';
    return;
  }
  for (const json::value& item : value.get_array()) {
    begin_line();
    out += "- ";
    write_yaml(out, item, depth + 1, true);
  }
}

}  // namespace

std::string to_json_text(const json::value& value) {
  std::string out;
  write_json(out, value, 0);
  return out + '\n';
}

std::string to_yaml_text(const json::value& value) {
  std::string out;
  write_yaml(out, value, 0, false);
  return out;
}

}  // namespace postern::cli
