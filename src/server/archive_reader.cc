#include "server/archive_reader.h"

#include <algorithm>
#include <charconv>
#include <ranges>

#include "model/payload.h"
#include "server/effects.h"

namespace postern {
namespace {

constexpr std::size_t kBatchesARead = 16;

/// Where a page begins: at this batch, without its first so many items.
struct Start {
  store::ArchivePlace place;
  std::size_t skip = 0;
};

std::string text_of(const Start& start) {
  return fmt::format("{} {} {}", to_ms(start.place.last), start.place.row, start.skip);
}

std::optional<Start> start_from(std::string_view text) {
  std::int64_t last = 0;
  Start start;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](auto& into) {
    const auto [next, failed] = std::from_chars(at, end, into);
    const bool fine = failed == std::errc() && (next == end || *next == ' ');
    at = next == end ? end : next + 1;
    return fine;
  };
  if (!number(last) || !number(start.place.row) || !number(start.skip) || at != end)
    return std::nullopt;
  start.place.last = wall_from_ms(last);
  return start;
}

/// The observations themselves, also when they were sealed again (batch.md#B28).
Result<wire::BatchView> observed_batch(const wire::BatchView& batch) {
  if (batch.header.kind != wire::PayloadKind::sealed_again) return batch;
  return wire::read_sealed_again(batch);
}

template <typename Query>
bool is_within(WallTime time, const Query& query) {
  return (!query.since || time >= *query.since) && (!query.until || time <= *query.until);
}

/// When it happened, as far as its source knew.
WallTime time_of(const LogEvent& event) {
  return event.time == WallTime{} ? event.observed : event.time;
}

/// The lowest of OpenTelemetry's short names for a severity's range; nothing for 0.
std::string severity_of(const LogEvent& event) {
  static constexpr std::string_view kNames[] = {"trace", "debug", "info", "warn", "error", "fatal"};
  constexpr std::int32_t kNumbersAName = 4;
  const auto number = static_cast<std::int32_t>(event.severity);
  if (number < 1 || number > kNumbersAName * static_cast<std::int32_t>(std::size(kNames)))
    return "";
  return std::string(kNames[(number - 1) / kNumbersAName]);
}

}  // namespace

template <typename Item>
Result<api::Observations<Item>> read_archive(
    store::Store& store, const NodeId& node, wire::Lane lane, const api::ObservationQuery& query,
    const std::function<Result<Readable<Item>>(const wire::BatchView&)>& decode,
    const std::function<std::size_t(const Item&)>& bytes_of) {
  store::Store::ObservationFilter filter{node, lane, query.since, query.until, {}, kBatchesARead};
  std::size_t skip = 0;
  if (!query.after.empty()) {
    const auto start = start_from(query.after);
    if (!start) return fail(Errc::invalid, "this cursor belongs to another list");
    filter.from = start->place;
    skip = start->skip;
  }
  api::Observations<Item> page;
  std::size_t batches = 0;
  std::uint64_t raw_bytes = 0, shown_bytes = 0;
  for (;;) {
    auto read = store.observations(filter);
    if (!read) return std::unexpected(read.error());
    for (const store::PlacedBatch& one : *read) {
      if (batches == kArchivedBatchesAPage || raw_bytes > kArchivedRawBytesAPage ||
          shown_bytes > kObservedBytesAPage || page.items.size() >= query.limit) {
        page.next = text_of({one.place, 0});
        return page;
      }
      auto stamped = wire::read_stamped(*one.batch.message);
      auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
      auto observed = batch ? observed_batch(*batch) : std::unexpected(batch.error());
      auto readable = observed ? decode(*observed) : std::unexpected(observed.error());
      ++batches;
      if (observed) raw_bytes += observed->header.raw_bytes;
      filter.from = {one.place.last, one.place.row - 1};
      if (!readable) {
        page.unreadable.push_back({one.batch.stream.epoch.ordinal,
                                   fmt::format("{:016x}", one.batch.stream.epoch.random),
                                   one.batch.sequence, readable.error().message});
        skip = 0;
        continue;
      }
      if (skip == 0) page.not_shown += readable->not_shown;
      for (std::size_t i = skip; i < readable->items.size(); ++i) {
        if (page.items.size() >= query.limit || shown_bytes > kObservedBytesAPage) {
          page.next = text_of({one.place, i});
          return page;
        }
        shown_bytes += bytes_of(readable->items[i]);
        page.items.push_back(std::move(readable->items[i]));
      }
      skip = 0;
    }
    if (read->size() < kBatchesARead) return page;
  }
}

Result<Readable<api::ValueView>> read_series(const wire::BatchView& batch,
                                             const api::SeriesQuery& query) {
  auto decoded = decode_metrics(batch.payload, batch.header.raw_bytes);
  if (!decoded) return std::unexpected(decoded.error());
  Readable<api::ValueView> readable{{}, decoded->not_shown};
  for (const Measurement& m : decoded->measurements | std::views::reverse) {
    if ((!query.metric.empty() && m.name != query.metric) || !is_within(m.time, query)) continue;
    const bool integer = std::holds_alternative<std::int64_t>(m.value);
    readable.items.push_back(
        {m.name, m.unit, json_of(m.attributes),
         integer ? static_cast<double>(std::get<std::int64_t>(m.value)) : std::get<double>(m.value),
         integer, m.time});
  }
  return readable;
}

Result<Readable<api::EventView>> read_events(const wire::BatchView& batch,
                                             const api::EventQuery& query) {
  auto decoded = decode_logs(batch.payload, batch.header.raw_bytes);
  if (!decoded) return std::unexpected(decoded.error());
  Readable<api::EventView> readable{{}, decoded->not_shown};
  for (LogEvent& event : decoded->events | std::views::reverse) {
    if (!is_within(time_of(event), query) ||
        static_cast<std::int32_t>(event.severity) < query.severity_min ||
        !event.body.contains(query.contains))
      continue;
    api::EventView view;
    view.time = time_of(event);
    if (event.observed != WallTime{}) view.observed = event.observed;
    view.severity = severity_of(event);
    view.severity_text = std::move(event.severity_text);
    view.name = std::move(event.event_name);
    view.body = std::move(event.body);
    view.attributes = json_of(event.attributes);
    readable.items.push_back(std::move(view));
  }
  return readable;
}

template Result<api::Observations<api::ValueView>> read_archive(
    store::Store&, const NodeId&, wire::Lane, const api::ObservationQuery&,
    const std::function<Result<Readable<api::ValueView>>(const wire::BatchView&)>&,
    const std::function<std::size_t(const api::ValueView&)>&);
template Result<api::Observations<api::EventView>> read_archive(
    store::Store&, const NodeId&, wire::Lane, const api::ObservationQuery&,
    const std::function<Result<Readable<api::EventView>>(const wire::BatchView&)>&,
    const std::function<std::size_t(const api::EventView&)>&);

}  // namespace postern
