#include <fmt/format.h>

#include "base/quantity.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

std::string count_text(const json::value& object, std::string_view member) {
  const auto count = count_of(object, member);
  return count ? std::to_string(*count) : "-";
}

std::string epoch_text(const json::value& loss) {
  const json::object* members = loss.if_object();
  const json::value* epoch = members == nullptr ? nullptr : members->if_contains("epoch");
  return epoch == nullptr ? "-" : count_text(*epoch, "ordinal");
}

std::string bytes_text(const json::value& loss) {
  const auto bytes = count_of(loss, "bytes");
  return bytes && *bytes >= 0 ? format_bytes(static_cast<std::uint64_t>(*bytes)) : "-";
}

/// "2026-01-31 08:15:00" to "08:20:00", or with its date when that is another one.
std::string times_text(const json::value& loss) {
  const std::string first = text_of(loss, "first_time"), last = text_of(loss, "last_time");
  if (!parse_rfc3339(first) || !parse_rfc3339(last)) return "-";
  const auto date = [](const std::string& time) { return time.substr(0, 10); };
  const auto clock = [](const std::string& time) { return time.substr(11, 8); };
  std::string text = date(first) + " " + clock(first);
  if (first == last) return text;
  return text + " to " + (date(first) == date(last) ? "" : date(last) + " ") + clock(last);
}

std::string why_text(const json::value& loss) {
  const std::string where = text_of(loss, "where");
  return or_dash(text_of(loss, "reason") + (where.empty() ? "" : " (" + where + ")"));
}

/// When the records were made, as far as that is known; else when the loss was noted.
std::string loss_time(Session& session, const json::value& loss) {
  std::string times = times_text(loss);
  if (times != "-" || text_of(loss, "noted").empty()) return times;
  return "noted " + when(session, loss, "noted");
}

std::string losses_table(Session& session, const json::value& answer) {
  Table table({"KIND", "NODE", "LANE/EPOCH", "BATCHES", "RECORDS", "SIZE", "WHEN", "WHY"});
  for (const json::value& loss : list_of(answer, "items"))
    table.add({text_of(loss, "kind"), text_of(loss, "node"),
               text_of(loss, "lane") + "/" + epoch_text(loss),
               count_text(loss, "first") + "-" + count_text(loss, "last"),
               count_text(loss, "records"), bytes_text(loss), loss_time(session, loss),
               why_text(loss)});
  if (!table.empty()) return table.text(session.world.columns);
  const Options& options = session.options;
  return fmt::format("Nothing{} is lost or missing{}.\n",
                     options.node ? " of " + printable(*options.node) : "",
                     options.since ? " that was noted since then" : "");
}

std::string alerts_table(Session& session, const json::value& answer) {
  Table table({"ID", "STATE", "SEVERITY", "NODE", "RAISED", "TIMES", "WHAT"});
  for (const json::value& alert : list_of(answer, "items"))
    table.add({count_text(alert, "id"), text_of(alert, "state"), text_of(alert, "severity"),
               or_dash(text_of(alert, "node")), when(session, alert, "raised"),
               count_text(alert, "count"), text_of(alert, "words")});
  if (!table.empty()) return table.text(session.world.columns);
  return session.options.all ? "There never was an alert.\n" : "No alert is open.\n";
}

std::string alert_text(Session& session, const json::value& alert) {
  std::string text;
  const auto line = [&](const char* label, const std::string& value) {
    text += fmt::format("{:<10}{}\n", label, printable(or_dash(value)));
  };
  line("id", count_text(alert, "id"));
  line("state", text_of(alert, "state"));
  line("severity", text_of(alert, "severity"));
  line("node", text_of(alert, "node"));
  line("cause", text_of(alert, "cause"));
  line("raised", when(session, alert, "raised"));
  line("last", when(session, alert, "last"));
  line("times", count_text(alert, "count"));
  line("closed", when(session, alert, "closed"));
  if (!text_of(alert, "closed_by").empty()) line("by", text_of(alert, "closed_by"));
  return text + "\n" + printable(text_of(alert, "words")) + "\n";
}

std::string closed_words(Session&, const json::value& alert) {
  return fmt::format("Alert {} is closed: {}\n", count_text(alert, "id"),
                     printable(text_of(alert, "cause")));
}

std::string alert_target(const Session& session) {
  return fmt::format("/api/v1/alerts/{}", session.options.id);
}

/// What --since means as a time; nothing when it is neither a time nor a duration.
std::optional<WallTime> since_time(Session& session, const std::string& text) {
  if (const auto time = parse_rfc3339(text)) return time;
  const auto span = parse_duration(text);
  if (!span) return std::nullopt;
  const auto earlier = std::chrono::duration_cast<std::chrono::milliseconds>(*span);
  return session.world.clock.wall() - earlier;
}

}  // namespace

int list_losses(Session& session) {
  const Options& options = session.options;
  std::vector<std::string> query;
  if (options.node) query.push_back("node=" + path_segment(*options.node));
  if (options.since) {
    const auto since = since_time(session, *options.since);
    if (!since) {
      say_failure(session,
                  fmt::format("--since {}: write a time like 2026-01-31T08:15:00Z, or how far back "
                              "like 30m, 2h or 7d",
                              *options.since));
      return kExitUsage;
    }
    query.push_back("since=" + path_segment(to_rfc3339(*since)));
  }
  std::string target = "/api/v1/losses";
  if (!query.empty()) target += fmt::format("?{}", fmt::join(query, "&"));
  return draw(session, target, losses_table);
}

int list_alerts(Session& session) {
  return draw(session, session.options.all ? "/api/v1/alerts" : "/api/v1/alerts?open=true",
              alerts_table);
}

int show_alert(Session& session) { return draw(session, alert_target(session), alert_text); }

int close_alert(Session& session) {
  return print(session, session.client->post(alert_target(session) + "/close"), closed_words);
}

}  // namespace postern::cli
