#include "sim/oracle.h"

#include <gtest/gtest.h>

#include <cstring>

#include "identity/key.h"
#include "sim/fake_key.h"

namespace postern::sim {
namespace {

/// Batches made by hand: the canaries of the simulator. Each test first shows that the oracle is
/// content with what is right.
class OracleTest : public testing::Test {
 protected:
  OracleTest() {
    oracle_.meet(0, key_.node_id(), "a1", false);
    oracle_.meet(1, other_.node_id(), "gw1", false);
  }
  struct Batch {
    BatchName name;
    Digest hash{}, payload{};
    Bytes bytes;
  };
  Batch batch(std::uint64_t sequence, const std::string& content, std::uint64_t number,
              wire::Epoch epoch = {1, 7}) {
    wire::BatchHeader header;
    header.stream = {key_.node_id(), epoch, wire::Lane::metric};
    header.sequence = sequence;
    header.records = 1;
    header.payload_bytes = header.raw_bytes = static_cast<std::uint32_t>(content.size());
    header.payload_hash = sha256(as_bytes(content));
    const Bytes signed_part = encode_signed_part(header);
    Writer out;
    out.bytes(signed_part).bytes(key_.sign(wire::kBatchContext, signed_part));
    out.bytes(as_bytes(content));
    oracle_.observed(key_.node_id(), header.payload_hash, {{false, "m", number}});
    return {{header.stream, sequence}, sha256(signed_part), header.payload_hash, out.take()};
  }
  /// As batch.md#B28 draws it: the whole batch is the payload.
  Batch sealed_again(const Batch& first, wire::Epoch epoch) {
    wire::BatchHeader header;
    header.stream = {key_.node_id(), epoch, wire::Lane::metric};
    header.sequence = 1;
    header.kind = wire::PayloadKind::sealed_again;
    header.payload_bytes = header.raw_bytes = static_cast<std::uint32_t>(first.bytes.size());
    header.payload_hash = sha256(first.bytes);
    const Bytes signed_part = encode_signed_part(header);
    Writer out;
    out.bytes(signed_part).bytes(key_.sign(wire::kBatchContext, signed_part)).bytes(first.bytes);
    return {{header.stream, 1}, sha256(signed_part), header.payload_hash, out.take()};
  }
  void seal(const Batch& batch, const std::string& file = "/state/spool/1.log") {
    oracle_.on_write(0, key_.node_id(), file, batch.bytes);
    oracle_.on_sync(0, file);
    oracle_.turn_ended(0, true);
  }
  void apply(const Batch& batch) {
    oracle_.on_applied(batch.name, batch.hash, batch.payload, wire::PayloadKind::metrics, false);
  }
  void send(const Batch& batch) {
    Bytes message{std::byte{0}};
    message.insert(message.end(), batch.bytes.begin(), batch.bytes.end());
    oracle_.on_batch_sent(0, message);
  }
  std::string promise() { return oracle_.broken() ? oracle_.broken()->promise : "none"; }

