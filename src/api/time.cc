#include "api/time.h"

#include <string>

namespace postern::api {
namespace {

constexpr std::size_t kFractionDigitsMax = 9;

std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

/// What stands between the seconds and the Z: nothing, or a point and digits.
std::optional<std::chrono::milliseconds> fraction(std::string_view text) {
  if (text.empty()) return std::chrono::milliseconds(0);
  if (text.size() < 2 || text.size() > 1 + kFractionDigitsMax || text[0] != '.')
    return std::nullopt;
  if (!digits(text, 1, text.size() - 1)) return std::nullopt;
  std::string three(text.substr(1, 3));
  three.resize(3, '0');
  return std::chrono::milliseconds(*digits(three, 0, 3));
}

}  // namespace

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() <= kShape.size() || text.back() != 'Z') return std::nullopt;
  for (std::size_t i = 0; i < kShape.size(); ++i)
    if (kShape[i] != '0' && text[i] != kShape[i]) return std::nullopt;
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const auto hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const auto rest = fraction(text.substr(kShape.size(), text.size() - kShape.size() - 1));
  if (!rest) return std::nullopt;
  return WallTime(std::chrono::sys_days(date) + std::chrono::hours(*hour) +
                  std::chrono::minutes(*minute) + std::chrono::seconds(*second) + *rest);
}

}  // namespace postern::api
