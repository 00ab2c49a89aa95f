#include "model/prometheus.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <string_view>

namespace postern {
namespace {

struct Unit {
  std::string_view ucum, word;
  double factor;
};
constexpr Unit kUnits[] = {
    {"By", "bytes", 1},
    {"s", "seconds", 1},
    {"ms", "seconds", 0.001},
    {"us", "seconds", 1e-6},
    {"ns", "seconds", 1e-9},
    {"Cel", "celsius", 1},
    {"By/s", "bytes_per_second", 1},
};

Unit unit_of(std::string_view ucum) {
  for (const Unit& unit : kUnits)
    if (unit.ucum == ucum) return unit;
  return {ucum, "", 1};
}

std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                         (c >= '0' && c <= '9' && !out.empty());
    out += allowed ? c : '_';
  }
  return out;
}

std::string name_of(const Measurement& m, const Unit& unit) {
  std::string name = plain(m.name);
  if (!unit.word.empty() && !name.ends_with(unit.word)) name += fmt::format("_{}", unit.word);
  if (m.kind == MeasurementKind::monotonic_sum && !name.ends_with("_total")) name += "_total";
  return name;
}

std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || (quotes && c == '"')) out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

std::string value_of(const Measurement& m, const Unit& unit) {
  if (const auto* whole = std::get_if<std::int64_t>(&m.value))
    return unit.factor == 1 ? fmt::format("{}", *whole)
                            : number(static_cast<double>(*whole) * unit.factor);
  return number(std::get<double>(m.value) * unit.factor);
}

std::string text_of(const AttributeValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>)
          return v;
        else if constexpr (std::is_same_v<T, std::vector<std::string>>)
          return fmt::format("{}", fmt::join(v, ","));
        else
          return fmt::format("{}", v);
      },
      value);
}

std::string labels(const Measurement& m) {
  if (m.attributes.empty()) return {};
  std::string out;
  for (const Attribute& attribute : m.attributes)
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", plain(attribute.key),
                       escaped(text_of(attribute.value), true));
  return '{' + out + '}';
}

}  // namespace

std::string prometheus_text(std::span<const Measurement> measurements) {
  struct Family {
    std::string head, lines;
  };
  std::map<std::string, Family> families;  // a family stands together
  for (const Measurement& m : measurements) {
    const Unit unit = unit_of(m.unit);
    const std::string name = name_of(m, unit);
    Family& family = families[name];
    if (family.head.empty()) {
      const std::string help =
          m.description.empty() ? fmt::format("OpenTelemetry {}.", m.name) : m.description;
      family.head = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, escaped(help, false),
                                m.kind == MeasurementKind::monotonic_sum ? "counter" : "gauge");
    }
    family.lines += fmt::format("{}{} {}\n", name, labels(m), value_of(m, unit));
  }
  std::string text;
  for (const auto& [name, family] : families) text += family.head + family.lines;
  return text;
}

}  // namespace postern
