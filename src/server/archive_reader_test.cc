#include "server/archive_reader.h"

#include <gtest/gtest.h>

#include "model/payload.h"
#include "store/memory.h"

namespace postern {
namespace {

using std::chrono::seconds;

const WallTime kStart = wall_from_ms(1'800'000'000'000);

class ArchiveReader : public testing::Test {
 protected:
  wire::StreamKey stream(wire::Lane lane) const { return {node_, {1, 7}, lane}; }

  void archive(wire::Lane lane, const Payload& payload, wire::PayloadKind kind) {
    wire::BatchHeader header;
    header.stream = stream(lane);
    header.sequence = ++newest_[lane];
    header.kind = kind;
    header.compression = wire::Compression::zstd;
    header.first = payload.first;
    header.last = payload.last;
    header.records = payload.records;
    header.raw_bytes = payload.raw_bytes;
    header.payload_bytes = static_cast<std::uint32_t>(payload.compressed.size());
    Bytes whole = wire::encode_signed_part(header);
    whole.resize(wire::kBatchHeaderBytes);  // nobody asks for the signature here
    whole.insert(whole.end(), payload.compressed.begin(), payload.compressed.end());
    store::Apply apply;
    apply.header = header;
    apply.hash[0] = static_cast<std::byte>(header.sequence);
    if (header.sequence > 1) apply.header.previous[0] = static_cast<std::byte>(header.sequence - 1);
    apply.message = std::make_shared<const Bytes>(wire::write_stamped({}, whole));
    apply.arrived = kStart;
    ASSERT_EQ(store_.apply({&apply, 1}).value().front(), store::Outcome::applied);
  }
  /// One batch: values of "cpu" and "memory" a second apart, from `at` on.
  void measure(seconds at, int count = 1) {
    std::vector<Measurement> measured;
    for (int i = 0; i < count; ++i)
      for (const char* name : {"memory", "cpu"}) {
        Measurement one;
        one.name = name;
        one.unit = "1";
        one.value = std::int64_t{(at + seconds(i)).count()};
        one.time = kStart + at + seconds(i);
        measured.push_back(one);
      }
    archive(wire::Lane::metric, encode_metrics({}, measured).value(), wire::PayloadKind::metrics);
  }
  void log(seconds at, Severity severity, const std::string& body) {
    LogEvent event;
    event.time = kStart + at;
    event.severity = severity;
    event.body = body;
    event.attributes = {{"log.file.path", "/var/log/x"}};
    archive(wire::Lane::event, encode_logs({}, std::vector{event}).value(),
            wire::PayloadKind::logs);
  }

  api::Observations<api::ValueView> series(const api::SeriesQuery& query) {
    return read_archive<api::ValueView>(
               store_, node_, wire::Lane::metric, query,
               [&](const wire::BatchView& batch) { return read_series(batch, query); },
               [](const api::ValueView&) -> std::size_t { return item_bytes; })
        .value();
  }
  api::Observations<api::EventView> events(const api::EventQuery& query) {
    return read_archive<api::EventView>(
               store_, node_, wire::Lane::event, query,
               [&](const wire::BatchView& batch) { return read_events(batch, query); },
               [](const api::EventView&) -> std::size_t { return item_bytes; })
        .value();
  }
  static std::vector<int> values(const api::Observations<api::ValueView>& page) {
    std::vector<int> found;
    for (const api::ValueView& value : page.items) found.push_back(static_cast<int>(value.value));
    return found;
  }
  static std::vector<std::string> bodies(const api::Observations<api::EventView>& page) {
    std::vector<std::string> found;
    for (const api::EventView& event : page.items) found.push_back(event.body);
    return found;
  }
  static api::SeriesQuery cpu(std::size_t limit = 1000) {
    api::SeriesQuery query;
    query.metric = "cpu";
    query.limit = limit;
    return query;
  }

