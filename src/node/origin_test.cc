#include "node/origin.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/fake_disk.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::kWall;
using testing_support::payload_of;
using wire::Lane;
using wire::PayloadKind;
using What = Origin::Done::What;

const std::filesystem::path kState = "/state";

wire::BatchView view_of(const SharedBytes& message) {
  return *wire::read_batch(wire::read_stamped(*message)->body);
}

/// A node's own part of a spool and relay: what is written is durable at once.
class Shelf final : public Origin::Holdings {
 public:
  std::vector<Origin::Range> held(const wire::StreamKey& stream) const override {
    NumberSet numbers;
    for (const auto& [key, sealed] : batches)
      if (key.first == stream) numbers.add({key.second, key.second});
    return numbers.ranges();
  }
  std::vector<Origin::Range> settled(const wire::StreamKey& stream) const override {
    const auto found = settled_ranges.find(stream);
    return found == settled_ranges.end() ? std::vector<Origin::Range>{} : found->second;
  }
  std::vector<wire::ReleaseRecord> released(const wire::StreamKey& stream,
                                            Origin::Range range) const override {
    std::vector<wire::ReleaseRecord> found;
    for (const wire::ReleaseRecord& release : releases)
      if (release.stream == stream && release.first <= range.last && release.last >= range.first)
        found.push_back(release);
    return found;
  }
  std::vector<Origin::Range> lost_above(const wire::StreamKey&, Origin::Range) const override {
    return lost;
  }
  std::optional<Digest> hash(const wire::StreamKey& stream, std::uint64_t n) const override {
    for (const auto* shelf : {&batches, &tails})
      if (const auto found = shelf->find({stream, n}); found != shelf->end())
        return found->second.hash;
    return std::nullopt;
  }

  std::map<std::pair<wire::StreamKey, std::uint64_t>, Outbox::Sealed> batches, tails;
  std::map<wire::StreamKey, std::vector<Origin::Range>> settled_ranges;
  std::vector<wire::ReleaseRecord> releases;
  std::vector<Origin::Range> lost;
};

