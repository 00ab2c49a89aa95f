#include <gtest/gtest.h>

#include "relay/test_relay.h"

namespace postern::relay {
namespace {

using Notices = std::vector<Relay::Notice>;

NodeId node(std::uint8_t number) { return stream(Lane::state, number).node; }

class RoomTest : public RelayTest {
 protected:
  void attach_and_store(const wire::StreamKey& key, std::vector<wire::Interval> intervals) {
    attach();
    relay_.take_offers(100);
    relay_.on_stored({key, std::move(intervals)}, now_);
  }
};

TEST_F(RoomTest, TailsGoFirst) {
  add_all(theirs_, 1, 3);
  settle(theirs_, {{1, 2, hash_of(2)}});
  const auto room = relay_.make_room(100, now_);
  ASSERT_EQ(room.locations.size(), 1u);
  EXPECT_EQ(room.locations[0].offset, 1000u);
  EXPECT_EQ(room.freed, 100u);
  EXPECT_TRUE(room.notices.empty());
}

TEST_F(RoomTest, NothingIsShedAsLongAsACopyCanBeReleased) {
  add_all(theirs_, 1, 4);
  attach_and_store(theirs_, {{1, 2, hash_of(2)}});
  const auto room = relay_.make_room(200, now_);
  EXPECT_EQ(room.freed, 200u);
  EXPECT_TRUE(room.notices.empty());
  EXPECT_EQ(covered(theirs_), (std::vector<wire::Interval>{{1, 4, hash_of(4)}}))
      << "our parent has it: children need not send it again";
  EXPECT_EQ(relay_.classify(theirs_, 1, hash_of(1)), Relay::Arrival::held);
  EXPECT_EQ(relay_.counts().released, 2u);
}

// A parent that burned down does not name it at the next attach: children have it (rule D3).
TEST_F(RoomTest, WhatTheParentDoesNotNameAnyMoreIsAskedForAgain) {
  add_all(theirs_, 1, 4);
  attach_and_store(theirs_, {{1, 3, hash_of(3)}});
  relay_.make_room(300, now_);
  EXPECT_FALSE(relay_.on_stored({theirs_, {{1, 3, hash_of(3)}}}, now_));
  relay_.on_detached();
  attach();
  ASSERT_EQ(relay_.take_offers(10).size(), 1u);
  EXPECT_TRUE(relay_.on_stored({theirs_, {{1, 1, hash_of(1)}}}, now_));
  EXPECT_EQ(covered(theirs_), (std::vector<wire::Interval>{{4, 4, hash_of(4)}}));
  EXPECT_EQ(relay_.classify(theirs_, 2, hash_of(2)), Relay::Arrival::fresh);
}

TEST_F(RoomTest, AStreamOfWhichAllIsReleasedIsOfferedToo) {
  add_all(theirs_, 1, 2);
  attach_and_store(theirs_, {{1, 2, hash_of(2)}});
  relay_.make_room(200, now_);
  relay_.on_detached();
  attach();
  EXPECT_EQ(relay_.take_offers(10).size(), 1u);
  EXPECT_FALSE(relay_.on_stored({theirs_, {{1, 2, hash_of(2)}}}, now_));
  settle(theirs_, {{1, 2, hash_of(2)}});
  EXPECT_EQ(relay_.classify(theirs_, 1, hash_of(1)), Relay::Arrival::settled);
}

// While the parent is away the disk may fill up: what it had stored is its word until the next.
TEST_F(RoomTest, ReleasesAlsoWhileDetached) {
  add_all(theirs_, 1, 2);
  attach_and_store(theirs_, {{1, 1, hash_of(1)}});
  relay_.on_detached();
  EXPECT_EQ(relay_.make_room(100, now_).freed, 100u);
  EXPECT_EQ(relay_.counts().released, 1u);
}

// B25: the origin says where the only copy is before it gives up its own.
TEST_F(RoomTest, OwnCopiesGoOnlyWhenTheReleaseRecordIsOnDisk) {
  add_all(metric_, 1, 4);
  attach_and_store(metric_, {{1, 3, hash_of(3)}});
  const auto room = relay_.make_room(200, now_);
  EXPECT_TRUE(room.locations.empty());
  EXPECT_EQ(room.promised, 200u);
  ASSERT_EQ(room.releases.size(), 1u);
  EXPECT_EQ(room.releases[0], (wire::ReleaseRecord{metric_, 1, 2, hash_of(2), parent_}));
  const auto more = relay_.make_room(100, now_);
  ASSERT_EQ(more.releases.size(), 1u);
  EXPECT_EQ(more.releases[0].first, 3u) << "not proposed twice";
  relay_.keep(metric_, {3, 3});
  EXPECT_EQ(relay_.released(metric_, {1, 3}).size(), 2u);
  EXPECT_EQ(relay_.counts().held, 2u);
  EXPECT_EQ(covered(metric_), (std::vector<wire::Interval>{{1, 4, hash_of(4)}}));
  ASSERT_EQ(relay_.releases_within(metric_, {2, 9}, now_).size(), 1u);
  settle(metric_, {{1, 4, hash_of(4)}});
  EXPECT_TRUE(relay_.releases_within(metric_, {1, 9}, now_).empty());
}

// It held the only copy, and shed it: nobody else can say so (rule D5).
TEST_F(RoomTest, WhatWasReleasedIsLostWhenThatParentDoesNotNameItAnyMore) {
  add_all(metric_, 1, 4);
  attach_and_store(metric_, {{1, 3, hash_of(3)}});
  relay_.make_room(200, now_);
  ASSERT_EQ(relay_.released(metric_, {1, 2}).size(), 2u);
  EXPECT_TRUE(relay_.lost_releases_within(metric_, {1, 9}, now_).empty());
  relay_.on_stored({metric_, {{3, 3, hash_of(3)}}}, now_);
  EXPECT_EQ(relay_.lost_releases_within(metric_, {1, 9}, now_), (std::vector<Range>{{1, 2}}));
  EXPECT_TRUE(relay_.releases_within(metric_, {1, 9}, now_).empty());
  relay_.on_detached();
  relay_.on_attached(stream(Lane::state, 78).node);
  relay_.on_stored({metric_, {}}, now_);
  EXPECT_TRUE(relay_.lost_releases_within(metric_, {1, 9}, now_).empty())
      << "another parent does not know what that one has";
  EXPECT_EQ(relay_.releases_within(metric_, {1, 9}, now_).size(), 1u);
  relay_.on_question(metric_, {1, 2}, 0, {}, now_);
  now_ += Relay::Limits{}.release_patience;
  EXPECT_EQ(relay_.lost_releases_within(metric_, {1, 9}, now_).size(), 1u) << "but not for ever";
}

TEST_F(RoomTest, WhatTheParentTookBackMeanwhileIsNotReleased) {
  add_all(metric_, 1, 3);
  attach_and_store(metric_, {{1, 2, hash_of(2)}});
  relay_.make_room(200, now_);
  relay_.on_stored({metric_, {{1, 1, hash_of(1)}}}, now_);
  EXPECT_EQ(relay_.released(metric_, {1, 2}).size(), 1u);
}

// Its position would be lost, and numbers given twice (rule D1).
TEST_F(RoomTest, TheNewestOfAnOwnStreamIsNeverGivenUp) {
  add_all(metric_, 1, 2);
  attach_and_store(metric_, {{1, 2, hash_of(2)}});
  EXPECT_EQ(relay_.make_room(10'000, now_).promised, 100u);
  add(metric_, 3);
  EXPECT_EQ(relay_.make_room(10'000, now_).promised, 100u) << "2 is not the newest any more";
}

TEST_F(RoomTest, ShedsFromWhoHoldsTheMostMetricsBeforeEventsBeforeState) {
  const auto state = stream(Lane::state, 3), event = stream(Lane::event, 3);
  for (std::uint64_t s : {1, 2, 3, 4, 5, 6}) add_from(node(3), state, s);
  for (std::uint64_t s : {1, 2}) add_from(node(3), event, s);
  for (std::uint64_t s : {1, 2, 3}) add_from(node(3), stream(Lane::metric, 3), s);
  for (std::uint64_t s : {1, 2, 3}) add_from(node(4), stream(Lane::metric, 4), s);
  auto room = relay_.make_room(200, now_);
  EXPECT_EQ(room.notices, (Notices{{stream(Lane::metric, 3), {1, 2}}}));
  room = relay_.make_room(300, now_);
  EXPECT_EQ(room.notices, (Notices{{event, {1, 2}}, {stream(Lane::metric, 3), {3, 3}}}))
      << "both lanes, in the order of their streams";
  room = relay_.make_room(400, now_);
  EXPECT_EQ(room.notices, (Notices{{state, {1, 1}}, {stream(Lane::metric, 4), {1, 3}}}));
  EXPECT_EQ(relay_.counts().held, 5u);
  EXPECT_FALSE(room.restate);
  EXPECT_EQ(relay_.classify(event, 1, hash_of(1)), Relay::Arrival::fresh);
}

// Rule D7: when nothing but own state is left, one record stands for all of it.
TEST_F(RoomTest, OwnStateGoesAtOnceAndIsToBeStatedAnew) {
  const auto state = stream(Lane::state, 1);
  add_all(state, 1, 4);
  add_all(metric_, 1, 2);
  EXPECT_FALSE(relay_.make_room(100, now_).restate);
  relay_.shed(metric_, {1, 1});
  const auto room = relay_.make_room(50, now_);
  EXPECT_TRUE(room.restate);
  ASSERT_EQ(room.gaps.size(), 1u);
  EXPECT_EQ(room.gaps[0].stream, state);
  EXPECT_EQ(room.gaps[0].first, 1u);
  EXPECT_EQ(room.gaps[0].last, 3u) << "the newest keeps the position";
  EXPECT_EQ(relay_.shed(state, {1, 3}).size(), 3u);
}

TEST_F(RoomTest, AShareCountsByTheNeighbourItCameFrom) {
  for (std::uint8_t n = 4; n <= 6; ++n) add_from(node(3), stream(Lane::metric, n), 1);
  for (std::uint64_t s : {1, 2}) add_from(node(7), stream(Lane::metric, 7), s);
  const auto room = relay_.make_room(100, now_);
  EXPECT_EQ(room.notices, (Notices{{stream(Lane::metric, 4), {1, 1}}}));
}

TEST_F(RoomTest, OwnShedRangesComeWithAllThatAGapRecordNeeds) {
  add_all(metric_, 1, 5);
  const auto room = relay_.make_room(300, now_);
  ASSERT_EQ(room.gaps.size(), 1u);
  wire::GapRecord expected;
  expected.stream = metric_;
  expected.first = 1;
  expected.last = 3;
  expected.at_last = hash_of(3);
  expected.first_time = wall_from_ms(1);
  expected.last_time = wall_from_ms(8);
  expected.records = 9;
  expected.bytes = 300;
  EXPECT_EQ(room.gaps[0], expected);
  EXPECT_EQ(relay_.counts().held, 5u) << "until the gap record is on disk";
  attach();
  answer_offers();
  EXPECT_EQ(send_all(), (std::vector<std::uint64_t>{4, 5})) << "they are not sent any more";
  EXPECT_EQ(relay_.shed(metric_, {1, 3}).size(), 3u);
  EXPECT_EQ(covered(metric_), (std::vector<wire::Interval>{{4, 5, hash_of(5)}}));
  EXPECT_FALSE(settle(metric_, {{1, 3, hash_of(3)}}).set_back) << "we made it, and gave it up";
}

TEST_F(RoomTest, AGapWhoseRecordFailedStaysAndIsSent) {
  add_all(metric_, 1, 3);
  relay_.make_room(200, now_);
  relay_.keep(metric_, {1, 2});
  EXPECT_TRUE(relay_.shed(metric_, {1, 2}).empty());
  attach();
  answer_offers();
  EXPECT_EQ(relay_.counts().held, 3u);
  EXPECT_EQ(relay_.make_room(200, now_).gaps.size(), 1u);
}

TEST_F(RoomTest, WhatIsInFlightIsNotShed) {
  add_all(theirs_, 1, 3);
  attach(250);
  answer_offers();
  EXPECT_EQ(send_all().size(), 2u);
  EXPECT_EQ(relay_.make_room(1000, now_).notices, (Notices{{theirs_, {3, 3}}}));
}

}  // namespace
}  // namespace postern::relay
