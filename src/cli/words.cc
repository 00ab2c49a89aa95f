#include "cli/words.h"

#include <fmt/format.h>

#include <charconv>

namespace postern::cli {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
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
  return WallTime(std::chrono::sys_days(date) + std::chrono::hours(*hour) +
                  std::chrono::minutes(*minute) + std::chrono::seconds(*second));
}

std::string span_words(milliseconds span) {
  if (span < 1s) return fmt::format("{} ms", span.count());
  if (span < 2min) return fmt::format("{} s", span / 1s);
  if (span < 2h) return fmt::format("{} min", span / 1min);
  if (span < 48h) return fmt::format("{} h", span / 1h);
  return fmt::format("{} d", span / 24h);
}

std::string ago(WallTime then, WallTime now) {
  const std::string absolute = to_rfc3339(then);
  const std::string date = absolute.substr(0, 10);
  const std::string time = absolute.substr(11, 8) + "Z";
  const milliseconds passed = now - then;
  if (passed < 1s) return "just now, " + time;
  return fmt::format("{} ago, {}", span_words(passed), passed < 24h ? time : date);
}

std::string left(WallTime end, WallTime now) {
  return end <= now ? "expired" : span_words(end - now);
}

}  // namespace postern::cli