/// One life of a node after another on the same disk. The spool brings back what was forgotten.
class OriginTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(disk_.make_directories(kState));
    start();
    run();
  }

  void start(std::uint64_t damaged = 0, Origin::Limits limits = Origin::Limits{}) {
    origin_.reset();
    shelf_.batches = spool_;
    relay::Relay relay(id_, {});
    for (const auto& [key, sealed] : spool_)
      relay.added({sealed.stream, sealed.sequence, sealed.hash, {}, nullptr});
    auto choice = choose_epoch(disk_, kState, id_, relay, damaged, random_);
    ASSERT_TRUE(choice) << choice.error().message;
    origin_ = std::make_unique<Origin>(key_, shelf_, random_, *choice, limits);
    origin_->resume(relay);
    forget();
  }

  void forget() {
    for (const Origin::Done& done : origin_->take_done()) {
      done_.push_back(done);
      for (std::uint64_t n = done.range.first; n <= done.range.last; ++n)
        shelf_.batches.erase({done.stream, n});
    }
  }

  /// Does one thing of what is to be done; false when there is nothing.
  bool act() {
    origin_->step(kWall);
    forget();
    if (auto bytes = origin_->file_to_write()) {
      if (disk_.write_file(epoch_file(kState), *bytes, 0600))
        origin_->file_durable();
      else
        origin_->file_failed();
      return true;
    }
    for (const Lane lane : wire::kLanes) {
      if (origin_->next_to_write(lane) != nullptr) {
        const Outbox::Sealed sealed = origin_->written(lane);
        shelf_.batches[{sealed.stream, sealed.sequence}] = sealed;
        spool_[{sealed.stream, sealed.sequence}] = sealed;
        order_.push_back(sealed);
        forget();
        return true;
      }
      if (const auto wanted = origin_->next_to_read(lane)) {
        const auto found = shelf_.batches.find({wanted->stream, wanted->sequence});
        if (unreadable_.contains(wanted->sequence)) {
          if (found != shelf_.batches.end()) shelf_.batches.erase(found);
          origin_->read_unreadable(*wanted);
        } else if (found == shelf_.batches.end()) {
          origin_->read_gone(*wanted);
        } else {
          origin_->read(*wanted, *SharedBytes(found->second.message), kWall);
        }
        return true;
      }
    }
    return false;
  }
  void run() {
    for (int i = 0; i < 10'000; ++i)
      if (!act()) return;
    FAIL() << "it never comes to rest";
  }

  bool observe(Lane lane, std::string_view text) {
    std::vector<Origin::Observation> sample;
    sample.push_back(
        {lane, lane == Lane::metric ? PayloadKind::metrics : PayloadKind::logs, payload_of(text)});
    return origin_->on_sample(std::move(sample), kWall);
  }
  void make(Lane lane, int count, const std::string& text) {
    for (int i = 1; i <= count; ++i) ASSERT_TRUE(observe(lane, text + std::to_string(i)));
    run();
  }

  /// The header of batch `n` of a stream of ours that another life of ours made.
  /// Of another life that was this one up to the batch before.
  Bytes evidence(const wire::StreamKey& stream, std::uint64_t n) const {
    Outbox other(key_, stream.epoch);
    Outbox::Sealed sealed;
    for (std::uint64_t i = 1; i <= n; ++i)
      sealed = other.seal(stream.lane, PayloadKind::metrics, payload_of("other"), kWall);
    wire::BatchHeader header = wire::read_batch(wire::read_stamped(*sealed.message)->body)->header;
    if (const auto before = spool_.find({stream, n - 1}); before != spool_.end())
      header.previous = before->second.hash;
    Writer out;
    const Bytes signed_part = wire::encode_signed_part(header);
    out.bytes(signed_part).bytes(key_.sign(wire::kBatchContext, signed_part));
    return out.take();
  }
  /// The payloads of a stream on the shelf, in order.
  std::vector<std::string> texts(const wire::StreamKey& stream) const {
    std::vector<std::string> found;
    for (const auto& [key, sealed] : shelf_.batches)
      if (key.first == stream) found.push_back(postern::to_string(content_of(sealed.message)));
    return found;
  }
  /// The payload as it was first sealed.
  static ByteView content_of(const SharedBytes& message) {
    const auto batch = view_of(message);
    if (batch.header.kind != PayloadKind::sealed_again) return batch.payload;
    return wire::read_sealed_again(batch).value().payload;
  }
  std::vector<wire::GapRecord> gaps() const {
    std::vector<wire::GapRecord> found;
    for (const Outbox::Sealed& sealed : order_)
      if (const auto batch = view_of(sealed.message); batch.header.kind == PayloadKind::gap)
        found.push_back(*wire::decode_gap(batch.payload));
    return found;
  }
  static wire::GapRecord gap(const wire::StreamKey& stream, std::uint64_t first, std::uint64_t last,
                             wire::GapRecord::Reason reason = wire::GapRecord::Reason::shed) {
    wire::GapRecord record;
    record.stream = stream;
    record.first = first;
    record.last = last;
    record.reason = reason;
    record.records = last - first + 1;
    return record;
  }

  PrivateKey key_ = PrivateKey::generate();
  const NodeId id_ = key_.node_id();
  FakeDisk disk_;
  SeededRandom random_{7};
  Shelf shelf_;
  std::map<std::pair<wire::StreamKey, std::uint64_t>, Outbox::Sealed> spool_;
  std::vector<Outbox::Sealed> order_;  // as they came to the disk
  std::vector<Origin::Done> done_;
  std::set<std::uint64_t> unreadable_;
  std::unique_ptr<Origin> origin_;
};

// ---- Queue

// Whoever reserves writes the number down first: no other batch may ever get it.
TEST_F(OriginTest, AReservedNumberIsForNobodyElseWhateverHappensMeanwhile) {
  const auto reserved = origin_->reserve_event();
  ASSERT_TRUE(reserved);
  EXPECT_FALSE(origin_->reserve_event()) << "it is given once";
  const wire::Epoch before = origin_->epoch();
  origin_->begin_epoch(wire::EpochOpening::Reason::unreadable);
  ASSERT_TRUE(origin_->on_sample({{Lane::event, PayloadKind::logs, payload_of("other")}}, kWall));
  run();
  EXPECT_EQ(origin_->epoch(), before) << "the epoch waits";
  EXPECT_FALSE(spool_.contains({reserved->stream, reserved->sequence}));
  origin_->seal_reserved(PayloadKind::logs, payload_of("mine"), kWall);
  run();
  const auto sealed = spool_.find({reserved->stream, reserved->sequence});
  ASSERT_NE(sealed, spool_.end());
  EXPECT_EQ(to_bytes(view_of(sealed->second.message).payload), payload_of("mine").compressed);
  EXPECT_NE(origin_->epoch(), before);
  EXPECT_TRUE(origin_->reserve_event());
}