  static inline std::size_t item_bytes = 100;
  NodeId node_;
  store::MemoryStore store_;
  std::map<wire::Lane, std::uint64_t> newest_;
};

TEST_F(ArchiveReader, ASeriesIsOneMetricNewestFirst) {
  measure(seconds(0), 3);
  measure(seconds(60), 2);
  const auto page = series(cpu());
  EXPECT_EQ(values(page), (std::vector{61, 60, 2, 1, 0}));
  EXPECT_EQ(page.items[0].time, kStart + seconds(61));
  EXPECT_TRUE(page.items[0].integer);
  EXPECT_EQ(page.next, "");
  api::SeriesQuery all = cpu();
  all.metric.clear();
  EXPECT_EQ(series(all).items.size(), 10u);
}

TEST_F(ArchiveReader, ASeriesIsOfTheTimeThatIsAskedFor) {
  for (int i = 0; i < 5; ++i) measure(seconds(60 * i), 3);
  api::SeriesQuery query = cpu();
  query.since = kStart + seconds(61);
  query.until = kStart + seconds(121);
  EXPECT_EQ(values(series(query)), (std::vector{121, 120, 62, 61})) << "both ends included";
}

TEST_F(ArchiveReader, PagesOfAnySizeShowEachValueOnce) {
  for (int i = 0; i < 40; ++i) measure(seconds(60 * i), 3);
  const auto whole = values(series(cpu()));
  ASSERT_EQ(whole.size(), 120u);
  for (const std::size_t limit : {1u, 2u, 3u, 7u, 50u, 120u}) {
    api::SeriesQuery query = cpu(limit);
    std::vector<int> found;
    do {
      const auto page = series(query);
      EXPECT_LE(page.items.size(), limit);
      for (const int value : values(page)) found.push_back(value);
      query.after = page.next;
    } while (!query.after.empty());
    EXPECT_EQ(found, whole) << limit;
  }
}

TEST_F(ArchiveReader, APageEndsWhenEnoughWasRead) {
  for (std::size_t i = 0; i <= kArchivedBatchesAPage; ++i) measure(seconds(60 * i));
  api::SeriesQuery query = cpu();
  query.metric = "nothing";
  auto page = series(query);
  EXPECT_TRUE(page.items.empty());
  ASSERT_NE(page.next, "");
  query.after = page.next;
  page = series(query);
  EXPECT_EQ(page.next, "") << "the one batch that was left";

  item_bytes = kObservedBytesAPage;
  page = series(cpu());
  item_bytes = 100;
  EXPECT_EQ(page.items.size(), 2u) << "the one that goes beyond the limit is the last";
  EXPECT_NE(page.next, "");
}

TEST_F(ArchiveReader, ACursorOfAnotherListIsRefused) {
  for (const char* text : {"x", "1 2", "1 2 3 4", "1 2 -3", " 1 2 3", "99999999999999999999 1 1"}) {
    api::SeriesQuery query = cpu();
    query.after = text;
    const auto page = read_archive<api::ValueView>(
        store_, node_, wire::Lane::metric, query,
        [&](const wire::BatchView& batch) { return read_series(batch, query); },
        [](const api::ValueView&) -> std::size_t { return 1; });
    EXPECT_EQ(page.error().code, Errc::invalid) << text;
  }
}

TEST_F(ArchiveReader, EventsAreFoundByTimeSeverityAndText) {
  log(seconds(1), Severity::info, "started");
  log(seconds(2), Severity::error, "disk a failed");
  log(seconds(3), Severity::critical, "disk b failed");
  api::EventQuery query;
  query.limit = 10;
  const auto all = events(query);
  EXPECT_EQ(bodies(all), (std::vector<std::string>{"disk b failed", "disk a failed", "started"}));
  EXPECT_EQ(all.items[0].severity, "error") << "journald's critical is OpenTelemetry's ERROR2";
  EXPECT_EQ(all.items[0].attributes, R"({"log.file.path":"/var/log/x"})");
  query.severity_min = static_cast<std::int32_t>(Severity::error);
  EXPECT_EQ(bodies(events(query)).size(), 2u);
  query.contains = "disk a";
  EXPECT_EQ(bodies(events(query)), std::vector<std::string>{"disk a failed"});
  query.until = kStart + seconds(1);
  EXPECT_TRUE(events(query).items.empty());
}

TEST_F(ArchiveReader, WhatCannotBeReadIsNamedAndTheRestIsShown) {
  log(seconds(1), Severity::info, "before");
  Payload garbage;
  garbage.compressed = to_bytes("no zstd at all");
  garbage.raw_bytes = 100;
  garbage.records = 1;
  garbage.first = garbage.last = kStart + seconds(2);
  archive(wire::Lane::event, garbage, wire::PayloadKind::logs);
  log(seconds(3), Severity::info, "behind");
  api::EventQuery query;
  query.limit = 10;
  const auto page = events(query);
  EXPECT_EQ(bodies(page), (std::vector<std::string>{"behind", "before"}));
  ASSERT_EQ(page.unreadable.size(), 1u);
  EXPECT_EQ(page.unreadable[0].sequence, 2u);
  EXPECT_NE(page.unreadable[0].reason, "");
}

}  // namespace
}  // namespace postern
