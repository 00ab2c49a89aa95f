#include "base/quantity.h"

#include <charconv>
#include <iterator>
#include <limits>
#include <utility>

namespace postern {
namespace {

template <std::size_t N>
Result<std::uint64_t> parse(std::string_view text,
                            const std::pair<std::string_view, std::uint64_t> (&units)[N],
                            const char* what, const char* examples) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{})
    return fail(Errc::invalid, "'{}' is not a {}; write {}", text, what, examples);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const auto& [name, factor] : units) {
    if (unit != name) continue;
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / factor)
      return fail(Errc::invalid, "'{}' is too large for a {}", text, what);
    return value * factor;
  }
  return fail(Errc::invalid, "'{}' is not a {}; write {}", text, what, examples);
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"ms", 1'000'000},
      {"s", 1'000'000'000},
      {"m", 60'000'000'000},
      {"h", 3'600'000'000'000},
      {"d", 86'400'000'000'000}};
  auto ns = parse(text, kUnits, "duration", "a number with ms, s, m, h or d, like 30s");
  if (!ns) return std::unexpected(ns.error());
  return Duration(static_cast<std::int64_t>(*ns));
}

std::string format_duration(Duration d) {
  const std::int64_t ns = d.count();
  static constexpr std::pair<const char*, std::int64_t> kUnits[] = {{"d", 86'400'000'000'000},
                                                                    {"h", 3'600'000'000'000},
                                                                    {"m", 60'000'000'000},
                                                                    {"s", 1'000'000'000}};
  for (const auto& [name, factor] : kUnits)
    if (ns != 0 && ns % factor == 0) return fmt::format("{}{}", ns / factor, name);
  return fmt::format("{}ms", ns / 1'000'000);
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
  static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"", 1},
      {"KiB", 1ull << 10},
      {"MiB", 1ull << 20},
      {"GiB", 1ull << 30},
      {"TiB", 1ull << 40},
      {"KB", 1'000},
      {"MB", 1'000'000},
      {"GB", 1'000'000'000},
      {"TB", 1'000'000'000'000}};
  return parse(text, kUnits, "size", "bytes with KiB, MiB, GiB or TiB, like 10GiB");
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace postern