TEST_F(OriginTest, TheOpeningIsTheFirstOfItsEpoch) {
  ASSERT_EQ(order_.size(), 1u);
  EXPECT_EQ(view_of(order_[0].message).header.kind, PayloadKind::epoch_opening);
  EXPECT_EQ(origin_->position(Lane::state)->sequence, 1u);
  EXPECT_FALSE(origin_->position(Lane::metric));
}

TEST_F(OriginTest, OneOfALaneIsUnderWayAndTheSameComesAgainAfterAFailure) {
  observe(Lane::metric, "1");
  observe(Lane::metric, "2");
  const auto* first = origin_->next_to_write(Lane::metric);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->sequence, 1u);
  EXPECT_EQ(origin_->next_to_write(Lane::metric), nullptr);
  EXPECT_FALSE(origin_->position(Lane::metric)) << "what is in memory only is not said in a head";
  origin_->write_failed(Lane::metric);
  EXPECT_EQ(origin_->next_to_write(Lane::metric)->sequence, 1u);
  EXPECT_EQ(origin_->written(Lane::metric).sequence, 1u);
  EXPECT_EQ(origin_->position(Lane::metric)->sequence, 1u);
  EXPECT_EQ(origin_->next_to_write(Lane::metric)->sequence, 2u);
}

TEST_F(OriginTest, WhatFindsNoRoomHasNoNumberAndRecordsHaveAReserve) {
  start(0, {.sealed_max = 2, .reserve_max = 1});
  EXPECT_TRUE(observe(Lane::metric, "1"));
  EXPECT_TRUE(observe(Lane::metric, "2"));
  EXPECT_FALSE(observe(Lane::metric, "dropped"));
  EXPECT_EQ(origin_->counts().samples_dropped, 1u);
  EXPECT_TRUE(origin_->on_gap(gap(origin_->stream(Lane::metric), 1, 1)));
  origin_->step(kWall);
  EXPECT_NE(origin_->next_to_write(Lane::state), nullptr);
  origin_->write_failed(Lane::state);
  run();
  ASSERT_TRUE(observe(Lane::metric, "3"));
  run();
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), (std::vector<std::string>{"1", "2", "3"}));
}

// ---- Set back

TEST_F(OriginTest, EvidenceOfAnotherLifeBeginsANewEpochWithWhatWasRefused) {
  make(Lane::metric, 4, "m");
  make(Lane::state, 1, "s");
  const auto old_metric = origin_->stream(Lane::metric);
  const auto old_state = origin_->stream(Lane::state);
  EXPECT_TRUE(origin_->on_evidence(evidence(old_metric, 3)));
  ASSERT_TRUE(observe(Lane::metric, "new"));
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 2u);
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), (std::vector<std::string>{"m3", "m4", "new"}));
  EXPECT_EQ(texts(old_metric), (std::vector<std::string>{"m1", "m2"})) << "undisputed, they stay";
  EXPECT_EQ(shelf_.held(old_state), (std::vector<Origin::Range>{{1, 2}})) << "nobody refused those";
  const auto opening = wire::decode_epoch_opening(
      view_of(shelf_.batches.at({origin_->stream(Lane::state), 1}).message).payload);
  ASSERT_TRUE(opening);
  EXPECT_EQ(opening->reason, wire::EpochOpening::Reason::rolled_back);
  EXPECT_EQ(opening->previous, old_metric.epoch);
  EXPECT_EQ(opening->lanes[2].sequence, 4u);
}

TEST_F(OriginTest, ACopyHoldsTheBatchAsItWasFirstSealed) {
  make(Lane::metric, 1, "m");
  const auto old = origin_->stream(Lane::metric);
  const auto before = view_of(spool_.at({old, 1}).message);
  origin_->on_evidence(evidence(old, 1));
  run();
  const auto middle = origin_->stream(Lane::metric);
  const auto after = view_of(spool_.at({middle, 1}).message);
  EXPECT_EQ(after.header.kind, PayloadKind::sealed_again);
  EXPECT_EQ(after.header.compression, wire::Compression::none);
  EXPECT_EQ(after.header.first, before.header.first);
  EXPECT_EQ(after.header.last, before.header.last);
  EXPECT_EQ(after.header.records, before.header.records);
  EXPECT_EQ(to_bytes(after.payload), to_bytes(before.whole));

  origin_->on_evidence(evidence(middle, 1));
  run();
  EXPECT_NE(origin_->stream(Lane::metric), middle);
  const auto third = view_of(spool_.at({origin_->stream(Lane::metric), 1}).message);
  EXPECT_EQ(third.header.kind, PayloadKind::sealed_again);
  EXPECT_EQ(to_bytes(third.payload), to_bytes(before.whole)) << "the first one, not a copy's copy";
}