  Trace trace_{Trace::Wanted::digest};
  Coverage coverage_;
  Oracle oracle_{trace_, coverage_};
  PrivateKey key_ = PrivateKey::generate(), other_ = PrivateKey::generate();
};

TEST_F(OracleTest, IsContentWhenEverythingArrivedOnce) {
  const Batch first = batch(1, "one", 1), second = batch(2, "two", 2);
  for (const Batch& each : {first, second}) {
    seal(each);
    send(each);
    apply(each);
  }
  oracle_.on_remove(0, "/state/spool/1.log");
  oracle_.check_delivery();
  oracle_.check_current(key_.node_id(), {{{"m", 2}}, {}});
  EXPECT_EQ(promise(), "none");
  EXPECT_EQ(oracle_.promised(), 2u);
}

TEST_F(OracleTest, SeesALostBatch) {
  seal(batch(1, "one", 1));
  oracle_.check_delivery();
  EXPECT_EQ(promise(), "D3");
}

TEST_F(OracleTest, PromisesNothingThatWasNotSynced) {
  const Batch never = batch(1, "one", 1);
  oracle_.on_write(0, key_.node_id(), "/state/spool/1.log", never.bytes);
  oracle_.turn_ended(0, true);
  oracle_.machine_ended(0);
  oracle_.check_delivery();
  EXPECT_EQ(promise(), "none");
}

TEST_F(OracleTest, SeesABatchThatIsSentBeforeItsSync) {
  const Batch early = batch(1, "one", 1);
  oracle_.on_write(0, key_.node_id(), "/state/spool/1.log", early.bytes);
  send(early);
  EXPECT_EQ(promise(), "D1");
}

TEST_F(OracleTest, SeesADoubledBatch) {
  const Batch one = batch(1, "one", 1);
  seal(one);
  apply(one);
  EXPECT_EQ(promise(), "none");
  apply(one);
  EXPECT_EQ(promise(), "D4");
}

TEST_F(OracleTest, SeesAnObservationThatTakesEffectTwice) {
  const Batch one = batch(1, "one", 1), again = batch(1, "one", 1, {2, 8});
  seal(one);
  seal(again);
  apply(one);
  apply(again);
  EXPECT_EQ(promise(), "D4");
}

TEST_F(OracleTest, ReadsWhatIsInABatchThatWasSealedAgain) {
  const Batch one = batch(1, "one", 1), again = sealed_again(one, {2, 8});
  seal(one);
  seal(again);
  apply(again);
  oracle_.on_applied(one.name, one.hash, one.payload, wire::PayloadKind::metrics, false, true);
  oracle_.check_delivery();
  EXPECT_EQ(promise(), "none");
  const Batch third = sealed_again(one, {3, 9});
  seal(third);
  apply(third);
  EXPECT_EQ(promise(), "D4");
}

TEST_F(OracleTest, SeesThatWhatIsKnownIsNot) {
  const Batch one = batch(1, "one", 1);
  seal(one);
  oracle_.on_applied(one.name, one.hash, one.payload, wire::PayloadKind::metrics, false, true);
  EXPECT_EQ(promise(), "D4");
}

TEST_F(OracleTest, SeesAnAlteredBatch) {
  Batch one = batch(1, "one", 1);
  seal(one);
  one.hash[0] ^= std::byte{1};
  apply(one);
  EXPECT_EQ(promise(), "D6");
}

TEST_F(OracleTest, SeesANumberThatIsGivenTwice) {
  seal(batch(1, "one", 1));
  seal(batch(1, "other", 2));
  EXPECT_EQ(promise(), "D1");
}

TEST_F(OracleTest, SeesAnEpochThatIsOpenedTwiceEvenInADamagedFolder) {
  oracle_.excuse(key_.node_id(), Oracle::Excuse::rot);
  const auto opening = [&](std::uint32_t ordinal, const char* content) {
    Batch made = batch(1, content, 1);
    wire::BatchHeader header;
    header.stream = {key_.node_id(), {ordinal, 9}, wire::Lane::state};
    header.kind = wire::PayloadKind::epoch_opening;
    header.sequence = 1;
    header.payload_bytes = header.raw_bytes = static_cast<std::uint32_t>(std::strlen(content));
    header.payload_hash = made.payload;
    const Bytes signed_part = encode_signed_part(header);
    Writer out;
    out.bytes(signed_part).bytes(key_.sign(wire::kBatchContext, signed_part));
    out.bytes(as_bytes(std::string_view(content)));
    made.bytes = out.take();
    seal(made);
  };
  opening(1, "one");
  opening(1, "one");
  opening(2, "two");
  EXPECT_FALSE(oracle_.broken());
  opening(1, "three");
  ASSERT_TRUE(oracle_.broken());
  EXPECT_EQ(oracle_.broken()->promise, std::string("D1"));
}

TEST_F(OracleTest, SeesADeletionBeforeSettled) {
  seal(batch(1, "one", 1));
  oracle_.on_remove(0, "/state/spool/1.log");
  EXPECT_EQ(promise(), "D3");
}

TEST_F(OracleTest, LetsACopyGoWhileAnotherStays) {
  seal(batch(1, "one", 1), "/state/spool/1.log");
  seal(batch(1, "one", 1), "/state/spool/2.log");
  oracle_.on_remove(0, "/state/spool/1.log");
  EXPECT_EQ(promise(), "none");
  oracle_.on_remove(0, "/state/spool/2.log");
  EXPECT_EQ(promise(), "D3");
}

TEST_F(OracleTest, SeesAGapThatNothingExplains) {
  const Batch one = batch(1, "one", 1);
  seal(one);
  wire::GapRecord gap;
  gap.stream = one.name.stream;
  gap.first = gap.last = 1;
  gap.reason = wire::GapRecord::Reason::unreadable;
  oracle_.excuse(key_.node_id(), Oracle::Excuse::rot);
  oracle_.on_gap(key_.node_id(), gap);
  oracle_.check_delivery();
  EXPECT_EQ(promise(), "none");
  gap.reason = wire::GapRecord::Reason::shed;
  oracle_.on_gap(key_.node_id(), gap);
  EXPECT_EQ(promise(), "D5");
}

TEST_F(OracleTest, SeesAGapBySomebodyElse) {
  const Batch one = batch(1, "one", 1);
  seal(one);
  wire::GapRecord gap;
  gap.stream = one.name.stream;
  gap.first = gap.last = 1;
  oracle_.excuse(key_.node_id(), Oracle::Excuse::small_disk);
  oracle_.on_gap(other_.node_id(), gap);
  EXPECT_EQ(promise(), "D5");
}

TEST_F(OracleTest, SeesAnOlderValueInTheNewestsPlace) {
  const Batch first = batch(1, "one", 1), second = batch(2, "two", 2);
  for (const Batch& each : {second, first}) {
    seal(each);
    apply(each);
  }
  oracle_.check_current(key_.node_id(), {{{"m", 2}}, {}});
  EXPECT_EQ(promise(), "none");
  oracle_.check_current(key_.node_id(), {{{"m", 1}}, {}});
  EXPECT_EQ(promise(), "D4");
}

TEST_F(OracleTest, OrdersTheEpochsOfClonesByTheirRandomPart) {  // batch.md#B50
  const Batch higher = batch(1, "one", 1, {2, 8}), lower = batch(5, "two", 2, {2, 7});
  for (const Batch& each : {higher, lower}) {
    seal(each);
    apply(each);
  }
  oracle_.check_current(key_.node_id(), {{{"m", 1}}, {}});
  EXPECT_EQ(promise(), "none");
  oracle_.check_current(key_.node_id(), {{{"m", 2}}, {}});
  EXPECT_EQ(promise(), "D4");
}

}  // namespace
}  // namespace postern::sim
