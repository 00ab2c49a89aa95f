#include <fmt/format.h>

#include <array>

#include "api/exchange.h"
#include "api/json.h"
#include "api/time.h"

namespace postern::api {
namespace {

struct SeverityName {
  std::string_view name;
  std::int32_t lowest;  // of OpenTelemetry's severity numbers
};
constexpr std::array<SeverityName, 6> kSeverities = {
    {{"trace", 1}, {"debug", 5}, {"info", 9}, {"warn", 13}, {"error", 17}, {"fatal", 21}}};

std::string text_in(const Exchange& exchange, std::string_view name) {
  const auto found = exchange.query.find(name);
  return found == exchange.query.end() ? std::string() : found->second;
}

Answer<std::optional<WallTime>> time_in(const Exchange& exchange, std::string_view name) {
  const std::string text = text_in(exchange, name);
  if (!exchange.query.contains(name)) return std::optional<WallTime>();
  const auto time = parse_rfc3339(text);
  if (!time)
    return refuse(kProblemInvalid, fmt::format("{} is '{}', it must be a time like "
                                               "2026-01-31T08:15:00Z",
                                               name, text));
  return time;
}

Answer<void> read_query(const Exchange& exchange, ObservationQuery& query) {
  const auto page = page_of(exchange, kObservationsLimitDefault, kObservationsLimitMax);
  if (!page) return std::unexpected(page.error());
  const auto since = time_in(exchange, "since"), until = time_in(exchange, "until");
  if (!since) return std::unexpected(since.error());
  if (!until) return std::unexpected(until.error());
  query.since = *since;
  query.until = *until;
  query.after = page->after;
  query.limit = page->limit;
  return {};
}

template <typename Item>
Answer<Reply> reply_of(const Answer<Observations<Item>>& page) {
  if (!page) return std::unexpected(page.error());
  boost::json::array unreadable;
  for (const UnreadableBatch& one : page->unreadable)
    unreadable.push_back({{"epoch", {{"ordinal", one.epoch_ordinal}, {"random", one.epoch_random}}},
                          {"sequence", one.sequence},
                          {"reason", one.reason}});
  Reply reply;
  boost::json::object out = list_to_json(page->items);
  out["next"] = page->next.empty() ? nullptr : boost::json::value(next_page(page->next));
  out["unreadable"] = std::move(unreadable);
  out["not_shown"] = page->not_shown;
  reply.json = std::move(out);
  return reply;
}

}  // namespace

Answer<Reply> list_entities(Exchange& exchange) {
  const auto entities = exchange.service.entities(exchange.node);
  if (!entities) return std::unexpected(entities.error());
  Reply reply;
  reply.json = list_to_json(*entities);
  return reply;
}

Answer<Reply> list_series(Exchange& exchange) {
  SeriesQuery query;
  if (auto read = read_query(exchange, query); !read) return std::unexpected(read.error());
  query.metric = text_in(exchange, "metric");
  return reply_of(exchange.service.series(exchange.node, query));
}

Answer<Reply> list_events(Exchange& exchange) {
  EventQuery query;
  if (auto read = read_query(exchange, query); !read) return std::unexpected(read.error());
  query.contains = text_in(exchange, "contains");
  if (exchange.query.contains("severity")) {
    const std::string text = text_in(exchange, "severity");
    for (const SeverityName& one : kSeverities)
      if (one.name == text) query.severity_min = one.lowest;
    if (query.severity_min == 0)
      return refuse(kProblemInvalid,
                    fmt::format("severity is '{}', it must be trace, debug, info, warn, error or "
                                "fatal",
                                text));
  }
  return reply_of(exchange.service.events(exchange.node, query));
}

}  // namespace postern::api
