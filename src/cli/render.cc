#include "cli/render.h"

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
      out += json::serialize(member.key()) + ":";
      if (is_flat(member.value())) {
        out += ' ' + json::serialize(member.value()) + '\n';
      } else {
        out += '\n';
        write_yaml(out, member.value(), depth + 1, false);
      }
    }
    return;
  }
  if (is_flat(value)) {
    begin_line();
    out += json::serialize(value) + '\n';
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