TEST_F(OriginTest, OpeningsAndReleaseRecordsAreNotSealedAgainGapRecordsAre) {
  const auto old = origin_->stream(Lane::state);
  wire::ReleaseRecord release;
  release.stream = origin_->stream(Lane::metric);
  release.first = release.last = 7;
  ASSERT_TRUE(origin_->on_release(release));
  run();
  ASSERT_TRUE(origin_->on_gap(gap(origin_->stream(Lane::metric), 9, 9)));
  run();
  EXPECT_EQ(spool_.size(), 3u);
  ASSERT_TRUE(origin_->on_evidence(evidence(old, 1)));
  run();
  EXPECT_TRUE(shelf_.held(old).empty());
  const auto now = origin_->stream(Lane::state);
  EXPECT_EQ(shelf_.held(now), (std::vector<Origin::Range>{{1, 2}}));
  EXPECT_EQ(view_of(shelf_.batches.at({now, 2}).message).header.kind, PayloadKind::gap);
}

// The server has batch 3 of another life and not batch 2: ours will never be taken.
TEST_F(OriginTest, WhatEvidenceDoesNotGoOnFromIsSealedAgainToo) {
  make(Lane::metric, 2, "m");
  const auto old = origin_->stream(Lane::metric);
  const auto ours = spool_.at({old, 2});
  spool_.erase({old, 2});
  const Bytes other = evidence(old, 3);
  spool_[{old, 2}] = ours;
  EXPECT_TRUE(origin_->on_evidence(other));
  run();
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), (std::vector<std::string>{"m2"}));
  EXPECT_EQ(texts(old), (std::vector<std::string>{"m1"}));
}

TEST_F(OriginTest, WhatStandsBeforeARecordThatMakesRoomIsLetInWithIt) {
  ASSERT_TRUE(observe(Lane::state, "large"));
  EXPECT_FALSE(origin_->next_to_write(Lane::state)->makes_room);
  origin_->write_failed(Lane::state);
  ASSERT_TRUE(origin_->on_gap(gap(origin_->stream(Lane::metric), 1, 2)));
  origin_->step(kWall);
  EXPECT_TRUE(origin_->next_to_write(Lane::state)->makes_room);
}

// It was settled when the later ones were sealed again, and is not any more (rule D10).
TEST_F(OriginTest, WhatARewindBringsBackIsSealedAgainToo) {
  make(Lane::metric, 3, "m");
  const auto old = origin_->stream(Lane::metric);
  shelf_.tails.insert(shelf_.batches.extract({old, 2}));
  ASSERT_TRUE(origin_->on_evidence(evidence(old, 2)));
  run();
  ASSERT_EQ(texts(origin_->stream(Lane::metric)), std::vector<std::string>{"m3"});
  shelf_.batches.merge(shelf_.tails);
  run();
  EXPECT_EQ(shelf_.held(old), (std::vector<Origin::Range>{{1, 2}}));
  origin_->on_rewound();
  run();
  EXPECT_EQ(shelf_.held(old), (std::vector<Origin::Range>{{1, 1}}));
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), (std::vector<std::string>{"m3", "m2"}));
}

TEST_F(OriginTest, WhatIsDisputedLaterAndLiesBeforeIsSealedAgainToo) {
  make(Lane::metric, 4, "m");
  const auto old = origin_->stream(Lane::metric);
  for (const std::uint64_t n : {4u, 2u}) {
    ASSERT_TRUE(origin_->on_evidence(evidence(old, n)) || n == 2);
    run();
  }
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), (std::vector<std::string>{"m4", "m2", "m3"}));
  EXPECT_EQ(texts(old), std::vector<std::string>{"m1"});
}

TEST_F(OriginTest, EvidenceThatProvesNothingChangesNothing) {
  make(Lane::metric, 2, "m");
  const auto stream = origin_->stream(Lane::metric);
  Bytes altered = evidence(stream, 2);
  altered[50] ^= std::byte{1};
  EXPECT_FALSE(origin_->on_evidence(altered));
  EXPECT_FALSE(origin_->on_evidence({}));
  const PrivateKey stranger = PrivateKey::generate();
  Outbox forged(stranger, stream.epoch);
  const auto sealed = forged.seal(Lane::metric, PayloadKind::metrics, payload_of("x"), kWall);
  EXPECT_FALSE(origin_->on_evidence(
      wire::read_stamped(*sealed.message)->body.first(wire::kBatchHeaderBytes)));
  EXPECT_EQ(origin_->counts().evidence_refused, 3u);
  const auto ours = wire::read_stamped(*spool_.at({stream, 2}).message)->body;
  EXPECT_FALSE(origin_->on_evidence(ours.first(wire::kBatchHeaderBytes))) << "that one we made";
  EXPECT_FALSE(origin_->on_evidence(evidence({id_, {0, 5}, Lane::metric}, 9))) << "older, unknown";
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 1u);
}

