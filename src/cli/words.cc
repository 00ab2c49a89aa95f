#include "cli/words.h"

#include <fmt/format.h>

namespace postern::cli {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

}  // namespace

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
