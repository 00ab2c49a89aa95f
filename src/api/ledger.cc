#include <fmt/format.h>

#include <charconv>

#include "api/exchange.h"
#include "api/json.h"
#include "api/time.h"
#include "base/bytes.h"
#include "base/node_id.h"
#include "identity/certificate.h"

namespace postern::api {
namespace {

constexpr std::size_t kTraceIdBytes = 16;

/// The id of an alert: a number, as the list shows it.
Answer<std::int64_t> alert_id(const Exchange& exchange) {
  const std::string& text = exchange.id;
  std::int64_t id = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (failed != std::errc() || end != text.data() + text.size() || id <= 0)
    return refuse(
        kProblemInvalid,
        fmt::format("'{}' is no alert's id: that is a number, see the list of alerts", text));
  return id;
}

Answer<Reply> reply_of(const Answer<AlertView>& alert) {
  if (!alert) return std::unexpected(alert.error());
  Reply reply;
  reply.json = to_json(*alert);
  return reply;
}

}  // namespace

Answer<Reply> list_losses(Exchange& exchange) {
  LossQuery query;
  if (const auto found = exchange.query.find("node"); found != exchange.query.end()) {
    const auto id = parse_node_id(found->second);
    auto name = id ? id->hex() : normal_fqdn(found->second);
    if (!name) return refuse(kProblemInvalid, "node: " + name.error().message);
    query.node = std::move(*name);
  }
  if (const auto found = exchange.query.find("since"); found != exchange.query.end()) {
    query.since = parse_rfc3339(found->second);
    if (!query.since)
      return refuse(
          kProblemInvalid,
          fmt::format("since is '{}', it must be a time like 2026-01-31T08:15:00Z", found->second));
  }
  const auto limit = limit_of(exchange, kLossLimitDefault, kLossLimitMax);
  if (!limit) return std::unexpected(limit.error());
  query.limit = *limit;
  auto losses = exchange.service.losses(query);
  if (!losses) return std::unexpected(losses.error());
  Reply reply;
  reply.json = list_to_json(*losses);
  return reply;
}

Answer<Reply> list_alerts(Exchange& exchange) {
  bool open_only = false;
  if (const auto found = exchange.query.find("open"); found != exchange.query.end()) {
    if (found->second != "true" && found->second != "false")
      return refuse(kProblemInvalid,
                    fmt::format("open is '{}', it must be true (only those that are open) or "
                                "false (all)",
                                found->second));
    open_only = found->second == "true";
  }
  auto alerts = exchange.service.alerts(open_only);
  if (!alerts) return std::unexpected(alerts.error());
  Reply reply;
  reply.json = list_to_json(*alerts);
  return reply;
}

Answer<Reply> show_alert(Exchange& exchange) {
  const auto id = alert_id(exchange);
  if (!id) return std::unexpected(id.error());
  return reply_of(exchange.service.alert(*id));
}

Answer<Reply> close_alert(Exchange& exchange) {
  const auto id = alert_id(exchange);
  if (!id) return std::unexpected(id.error());
  return reply_of(exchange.service.close_alert(exchange.caller, *id));
}

Answer<Reply> start_trace(Exchange& exchange) {
  auto started = exchange.service.trace(exchange.caller, exchange.node);
  if (!started) return std::unexpected(started.error());
  Reply reply;
  reply.status = 202;
  reply.location = "/api/v1/traces/" + started->id;
  reply.json = to_json(*started);
  return reply;
}

Answer<Reply> show_trace(Exchange& exchange) {
  const auto id = from_hex(exchange.id);
  if (!id || id->size() != kTraceIdBytes)
    return refuse(kProblemInvalid, fmt::format("'{}' is no trace's id: that is {} hex digits",
                                               exchange.id, 2 * kTraceIdBytes));
  auto trace = exchange.service.trace_result(to_hex(*id));
  if (!trace) return std::unexpected(trace.error());
  Reply reply;
  reply.json = to_json(*trace);
  return reply;
}

}  // namespace postern::api
