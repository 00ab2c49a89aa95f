#include <gtest/gtest.h>

#include "base/random.h"
#include "wire/batch.h"
#include "wire/coverage.h"
#include "wire/frame.h"

namespace postern::wire {
namespace {

Digest digest_of(std::uint8_t value) {
  Digest digest;
  digest.fill(static_cast<std::byte>(value));
  return digest;
}

StreamKey a_stream(Lane lane = Lane::metric) {
  StreamKey key;
  key.node.bytes.fill(std::byte{0xab});
  key.epoch = {3, 0x1122334455667788};
  key.lane = lane;
  return key;
}

Bytes a_batch(std::string_view payload = "payload") {
  BatchHeader header;
  header.stream = a_stream();
  header.sequence = 7;
  header.kind = PayloadKind::logs;
  header.previous = digest_of(1);
  header.first = wall_from_ms(1000);
  header.last = wall_from_ms(2000);
  header.sealed = wall_from_ms(2001);
  header.records = 2;
  header.payload_bytes = header.raw_bytes = static_cast<std::uint32_t>(payload.size());
  header.payload_hash = digest_of(2);
  header.signature.fill(std::byte{9});
  Writer out;
  out.bytes(encode_signed_part(header)).bytes(header.signature).bytes(as_bytes(payload));
  return out.take();
}

TEST(Batch, HasItsFieldsWhereTheFormatSaysTheyAre) {
  const Bytes batch = a_batch();
  ASSERT_EQ(batch.size(), 216u + 7);
  EXPECT_EQ(as_text(ByteView(batch).first(4)), "PSTB");
  EXPECT_EQ(batch[4], std::byte{1});
  EXPECT_EQ(batch[5], std::byte{3});
  EXPECT_EQ(batch[8], std::byte{0xab});
  EXPECT_EQ(batch[24], std::byte{3});
  EXPECT_EQ(batch[32], std::byte{0x88});
  EXPECT_EQ(batch[40], std::byte{7});
  EXPECT_EQ(batch[48], std::byte{1});
  EXPECT_EQ(batch[120], std::byte{2});
  EXPECT_EQ(batch[152], std::byte{9});
}

TEST(Batch, ReadsBackWhatWasWritten) {
  const Bytes bytes = a_batch();
  auto batch = read_batch(bytes);
  ASSERT_TRUE(batch) << batch.error().message;
  EXPECT_EQ(batch->header.stream, a_stream());
  EXPECT_EQ(batch->header.sequence, 7u);
  EXPECT_EQ(batch->header.last, wall_from_ms(2000));
  EXPECT_EQ(as_text(batch->payload), "payload");
  EXPECT_EQ(encode_signed_part(batch->header), to_bytes(batch->signed_part));
}

// A hop reads batches that a stranger cut short: never a batch, never a crash.
TEST(Batch, EveryTornTailIsRefused) {
  const Bytes bytes = a_batch();
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(read_batch(ByteView(bytes).first(size))) << size;
}

TEST(Batch, RefusesWhatTheFormatForbids) {
  const auto with = [](std::size_t offset, std::uint8_t value) {
    Bytes bytes = a_batch();
    bytes[offset] = static_cast<std::byte>(value);
    return bytes;
  };
  EXPECT_FALSE(read_batch(with(0, 'X')));     // magic
  EXPECT_FALSE(read_batch(with(4, 2)));       // version
  EXPECT_FALSE(read_batch(with(5, 4)));       // lane
  EXPECT_FALSE(read_batch(with(7, 2)));       // compression
  EXPECT_FALSE(read_batch(with(28, 1)));      // flags
  EXPECT_FALSE(read_batch(with(40, 0)));      // sequence 0
  EXPECT_FALSE(read_batch(with(40, 1)));      // the first names a predecessor
  EXPECT_FALSE(read_batch(with(110, 0x20)));  // payload above 1 MiB
  EXPECT_FALSE(read_batch(with(112, 1)));     // raw size of an uncompressed payload
  EXPECT_FALSE(read_batch(with(116, 1)));     // reserved
  EXPECT_TRUE(read_batch(with(6, 77)));       // a hop does not look inside (B13)
}

TEST(Stamps, GrowByOneAHopAndStopAtTheLimit) {
  Bytes message = write_stamped({}, as_bytes("body"));
  for (std::size_t hop = 0; hop < kStampsMax; ++hop) {
    auto next = add_stamp(message, {a_stream().node, wall_from_ms(static_cast<std::int64_t>(hop))});
    ASSERT_TRUE(next);
    message = *next;
  }
  EXPECT_EQ(add_stamp(message, {}).error().code, Errc::exhausted);
  auto read = read_stamped(message);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->stamps.size(), kStampsMax);
  EXPECT_EQ(read->stamps[31].received, wall_from_ms(31));
  EXPECT_EQ(as_text(read->body), "body");
  EXPECT_FALSE(read_stamped(ByteView(message).first(20)));
}

TEST(Gap, RoundTripsAndRefusesNonsense) {
  GapRecord gap;
  gap.stream = a_stream(Lane::event);
  gap.first = 5;
  gap.last = 9;
  gap.at_last = digest_of(4);
  gap.records = 100;
  EXPECT_EQ(decode_gap(encode(gap)), gap);
  gap.last = 4;
  EXPECT_FALSE(decode_gap(encode(gap)));
  EXPECT_FALSE(decode_gap(as_bytes("short")));
}

TEST(Gap, SaysWhyInWords) {
  EXPECT_STREQ(to_string(GapRecord::Reason::shed), "shed for space");
  EXPECT_STREQ(to_string(GapRecord::Reason::set_back), "state folder set back");
  EXPECT_STREQ(to_string(static_cast<GapRecord::Reason>(77)), "unknown");
}

TEST(Release, RoundTripsAndRefusesNonsense) {
  ReleaseRecord release{a_stream(), 5, 9, digest_of(4), {}};
  release.parent.bytes.fill(std::byte{0x1c});
  EXPECT_EQ(decode_release(encode(release)), release);
  release.first = 0;
  EXPECT_FALSE(decode_release(encode(release)));
  release.first = 10;
  EXPECT_FALSE(decode_release(encode(release)));
  Bytes longer = encode(ReleaseRecord{a_stream(), 5, 9, digest_of(4), {}});
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_release(longer));
}

