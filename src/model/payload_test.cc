#include "model/payload.h"

#include <gtest/gtest.h>

#include "model/compression.h"

namespace postern {
namespace {

const WallTime kTime = wall_from_ms(1'700'000'000'123);
const WallTime kBoot = wall_from_ms(1'699'000'000'000);
const Resource kNode{{{"host.name", "a1.example.org"}, {"service.name", "postern-agent"}}};

Measurement gauge(std::string name, double value) {
  Measurement measurement;
  measurement.name = std::move(name);
  measurement.unit = "1";
  measurement.value = value;
  measurement.time = kTime;
  return measurement;
}

Measurement counter(std::string name, std::int64_t value, std::vector<Attribute> attributes) {
  Measurement measurement = gauge(std::move(name), 0);
  measurement.unit = "By";
  measurement.kind = MeasurementKind::monotonic_sum;
  measurement.value = value;
  measurement.attributes = std::move(attributes);
  measurement.start = kBoot;
  return measurement;
}

std::vector<Measurement> examples() {
  std::vector<Measurement> all = {
      gauge("system.cpu.utilization", 0.25),
      counter("system.disk.io", 7, {{"system.device", "sda"}, {"disk.io.direction", "read"}}),
      counter("system.disk.io", -8, {{"flag", true}, {"ratio", 1.5}, {"n", std::int64_t{-1}}}),
      gauge("system.uptime", 12.5)};
  all[0].description = "share of time";
  all[3].kind = MeasurementKind::sum;
  all[3].time = kTime + std::chrono::milliseconds(5);
  return all;
}

EntityState host() {
  return {"host",
          {{"host.id", "4f2a"}},
          {{"host.name", "a1.example.org"},
           {"host.ip", std::vector<std::string>{"192.0.2.1", "2001:db8::1"}},
           {"host.cpu.count", std::int64_t{4}}},
          std::chrono::minutes(5)};
}

// Hand-written protobuf: tags and lengths as OpenTelemetry's .proto files define them.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string block(int field, const std::string& content) {
  return varint(static_cast<unsigned>(field) << 3 | 2) + varint(content.size()) + content;
}
std::string fixed64(int field, std::uint64_t value) {
  std::string bytes = varint(static_cast<unsigned>(field) << 3 | 1);
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}
std::string number(int field, std::uint64_t value) {
  return varint(static_cast<unsigned>(field) << 3) + varint(value);
}
std::string pair(const std::string& key, const std::string& any_value) {
  return block(1, key) + block(2, any_value);
}

Bytes pack(const std::string& raw) { return compress(raw, kPayloadZstdLevel).value(); }
Result<DecodedMetrics> decode_raw_metrics(const std::string& raw) {
  return decode_metrics(pack(raw), static_cast<std::uint32_t>(raw.size()));
}
Result<DecodedEntityStates> decode_raw_logs(const std::string& raw) {
  return decode_entity_states(pack(raw), static_cast<std::uint32_t>(raw.size()));
}
std::string in_scope(const std::string& metrics) { return block(1, block(2, metrics)); }

TEST(MetricsPayload, RoundTrips) {
  const auto all = examples();
  const auto payload = encode_metrics(kNode, all);
  ASSERT_TRUE(payload.has_value()) << payload.error().message;
  EXPECT_EQ(payload->records, 4u);
  EXPECT_EQ(payload->first, kTime);
  EXPECT_EQ(payload->last, kTime + std::chrono::milliseconds(5));
  const auto decoded = decode_metrics(payload->compressed, payload->raw_bytes);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->resource, kNode);
  EXPECT_EQ(decoded->measurements, all);
  EXPECT_EQ(decoded->not_shown, 0u);
}

TEST(MetricsPayload, HasOpenTelemetrysBytes) {
  const std::vector<Measurement> one = {counter("x", 5, {{"k", "v"}})};
  const auto payload = encode_metrics(Resource{{{"r", true}}}, one);
  ASSERT_TRUE(payload.has_value());
  const std::string point = fixed64(2, 1'699'000'000'000'000'000) +
                            fixed64(3, 1'700'000'000'123'000'000) + fixed64(6, 5) +
                            block(7, pair("k", block(1, "v")));
  const std::string sum = block(1, point) + number(2, 2) + number(3, 1);
  const std::string metric = block(1, "x") + block(3, "By") + block(7, sum);
  const std::string scope = block(1, block(1, "postern.probe")) + block(2, metric);
  const std::string resource = block(1, block(1, pair("r", number(2, 1))));
  const std::string expected = block(1, resource + block(2, scope));
  EXPECT_EQ(to_hex(as_bytes(decompress(payload->compressed, payload->raw_bytes).value())),
            to_hex(as_bytes(expected)));
}

