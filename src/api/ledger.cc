#include <fmt/format.h>

#include <algorithm>
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

/// What tells a line of the ledger from all others.
std::string place_in_ledger(const LossView& loss) {
  return fmt::format("{} {} {} {}.{} {} {} {}", to_string(loss.kind), loss.node_id, loss.lane,
                     loss.epoch_ordinal, loss.epoch_random, loss.range.first, loss.range.last,
                     loss.noted ? to_ms(*loss.noted) : 0);
}

Answer<void> begin_behind(std::vector<LossView>& losses, const std::string& place) {
  if (place.empty()) return {};
  const auto last = std::ranges::find(losses, place, place_in_ledger);
  if (last == losses.end())
    return refuse(kProblemConflict,
                  "the ledger has changed where the last page ended; begin anew without a cursor");
  losses.erase(losses.begin(), last + 1);
  return {};
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
  const auto page = page_of(exchange, kLossLimitDefault, kLossLimitMax);
  if (!page) return std::unexpected(page.error());
  query.limit = page->after.empty() ? page->limit + 1 : kLossLimitMax;
  auto losses = exchange.service.losses(query);
  if (!losses) return std::unexpected(losses.error());
  if (auto cut = begin_behind(*losses, page->after); !cut) return std::unexpected(cut.error());
  Reply reply;
  reply.json = page_to_json(std::move(*losses), *page, place_in_ledger);
  return reply;
}

Answer<Reply> list_alerts(Exchange& exchange) {
  const auto open = flag_of(exchange, "open");
  if (!open) return std::unexpected(open.error());
  const auto page = page_of(exchange, kAlertLimitDefault, kAlertLimitMax);
  if (!page) return std::unexpected(page.error());
  auto alerts = exchange.service.alerts(open->value_or(false));
  if (!alerts) return std::unexpected(alerts.error());
  if (const auto found = exchange.query.find("node"); found != exchange.query.end())
    std::erase_if(*alerts, [&](const AlertView& one) {
      return one.node != found->second && one.node_id != found->second;
    });
  if (const auto found = exchange.query.find("severity"); found != exchange.query.end())
    std::erase_if(*alerts, [&](const AlertView& one) { return one.severity != found->second; });
  if (!page->after.empty()) {
    std::int64_t before = 0;
    std::from_chars(page->after.data(), page->after.data() + page->after.size(), before);
    std::erase_if(*alerts, [&](const AlertView& one) { return one.id >= before; });
  }
  Reply reply;
  reply.json = page_to_json(std::move(*alerts), *page,
                            [](const AlertView& one) { return std::to_string(one.id); });
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