TEST(EpochOpening, RoundTrips) {
  EpochOpening opening;
  opening.previous = {2, 99};
  opening.reason = EpochOpening::Reason::unreadable;
  opening.lanes[1] = {12, digest_of(3)};
  EXPECT_EQ(decode_epoch_opening(encode(opening)), opening);
  EXPECT_FALSE(decode_epoch_opening(as_bytes("short")));
}

TEST(Coverage, RoundTripsAndWantsAscendingIntervals) {
  const Coverage coverage{a_stream(), {{1, 4, digest_of(1)}, {6, 6, digest_of(2)}}};
  const std::vector<Coverage> list{coverage, {a_stream(Lane::state), {}}};
  EXPECT_EQ(decode_coverages(encode_coverages(list)), list);
  for (auto bad : {Interval{0, 3, {}}, Interval{5, 4, {}}})
    EXPECT_FALSE(decode_coverages(encode_coverages(std::vector<Coverage>{{a_stream(), {bad}}})));
  const Coverage touching{a_stream(), {{1, 4, {}}, {5, 6, {}}}};
  EXPECT_FALSE(decode_coverages(encode_coverages(std::vector<Coverage>{touching})));
}

// A stream full of holes must not make a message that ends the channel (W11).
TEST(Coverage, AnyListIsCutIntoMessagesWithinTheirLimit) {
  Coverage holes{a_stream(), {}};
  for (std::uint64_t i = 0; i < 64; ++i)
    holes.intervals.push_back({2 * i + 1, 2 * i + 1, digest_of(1)});
  const std::vector<Coverage> list(600, holes);
  std::size_t count = 0;
  for (const Bytes& message : encode_coverage_messages(list)) {
    EXPECT_LE(message.size(), kControlMessageMax);
    auto decoded = decode_coverages(message);
    ASSERT_TRUE(decoded);
    count += decoded->size();
  }
  EXPECT_EQ(count, list.size());
  EXPECT_TRUE(encode_coverage_messages({}).empty());
}

TEST(Settled, SignedPartIsWhatWasSent) {
  Settled settled;
  settled.group.bytes.fill(std::byte{1});
  settled.server.bytes.fill(std::byte{2});
  settled.delegation = 4;
  settled.generation = 1;
  settled.coverage = {a_stream(), {{1, 10, digest_of(8)}}};
  Bytes signed_part = encode_signed_part(settled);
  Writer out;
  out.bytes(signed_part).bytes(Signature{});
  const Bytes body = out.take();
  auto view = read_settled(body);
  ASSERT_TRUE(view) << view.error().message;
  EXPECT_EQ(view->settled, settled);
  EXPECT_EQ(to_bytes(view->signed_part), signed_part);
  for (std::size_t size = 0; size < body.size(); ++size)
    EXPECT_FALSE(read_settled(ByteView(body).first(size)));
}