TEST_F(OriginTest, ANumberNeverReachedIsEvidenceToo) {
  EXPECT_TRUE(origin_->on_evidence(evidence(origin_->stream(Lane::metric), 5)));
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 2u);
}

TEST_F(OriginTest, ASettledOfABatchNeverMadeBeginsANewEpochAndLeavesTheOldOnesAlone) {
  make(Lane::metric, 2, "m");
  const auto old = origin_->stream(Lane::metric);
  EXPECT_FALSE(origin_->on_settled({old, {{1, 2, spool_.at({old, 2}).hash}}}));
  EXPECT_TRUE(origin_->on_settled({old, {{1, 9, sha256(as_bytes("theirs"))}}}));
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 2u);
  EXPECT_EQ(texts(old).size(), 2u) << "whether they are refused is not known yet";
  EXPECT_TRUE(origin_->on_evidence(evidence(old, 2)));
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 2u) << "that epoch is over already";
  EXPECT_EQ(texts(old), std::vector<std::string>{"m1"});
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), std::vector<std::string>{"m2"});
}

TEST_F(OriginTest, NothingIsSealedInAnEpochThatIsNotOnTheDisk) {
  origin_->on_evidence(evidence(origin_->stream(Lane::metric), 5));
  ASSERT_TRUE(observe(Lane::metric, "waits"));
  ASSERT_TRUE(origin_->file_to_write());
  EXPECT_FALSE(origin_->file_to_write()) << "it is being written";
  origin_->step(kWall);
  for (const Lane lane : wire::kLanes) EXPECT_EQ(origin_->next_to_write(lane), nullptr);
  origin_->file_failed();
  origin_->step(kWall);
  EXPECT_EQ(origin_->next_to_write(Lane::metric), nullptr);
  run();
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), std::vector<std::string>{"waits"});
}

TEST_F(OriginTest, WhatWasSealedInTheOldEpochIsWrittenThereFirst) {
  ASSERT_TRUE(observe(Lane::metric, "old"));
  const auto old = origin_->stream(Lane::metric);
  origin_->on_evidence(evidence(old, 9));
  EXPECT_FALSE(origin_->file_to_write());
  run();
  EXPECT_EQ(texts(old), std::vector<std::string>{"old"});
}

TEST_F(OriginTest, AnUnreadableOriginalBecomesAGap) {
  make(Lane::metric, 3, "m");
  const auto old = origin_->stream(Lane::metric);
  unreadable_ = {2};
  origin_->on_evidence(evidence(old, 1));
  run();
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), (std::vector<std::string>{"m1", "m3"}));
  ASSERT_EQ(gaps().size(), 1u);
  EXPECT_EQ(gaps()[0].stream, old);
  EXPECT_EQ(gaps()[0].first, 2u);
  EXPECT_EQ(gaps()[0].last, 2u);
  EXPECT_EQ(gaps()[0].reason, wire::GapRecord::Reason::unreadable);
}

TEST_F(OriginTest, MoreThanAPlanHoldsIsSealedAgainInRounds) {
  const int count = static_cast<int>(EpochFile::kCopiesMax) + 3;
  for (int i = 0; i < count; ++i) make(Lane::metric, 1, "m" + std::to_string(i) + "/");
  const auto old = origin_->stream(Lane::metric);
  const auto before = texts(old);
  origin_->on_evidence(evidence(old, 1));
  run();
  EXPECT_EQ(texts(origin_->stream(Lane::metric)), before);
  EXPECT_TRUE(texts(old).empty());
}

