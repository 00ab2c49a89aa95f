#include <fmt/format.h>

#include "base/quantity.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr std::chrono::seconds kPollEvery{1};
constexpr Duration kTimeoutMax = std::chrono::hours(24);

std::string wait_text(std::int64_t ms) {
  if (ms >= 0) return span_words(std::chrono::milliseconds(ms));
  return "-" +
         span_words(std::chrono::milliseconds(-std::max(ms, -std::int64_t{86'400'000} * 3650)));
}

std::string trace_text(Session& session, const json::value& trace) {
  Table table({"HOP", "RECEIVED", "WAIT"});
  bool clocks_differ = false;
  for (const json::value& hop : list_of(trace, "hops")) {
    const std::int64_t wait = count_of(hop, "wait_ms").value_or(0);
    clocks_differ = clocks_differ || wait < 0;
    table.add({text_of(hop, "from") + " -> " + text_of(hop, "name"), text_of(hop, "received"),
               wait_text(wait)});
  }
  std::string text = table.text(session.world.columns);
  if (const auto total = count_of(trace, "total_ms"))
    text += fmt::format("\nThe probe of {} arrived {} after it was sealed.\n",
                        printable(text_of(trace, "node")), wait_text(*total));
  if (clocks_differ)
    text +=
        "A wait below zero means that the clocks of two hops differ: each hop says the time by its "
        "own.\n";
  return text;
}

/// What is known of a node whose probe did not come.
std::string last_known(Session& session, const std::string& node) {
  const Answered answer = session.client->get("/api/v1/nodes/" + path_segment(node));
  if (!answer) return "";
  std::string text = fmt::format("{} is {}", printable(text_of(*answer, "name")),
                                 printable(text_of(*answer, "connection")));
  if (!text_of(*answer, "last_seen").empty())
    text += fmt::format(", last seen {}", when(session, *answer, "last_seen"));
  if (const auto path = texts_of(*answer, "path"); !path.empty())
    text += fmt::format(", by way of {}", printable(joined(path)));
  return text + ". Look at postern topology, and at the log of the first hop that is not connected";
}

/// One line that is overwritten; nothing where it would end up in a file.
void show_progress(Session& session, const std::string& text) {
  if (session.world.terminal && session.options.output == Format::table)
    session.world.out << "\r\x1b[K" << text << std::flush;
}

}  // namespace

int trace_node(Session& session) {
  const Options& options = session.options;
  const auto timeout = parse_duration(options.timeout);
  if (!timeout || *timeout < kPollEvery || *timeout > kTimeoutMax) {
    say_failure(session, fmt::format("--timeout {}: write a duration from 1s to 24h, like 30s",
                                     options.timeout));
    return kExitUsage;
  }
  const Answered started =
      session.client->post("/api/v1/nodes/" + path_segment(options.name) + "/trace");
  if (!started) return say_failure(session, started.error().message);
  const std::string node = text_of(*started, "node");
  const std::string target = "/api/v1/traces/" + path_segment(text_of(*started, "id"));
  World& world = session.world;
  const TimePoint until = world.clock.now() + *timeout;
  for (;;) {
    const Answered trace = session.client->get(target);
    if (!trace || text_of(*trace, "state") == "arrived") {
      show_progress(session, "");
      return print(session, trace, trace_text);
    }
    const Duration left = until - world.clock.now();
    if (left <= Duration::zero()) break;
    show_progress(
        session,
        fmt::format("waiting for the probe of {}, {} more at most", printable(node),
                    span_words(std::chrono::duration_cast<std::chrono::milliseconds>(left))));
    if (!world.pause(kPollEvery)) break;
  }
  show_progress(session, "");
  const std::string known = last_known(session, node);
  return say_failure(session,
                     fmt::format("no probe of {} arrived within {}{}{}", printable(node),
                                 format_duration(*timeout), known.empty() ? "" : ". ", known));
}

}  // namespace postern::cli