TEST(EntityPayload, RoundTrips) {
  const std::vector<EntityState> states = {host()};
  const auto payload = encode_entity_states(kNode, states, kTime);
  ASSERT_TRUE(payload.has_value()) << payload.error().message;
  EXPECT_EQ(payload->records, 1u);
  EXPECT_EQ(payload->first, kTime);
  const auto decoded = decode_entity_states(payload->compressed, payload->raw_bytes);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->resource, kNode);
  EXPECT_EQ(decoded->states, states);
  EXPECT_EQ(decoded->time, kTime);
  EXPECT_EQ(decoded->not_shown, 0u);
}

TEST(EntityPayload, HasOpenTelemetrysBytes) {
  const std::vector<EntityState> states = {
      {"host", {{"i", "1"}}, {{"a", std::vector<std::string>{"x"}}}, {}}};
  const auto payload = encode_entity_states({}, states, kTime);
  ASSERT_TRUE(payload.has_value());
  const auto attribute = [](const std::string& key, const std::string& value) {
    return block(6, pair(key, value));
  };
  const std::string list_of_x = block(5, block(1, block(1, "x")));
  const std::string record =
      fixed64(1, 1'700'000'000'123'000'000) +
      attribute("otel.entity.event.type", block(1, "entity_state")) +
      attribute("otel.entity.type", block(1, "host")) +
      attribute("otel.entity.id", block(6, block(1, pair("i", block(1, "1"))))) +
      attribute("otel.entity.attributes", block(6, block(1, pair("a", list_of_x)))) +
      fixed64(11, 1'700'000'000'123'000'000) + block(12, "entity.state");
  const std::string scope =
      block(1, "postern.probe") + block(3, pair("otel.entity.event_as_log", number(2, 1)));
  const std::string expected =
      block(1, block(1, "") + block(2, block(1, scope) + block(2, record)));
  EXPECT_EQ(to_hex(as_bytes(decompress(payload->compressed, payload->raw_bytes).value())),
            to_hex(as_bytes(expected)));
}

// Other producers send what Measurement does not know: it is counted, never an error.
TEST(MetricsPayload, CountsWhatItCannotShow) {
  const std::string histogram = block(2, block(1, "h") + block(9, number(2, 2)));
  const std::string delta =
      block(2, block(1, "d") + block(7, block(1, fixed64(6, 1)) + number(2, 1)));
  const std::string no_value = block(2, block(1, "n") + block(5, block(1, number(8, 1))));
  const std::string known =
      block(2, block(1, "g") +
                   block(5, block(1, fixed64(6, 9) + block(7, pair("nested", block(6, ""))))) +
                   block(99, "new"));
  const auto mixed = decode_raw_metrics(in_scope(histogram + delta + no_value + known));
  ASSERT_TRUE(mixed.has_value()) << mixed.error().message;
  ASSERT_EQ(mixed->measurements.size(), 1u);
  EXPECT_EQ(mixed->measurements[0].name, "g");
  EXPECT_EQ(std::get<std::int64_t>(mixed->measurements[0].value), 9);
  EXPECT_EQ(mixed->not_shown, 4u);
}

TEST(EntityPayload, CountsRecordsThatAreNoEntityStates) {
  const std::string plain = block(2, block(5, block(1, "a line of a log")));
  const std::string without_id =
      block(2, block(6, pair("otel.entity.event.type", block(1, "entity_state"))) +
                   block(6, pair("otel.entity.type", block(1, "host"))));
  const auto decoded = decode_raw_logs(block(1, block(2, plain + without_id)));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_TRUE(decoded->states.empty());
  EXPECT_EQ(decoded->not_shown, 2u);
}

// A peer may cut its bytes anywhere. Protobuf has no end mark: a cut between fields is a shorter
// message, every other one an error.
TEST(Payload, EveryCutOfTheMessageIsAnErrorOrAPrefix) {
  const auto all = examples();
  const auto metrics = encode_metrics(kNode, all);
  const std::vector<EntityState> states = {host(), host()};
  const auto entities = encode_entity_states(kNode, states, kTime);
  const std::string raw_metrics = decompress(metrics->compressed, metrics->raw_bytes).value();
  const std::string raw_logs = decompress(entities->compressed, entities->raw_bytes).value();
  for (std::size_t size = 0; size < raw_metrics.size(); ++size) {
    const auto decoded = decode_raw_metrics(raw_metrics.substr(0, size));
    EXPECT_EQ(decoded.has_value(), size == 0) << size;
    if (!decoded) {
      EXPECT_EQ(decoded.error().code, Errc::invalid) << size;
    }
  }
  for (std::size_t size = 0; size < raw_logs.size(); ++size)
    EXPECT_EQ(decode_raw_logs(raw_logs.substr(0, size)).has_value(), size == 0) << size;
}