// A process may die between any two steps, and the spool brings back what was forgotten.
TEST_F(OriginTest, IsSealedAgainExactlyOnceWhereverTheProcessDies) {
  make(Lane::metric, 4, "m");
  make(Lane::state, 2, "s");
  const auto spool = spool_;
  const Bytes file = disk_.contents(epoch_file(kState));
  const auto old_metric = origin_->stream(Lane::metric);
  const auto old_state = origin_->stream(Lane::state);
  bool finished = false;
  for (int steps = 0; !finished; ++steps) {
    ASSERT_LT(steps, 200);
    spool_ = spool;
    disk_.set_contents(epoch_file(kState), file);
    unreadable_.clear();
    start();
    ASSERT_TRUE(origin_->on_evidence(evidence(old_metric, 2)));
    ASSERT_TRUE(origin_->on_evidence(evidence(old_state, 1)));
    unreadable_ = {3};
    for (int i = 0; i < steps && !finished; ++i) finished = !act();
    for (int life = 0; life < 2; ++life) {
      start();
      // The server refuses again what is still sent.
      for (const auto& [stream, n] : {std::pair(old_metric, 2u), std::pair(old_state, 1u)})
        if (shelf_.hash(stream, n)) origin_->on_evidence(evidence(stream, n));
      run();
      EXPECT_EQ(shelf_.held(old_metric), (std::vector<Origin::Range>{{1, 1}})) << steps;
    }
    std::map<std::string, int> made;
    for (const auto& [key, sealed] : spool_)
      if (key.first.epoch != old_metric.epoch) {
        const auto batch = view_of(sealed.message);
        if (batch.header.kind == PayloadKind::sealed_again)
          ++made[postern::to_string(content_of(sealed.message))];
      }
    // Number 3 of both lanes is unreadable: m3 and s2.
    EXPECT_EQ(made, (std::map<std::string, int>{{"m2", 1}, {"m4", 1}, {"s1", 1}})) << steps;
  }
}

TEST_F(OriginTest, WhatASpoolLostWhileItWasSealedAgainIsClosedNotDoubled) {
  make(Lane::metric, 3, "m");
  const auto old = origin_->stream(Lane::metric);
  origin_->on_evidence(evidence(old, 1));
  while (origin_->epoch().ordinal < 2 || !origin_->position(Lane::metric)) ASSERT_TRUE(act());
  const auto middle = origin_->stream(Lane::metric);
  start(1);  // a segment was damaged
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 3u);
  EXPECT_EQ(texts(middle), std::vector<std::string>{"m1"});
  EXPECT_TRUE(texts(origin_->stream(Lane::metric)).empty());
  EXPECT_TRUE(texts(old).empty());
  ASSERT_EQ(gaps().size(), 1u);
  EXPECT_EQ(gaps()[0].stream, old);
  EXPECT_EQ(gaps()[0].first, 2u);
  EXPECT_EQ(gaps()[0].last, 3u);
}

TEST_F(OriginTest, TheNewestBatchUnreadableBeginsANewEpoch) {
  make(Lane::metric, 2, "m");
  const auto old = origin_->stream(Lane::metric);
  origin_->on_unreadable(old, 1);
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 1u);
  origin_->on_unreadable(old, 2);
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 2u);
  EXPECT_EQ(texts(old).size(), 2u) << "only set-backs are sealed again";
}

// ---- Gaps, releases, questions, probes

TEST_F(OriginTest, NeighbouringGapsMergeAndARangeIsSaidOnce) {
  const auto stream = origin_->stream(Lane::metric);
  EXPECT_TRUE(origin_->on_gap(gap(stream, 3, 4)));
  EXPECT_TRUE(origin_->on_gap(gap(stream, 1, 2)));
  EXPECT_TRUE(origin_->on_gap(gap(stream, 5, 6, wire::GapRecord::Reason::unreadable)));
  EXPECT_TRUE(origin_->on_gap(gap(stream, 2, 3)));
  run();
  ASSERT_EQ(gaps().size(), 2u);
  EXPECT_EQ(gaps()[0].first, 1u);
  EXPECT_EQ(gaps()[0].last, 4u);
  EXPECT_EQ(gaps()[0].records, 4u);
  EXPECT_EQ(gaps()[1].first, 5u);
  EXPECT_EQ(done_, (std::vector<Origin::Done>{{What::shed, stream, {1, 4}}}));
  EXPECT_TRUE(origin_->on_gap(gap(stream, 4, 5)));
  run();
  EXPECT_EQ(gaps().size(), 2u);
}

TEST_F(OriginTest, CopiesGoWhenTheirReleaseIsOnDisk) {
  wire::ReleaseRecord release;
  release.stream = origin_->stream(Lane::metric);
  release.first = 1;
  release.last = 2;
  EXPECT_TRUE(origin_->on_release(release));
  release.first = release.last = 3;
  EXPECT_TRUE(origin_->on_release(release));
  origin_->step(kWall);
  EXPECT_TRUE(origin_->take_done().empty());
  run();
  EXPECT_EQ(done_, (std::vector<Origin::Done>{{What::released, release.stream, {1, 3}}}));
}