Bytes all_frames(FrameWriter& writer) {
  Bytes out;
  while (writer.next_frame(out)) {
  }
  return out;
}

TEST(Frames, LargeMessagesComeBackWholeHoweverTheyAreCut) {
  FrameWriter writer;
  Bytes large(200'000);
  SeededRandom(1).fill(large);
  writer.queue(make_message(Type::batch, large, 3));
  const Bytes stream = all_frames(writer);
  SeededRandom random(2);
  FrameReader reader;
  reader.raise_limit();
  for (std::size_t at = 0; at < stream.size();) {
    const std::size_t size = std::min<std::size_t>(1 + random.below(40'000), stream.size() - at);
    ASSERT_TRUE(reader.feed(ByteView(stream).subspan(at, size)));
    at += size;
  }
  auto message = reader.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->type, Type::batch);
  EXPECT_EQ(to_bytes(message->bytes()), large);
  EXPECT_TRUE(reader.idle());
}

// An alert must not wait behind a batch of metrics that is being sent already (W13).
TEST(Frames, AnImportantLaneOvertakesBetweenFrames) {
  FrameWriter writer;
  writer.queue(make_message(Type::batch, Bytes(200'000), 3));
  Bytes stream;
  ASSERT_TRUE(writer.next_frame(stream));
  writer.queue(make_message(Type::batch, Bytes(10), 1));
  const Bytes rest = all_frames(writer);
  stream.insert(stream.end(), rest.begin(), rest.end());
  FrameReader reader;
  reader.raise_limit();
  ASSERT_TRUE(reader.feed(stream));
  EXPECT_EQ(reader.next()->lane, 1);
  EXPECT_EQ(reader.next()->lane, 3);
}

TEST(Frames, RefuseWhatTheFormatForbids) {
  const auto feed = [](std::initializer_list<int> header, std::size_t body = 0) {
    Bytes bytes;
    for (int b : header) bytes.push_back(static_cast<std::byte>(b));
    bytes.resize(bytes.size() + body);
    FrameReader reader;
    return reader.feed(bytes).has_value();
  };
  EXPECT_TRUE(feed({8, 0, 0, 0, 4, 1, 0, 0}, 8));
  EXPECT_FALSE(feed({1, 0, 1, 0, 4, 1, 0, 0}));   // 65,537 bytes
  EXPECT_FALSE(feed({0, 0, 0, 0, 99, 1, 0, 0}));  // unknown and critical
  EXPECT_TRUE(feed({0, 0, 0, 0, 99, 0, 0, 0}));   // unknown, may be skipped
  EXPECT_FALSE(feed({0, 0, 0, 0, 4, 4, 0, 0}));   // unknown flag
  EXPECT_FALSE(feed({0, 0, 0, 0, 4, 1, 4, 0}));   // lane 4
  EXPECT_FALSE(feed({0, 0, 0, 0, 4, 1, 0, 1}));   // reserved
}

TEST(Frames, AStrangersFirstMessageIsBounded) {
  FrameWriter writer;
  writer.queue(make_message(Type::hello, Bytes(kFirstMessageMax + 1)));
  const Bytes stream = all_frames(writer);
  FrameReader strict;
  EXPECT_FALSE(strict.feed(stream));
  EXPECT_FALSE(strict.feed(stream)) << "a failed reader stays failed";
  FrameReader after_welcome;
  after_welcome.raise_limit();
  EXPECT_TRUE(after_welcome.feed(stream));
}

// Garbage must end in an error or in messages, and hold no more memory than the limits say.
TEST(Frames, GarbageNeverCrashes) {
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    SeededRandom random(seed);
    Bytes bytes(1 + random.below(300));
    random.fill(bytes);
    FrameReader reader;
    (void)reader.feed(bytes);
    (void)read_batch(bytes);
    (void)read_stamped(bytes);
    (void)read_settled(bytes);
    (void)decode_coverages(bytes);
    (void)decode_gap(bytes);
  }
}

}  // namespace
}  // namespace postern::wire