TEST(Payload, EveryCutOfTheFrameIsInvalid) {
  const auto payload = encode_metrics(kNode, examples());
  ASSERT_TRUE(payload.has_value());
  for (std::size_t size = 0; size < payload->compressed.size(); ++size) {
    const auto decoded =
        decode_metrics(ByteView(payload->compressed).first(size), payload->raw_bytes);
    ASSERT_FALSE(decoded.has_value()) << size;
    EXPECT_EQ(decoded.error().code, Errc::invalid) << size;
  }
}

TEST(Payload, EveryFlippedByteIsHandled) {
  const auto payload = encode_metrics(kNode, examples());
  const std::string raw = decompress(payload->compressed, payload->raw_bytes).value();
  for (std::size_t at = 0; at < raw.size(); ++at)
    for (const char mask : {'\x01', '\x07', '\x80', '\xff'}) {
      std::string damaged = raw;
      damaged[at] = static_cast<char>(damaged[at] ^ mask);
      const auto metrics = decode_raw_metrics(damaged);
      if (!metrics) {
        EXPECT_EQ(metrics.error().code, Errc::invalid);
      }
      const auto logs = decode_raw_logs(damaged);
      if (!logs) {
        EXPECT_EQ(logs.error().code, Errc::invalid);
      }
    }
}