TEST_F(OriginTest, AnswersForAHoleWhatItKnowsOfIt) {
  make(Lane::metric, 8, "m");
  ASSERT_TRUE(observe(Lane::metric, "on its way"));  // 9
  const auto stream = origin_->stream(Lane::metric);
  shelf_.settled_ranges[stream] = {{1, 2}};
  wire::ReleaseRecord release;
  release.stream = stream;
  release.first = release.last = 5;
  shelf_.releases = {release};
  for (const std::uint64_t n : {1u, 2u, 4u, 5u, 7u}) shelf_.batches.erase({stream, n});
  const auto answer = origin_->on_question({stream, {1, 8}, {}, {}});
  EXPECT_EQ(answer.send_again, (std::vector<Origin::Range>{{3, 3}, {6, 6}, {8, 8}}));
  EXPECT_EQ(answer.releases, 1u);
  EXPECT_EQ(answer.gaps, 2u);
  run();
  ASSERT_EQ(gaps().size(), 2u);
  EXPECT_EQ(gaps()[0].first, 4u);
  EXPECT_EQ(gaps()[0].last, 4u);
  EXPECT_EQ(gaps()[0].before, spool_.at({stream, 3}).hash);
  EXPECT_EQ(gaps()[1].first, 7u);
  EXPECT_EQ(gaps()[1].reason, wire::GapRecord::Reason::unreadable);
  EXPECT_EQ(origin_->on_question({stream, {1, 8}, {}, {}}).gaps, 0u) << "said already";
}

// The parent had the only copy (rule D7).
TEST_F(OriginTest, WhatItsParentLostAfterTheReleaseIsGivenUpAsShed) {
  make(Lane::metric, 4, "m");
  const auto stream = origin_->stream(Lane::metric);
  for (const std::uint64_t n : {1u, 2u, 3u}) shelf_.batches.erase({stream, n});
  shelf_.lost = {{2, 9}};
  EXPECT_EQ(origin_->on_question({stream, {1, 3}, {}, {}}).gaps, 2u);
  run();
  ASSERT_EQ(gaps().size(), 2u);
  EXPECT_EQ(gaps()[0].reason, wire::GapRecord::Reason::unreadable);
  EXPECT_EQ(gaps()[0].last, 1u);
  EXPECT_EQ(gaps()[1].reason, wire::GapRecord::Reason::shed);
  EXPECT_EQ(gaps()[1].first, 2u);
  EXPECT_EQ(gaps()[1].last, 3u);
}

// Nobody but the other life had them, and its folder was replaced by an older one.
TEST_F(OriginTest, AHoleInAnEpochOfAnotherLifeIsClosedInAHigherOne) {
  make(Lane::metric, 1, "m");
  wire::StreamKey other = origin_->stream(Lane::metric);
  other.epoch.ordinal += 2;
  other.epoch.random ^= 1;
  EXPECT_EQ(origin_->on_question({other, {3, 4}, {}, {}}).gaps, 0u);
  run();
  EXPECT_EQ(origin_->epoch().ordinal, other.epoch.ordinal + 1);
  EXPECT_EQ(origin_->on_question({other, {3, 4}, {}, {}}).gaps, 1u) << "asked for again";
  run();
  ASSERT_EQ(gaps().size(), 1u);
  EXPECT_EQ(gaps()[0].stream, other);
  EXPECT_EQ(gaps()[0].reason, wire::GapRecord::Reason::set_back);
  EXPECT_EQ(origin_->epoch().ordinal, other.epoch.ordinal + 1) << "once";
}

TEST_F(OriginTest, AHoleBehindItsEndShowsThatItWasSetBack) {
  make(Lane::metric, 2, "m");
  const auto stream = origin_->stream(Lane::metric);
  EXPECT_EQ(origin_->on_question({stream, {2, 3}, {}, {}}).send_again,
            (std::vector<Origin::Range>{{2, 2}}));
  run();
  EXPECT_EQ(origin_->epoch().ordinal, 2u);
  EXPECT_EQ(origin_->on_question({stream, {2, 3}, {}, {}}).gaps, 1u);
  run();
  ASSERT_EQ(gaps().size(), 1u);
  EXPECT_EQ(gaps()[0].first, 3u);
  EXPECT_EQ(gaps()[0].reason, wire::GapRecord::Reason::set_back);
}

