#include "relay/intake.h"

#include <gtest/gtest.h>

#include "relay/test_relay.h"

namespace postern::relay {
namespace {

using Action = Intake::Action;

class IntakeTest : public RelayTest {
 protected:
  Action arrives(std::uint64_t sequence, std::uint8_t salt = 0) {
    return take_in(relay_, theirs_, sequence, hash_of(sequence, salt), room_).action;
  }
  Result<> room_;
};

TEST_F(IntakeTest, StoresWhatIsFresh) { EXPECT_EQ(arrives(1), Action::store); }

TEST_F(IntakeTest, AnswersADuplicateAlsoWithoutRoom) {
  add(theirs_, 1);
  add(theirs_, 2);
  settle(theirs_, {{1, 1, hash_of(1)}});
  room_ = fail(Errc::exhausted, "the spool is full");
  EXPECT_EQ(arrives(1), Action::answer);
  EXPECT_EQ(arrives(2), Action::answer);
}

TEST_F(IntakeTest, SaysWhyItCannotTakeIt) {
  room_ = fail(Errc::exhausted, "the spool is full");
  const Intake intake = take_in(relay_, theirs_, 1, hash_of(1), room_);
  EXPECT_EQ(intake, (Intake{Action::not_yet, "the spool is full", Intake::kSpoolRetry}));
}

TEST_F(IntakeTest, TakesAnotherBatchOfANumberForNoDuplicate) {
  add(theirs_, 1);
  relay_.writing(theirs_, 2, hash_of(2));
  EXPECT_EQ(arrives(1, 9), Action::equivocation);
  EXPECT_EQ(arrives(2, 9), Action::equivocation);
  EXPECT_EQ(arrives(2), Action::answer);
}

TEST_F(IntakeTest, TakesNoMoreEpochsOfANodeThanItRemembers) {
  auto key = theirs_;
  for (std::uint32_t ordinal = 1; ordinal <= Relay::Limits{}.streams_per_node_max; ++ordinal) {
    key.epoch.ordinal = ordinal;
    add(key, 1);
  }
  key.epoch.ordinal = 5000;
  EXPECT_EQ(take_in(relay_, key, 1, hash_of(1), {}).action, Action::not_yet);
  EXPECT_EQ(arrives(2), Action::store) << "those it knows go on";
}

}  // namespace
}  // namespace postern::relay