TEST(Payload, RefusesABomb) {
  // 64 MiB of zeros in a few kilobytes, declared honestly, small, and not at all.
  const Bytes bomb = pack(std::string(64u << 20, '\0'));
  ASSERT_LT(bomb.size(), kPayloadCompressedBytesMax);
  EXPECT_EQ(decode_metrics(bomb, 64u << 20).error().message,
            "the payload declares 67108864 bytes uncompressed, at most 16777216 are allowed");
  EXPECT_EQ(decode_metrics(bomb, 1000).error().message,
            "the payload's zstd frame states 67108864 bytes, its header 1000");

  // The same content, but the frame's header says 1,000 bytes: what decides is the buffer.
  const Bytes small = pack(std::string(1000, '\0'));
  Bytes liar = pack(std::string(100'000, '\0'));
  ASSERT_EQ(small[4], std::byte{0x60});  // single segment, two bytes of content size
  ASSERT_EQ(liar[4], std::byte{0xa0});   // single segment, four bytes
  for (std::size_t i = 0; i < 4; ++i) liar[5 + i] = static_cast<std::byte>(1000u >> (8 * i));
  const auto lied = decode_metrics(liar, 1000);
  ASSERT_FALSE(lied.has_value());
  EXPECT_EQ(lied.error().code, Errc::invalid);
}

TEST(Payload, RefusesWhatIsNotExactlyOneFrameOfTheDeclaredSize) {
  const auto payload = encode_metrics(kNode, examples());
  EXPECT_FALSE(decode_metrics(payload->compressed, payload->raw_bytes + 1).has_value());
  EXPECT_FALSE(decode_metrics(payload->compressed, payload->raw_bytes - 1).has_value());
  Bytes longer = payload->compressed;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_metrics(longer, payload->raw_bytes).has_value());
  Bytes twice = payload->compressed;
  twice.insert(twice.end(), payload->compressed.begin(), payload->compressed.end());
  EXPECT_FALSE(decode_metrics(twice, payload->raw_bytes).has_value());
  EXPECT_EQ(decode_metrics(Bytes(kPayloadCompressedBytesMax + 1), 10).error().message,
            "the payload is 1048577 bytes, at most 1048576 are allowed");
  EXPECT_FALSE(decode_metrics(as_bytes("garbage"), 7).has_value());
}

// Two bytes of input would become an object of a hundred: the count is checked before any is made.
TEST(Payload, BoundsTheNumberAndDepthOfMessages) {
  std::string empty_points;
  for (std::uint32_t i = 0; i < kPayloadMessagesMax; ++i) empty_points += block(1, "");
  const auto many = decode_raw_metrics(in_scope(block(2, block(5, empty_points))));
  ASSERT_FALSE(many.has_value());
  EXPECT_EQ(many.error().message, "the payload has more than 262144 protobuf messages");

  std::string nested = block(1, "x");
  for (int i = 0; i < kPayloadNestingMax; ++i) nested = block(5, block(1, nested));
  const auto deep = decode_raw_logs(block(1, block(2, block(2, block(5, nested)))));
  ASSERT_FALSE(deep.has_value());
  EXPECT_EQ(deep.error().message, "the payload nests messages deeper than 64");

  std::string points;
  for (int i = 0; i < 60'000; ++i) points += block(1, fixed64(6, 1));
  const auto repeated =
      decode_raw_metrics(in_scope(block(2, block(1, std::string(1000, 'n')) + block(5, points))));
  ASSERT_FALSE(repeated.has_value());
  EXPECT_EQ(repeated.error().code, Errc::invalid);
}

TEST(Payload, RefusesSeveralResourcesAndTextsThatAreNoUtf8) {
  EXPECT_EQ(decode_raw_metrics(block(1, "") + block(1, "")).error().message,
            "the payload is about 2 resources, a batch is about one");
  EXPECT_EQ(decode_raw_metrics(in_scope(block(2, block(1, "\xff")))).error().message,
            "the payload has a text at byte 8 (field 1) that is no UTF-8");
}

// Mountpoints and devices are bytes to the kernel; one odd name must not cost the whole batch.
TEST(Payload, SendsTextsThatAreNoUtf8AsReplacementCharacters) {
  const std::vector<Measurement> odd = {counter("x", 1, {{"mount", "/a\xff"}})};
  const auto payload = encode_metrics(kNode, odd);
  ASSERT_TRUE(payload.has_value()) << payload.error().message;
  const auto decoded = decode_metrics(payload->compressed, payload->raw_bytes);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(find_text(decoded->measurements[0].attributes, "mount"), "/a\xef\xbf\xbd");
}

TEST(Payload, EncodesNothingEmptyAndNothingOverALimit) {
  EXPECT_EQ(encode_metrics(kNode, {}).error().code, Errc::invalid);
  EXPECT_EQ(encode_entity_states(kNode, std::vector<EntityState>{{"host", {}, {}, {}}}, kTime)
                .error()
                .code,
            Errc::invalid);
  const std::vector<Measurement> many(kPayloadRecordsMax + 1, gauge("x", 1));
  EXPECT_EQ(encode_metrics(kNode, many).error().code, Errc::exhausted);
}

TEST(Payload, SplitsSoThatEveryRunFits) {
  // Texts that do not compress: the bound must hold for the worst content.
  std::vector<Measurement> all;
  std::uint64_t state = 1;
  for (int i = 0; i < 8000; ++i) {
    std::string noise;
    for (int k = 0; k < 300; ++k) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      noise += static_cast<char>(' ' + (state >> 33) % 95);
    }
    all.push_back(counter("x", i, {{"noise", noise}}));
  }
  EXPECT_EQ(encode_metrics(kNode, all).error().code, Errc::exhausted);
  std::vector<Measurement> read_back;
  const auto runs = split_for_payload(kNode, std::span<const Measurement>(all));
  EXPECT_GT(runs.size(), 1u);
  for (const auto& run : runs) {
    const auto payload = encode_metrics(kNode, run);
    ASSERT_TRUE(payload.has_value()) << payload.error().message;
    const auto decoded = decode_metrics(payload->compressed, payload->raw_bytes);
    ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
    read_back.insert(read_back.end(), decoded->measurements.begin(), decoded->measurements.end());
  }
  EXPECT_EQ(read_back, all);
  EXPECT_EQ(split_for_payload(kNode, std::span<const Measurement>()).size(), 0u);
  EXPECT_EQ(split_for_payload(kNode, std::span<const Measurement>(all).first(3)).size(), 1u);
}

TEST(Payload, LogEventsAreReadAsTheyWereWritten) {
  LogEvent event;
  event.time = wall_from_ms(1'800'000'000'000);
  event.observed = wall_from_ms(1'800'000'000'500);
  event.severity = Severity::error;
  event.severity_text = "error";
  event.body = "no \xFF UTF-8";
  event.attributes = {{"log.file.path", "/var/log/a"}, {"process.pid", std::int64_t{7}}};
  LogEvent later = event;
  later.time = {};
  const std::vector<LogEvent> events{event, later};
  auto payload = encode_logs(kNode, events);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_EQ(payload->records, 2u);
  EXPECT_EQ(payload->first, event.time);
  EXPECT_EQ(payload->last, event.observed) << "of one without a time";
  auto decoded = decode_logs(payload->compressed, payload->raw_bytes);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->resource, kNode);
  ASSERT_EQ(decoded->events.size(), 2u);
  EXPECT_EQ(decoded->events[0].body, "no \xEF\xBF\xBD UTF-8");
  event.body = decoded->events[0].body;
  EXPECT_EQ(decoded->events[0], event);
  EXPECT_FALSE(encode_logs(kNode, {}));
  EXPECT_EQ(split_for_payload(kNode, std::span<const LogEvent>(events)).size(), 1u);
}

}  // namespace
}  // namespace postern