TEST_F(OriginTest, TakesHashesItDoesNotKnowFromTheQuestion) {
  make(Lane::metric, 3, "m");
  const auto stream = origin_->stream(Lane::metric);
  for (const std::uint64_t n : {1u, 2u}) shelf_.batches.erase({stream, n});
  const Digest before = sha256(as_bytes("before")), last = sha256(as_bytes("last"));
  EXPECT_EQ(origin_->on_question({stream, {2, 2}, before, last}).gaps, 1u);
  run();
  ASSERT_EQ(gaps().size(), 1u);
  EXPECT_EQ(gaps()[0].before, before);
  EXPECT_EQ(gaps()[0].at_last, last);
}

TEST_F(OriginTest, OfAnEpochThatWasSetBackEveryNumberIsClosed) {
  const auto old = origin_->stream(Lane::metric);
  origin_->on_evidence(evidence(old, 5));
  run();
  EXPECT_EQ(origin_->on_question({old, {1, ~std::uint64_t{0}}, {}, {}}).gaps, 1u);
  run();
  ASSERT_EQ(gaps().size(), 1u);
  EXPECT_EQ(gaps()[0].reason, wire::GapRecord::Reason::set_back);
  const auto now = origin_->stream(Lane::metric);
  EXPECT_EQ(origin_->on_question({now, {1, 5}, {}, {}}).gaps, 0u) << "never made";
  EXPECT_EQ(origin_->on_question({{id_, {9, 9}, Lane::metric}, {1, 5}, {}, {}}).gaps, 0u);
  EXPECT_EQ(origin_->on_question({{NodeId{}, {1, 1}, Lane::metric}, {1, 5}, {}, {}}).gaps, 0u);
}

TEST_F(OriginTest, ASettledGapIsForgottenAndMayBeSaidAgain) {
  make(Lane::metric, 2, "m");
  const auto stream = origin_->stream(Lane::metric);
  origin_->on_gap(gap(stream, 1, 2));
  run();
  EXPECT_FALSE(origin_->on_settled({stream, {{1, 2, spool_.at({stream, 2}).hash}}}));
  run();
  EXPECT_TRUE(origin_->on_gap(gap(stream, 1, 2)));
  run();
  EXPECT_EQ(gaps().size(), 2u);
}

TEST_F(OriginTest, ProbesAreSealedOnceASecond) {
  const TimePoint now{std::chrono::hours(1)};
  EXPECT_TRUE(origin_->on_trace({std::byte{1}}, now));
  EXPECT_FALSE(origin_->on_trace({std::byte{2}}, now + std::chrono::milliseconds(999)));
  run();
  EXPECT_TRUE(origin_->on_trace({std::byte{3}}, now + std::chrono::seconds(1)));
  run();
  ASSERT_EQ(order_.size(), 3u);
  const auto probe = view_of(order_[2].message);
  EXPECT_EQ(probe.header.kind, PayloadKind::probe);
  EXPECT_EQ(probe.payload.size(), wire::kProbeIdBytes);
  EXPECT_EQ(probe.payload[0], std::byte{3});
  EXPECT_EQ(origin_->counts().probes_refused, 1u);
}

// ---- The file

TEST(EpochFileTest, ReadsWhatItWroteAndTheVersionBefore) {
  EpochFile file;
  file.epoch = {3, 77};
  file.damaged = 2;
  file.disputed.push_back({{2, 5}, {4, 0, 9}, {}});
  file.disputed[0].done[2].add({9, 12});
  file.plans[2] = {6, {{{2, 5}, 13}, {{2, 5}, 15}}};
  const Bytes bytes = encode(file);
  EXPECT_EQ(decode_epoch_file(bytes), file);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_epoch_file(ByteView(bytes).first(size))) << size;
  Writer out;
  out.u32(3).u64(77).u64(2);
  out.u32(crc32c(out.written()));
  const auto before = decode_epoch_file(out.written());
  ASSERT_TRUE(before);
  EXPECT_EQ(before->epoch, file.epoch);
  EXPECT_EQ(before->damaged, 2u);
}

TEST(EpochFileTest, NumbersJoinAndPart) {
  NumberSet set;
  set.add({5, 6});
  set.add({1, 2});
  set.add({3, 4});
  set.add({~std::uint64_t{0}, ~std::uint64_t{0}});
  EXPECT_EQ(set.ranges().size(), 2u);
  set.remove({2, 3});
  EXPECT_EQ(set.missing({1, 7}), (std::vector<NumberSet::Range>{{2, 3}, {7, 7}}));
  EXPECT_TRUE(set.contains(4));
  EXPECT_FALSE(set.contains(2));
}

}  // namespace
}  // namespace postern::node
