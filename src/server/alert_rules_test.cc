#include "server/alert_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace postern {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const TimePoint kStart = TimePoint(100h);
const WallTime kWall = wall_from_ms(1'800'000'000'000);

NodeView agent(const std::string& name, std::vector<std::string> gateways = {}) {
  NodeView node;
  node.name = name;
  node.approved = node.first_seen = kWall - 24h;
  node.gateways = std::move(gateways);
  return node;
}
NodeView gateway(const std::string& name, std::vector<std::string> gateways = {}) {
  NodeView node = agent(name, std::move(gateways));
  node.role = store::Role::gateway;
  return node;
}

class AlertRulesTest : public testing::Test {
 protected:
  store::AlertChanges at(Duration after, const std::vector<NodeView>& nodes) {
    return rules_.evaluate(nodes, kStart + after,
                           kWall + std::chrono::duration_cast<std::chrono::milliseconds>(after));
  }
  static std::vector<std::string> causes(const std::vector<store::Alert>& alerts) {
    std::vector<std::string> list;
    for (const store::Alert& alert : alerts) list.push_back(alert.cause);
    return list;
  }
  static void expect_quiet(const store::AlertChanges& round) {
    EXPECT_THAT(causes(round.raise), IsEmpty());
    EXPECT_THAT(causes(round.again), IsEmpty());
    EXPECT_THAT(causes(round.change), IsEmpty());
    EXPECT_THAT(round.close, IsEmpty());
  }
  static store::Alert open(const std::string& cause) {
    store::Alert alert;
    alert.cause = cause;
    alert.severity = "warning";
    return alert;
  }
  AlertRules rules_{kStart};
};

TEST_F(AlertRulesTest, ANodeIsLostAfterThreeHeartbeatsOnceAndClosedByTheNextHead) {
  NodeView a = agent("a");
  a.heard = kStart;
  expect_quiet(at(3min + 10s, {a}));
  EXPECT_THAT(causes(at(3min + 11s, {a}).raise), ElementsAre("heartbeat a"));
  for (Duration t = 4min; t < 1h; t += 5s) expect_quiet(at(t, {a}));
  a.heard = kStart + 1h;
  EXPECT_THAT(at(1h, {a}).close, ElementsAre("heartbeat a"));
  expect_quiet(at(1h + 1s, {a}));
}

TEST_F(AlertRulesTest, AfterARestartNothingIsRaisedBeforeThreeHeartbeats) {
  expect_quiet(at(3min, {agent("a")}));
  EXPECT_THAT(causes(at(4min, {agent("a")}).raise), ElementsAre("heartbeat a"));
}

TEST_F(AlertRulesTest, WhatWasOpenStaysOpenAfterARestartUntilTheNodeIsHeard) {
  rules_.resume(std::vector{open("heartbeat a"), open("hole something 5")});
  EXPECT_THAT(at(1s, {agent("a")}).close, IsEmpty());
  EXPECT_THAT(at(1h, {agent("a")}).raise, IsEmpty());
  NodeView a = agent("a");
  a.heard = kStart + 1h;
  EXPECT_THAT(at(1h, {a}).close, ElementsAre("heartbeat a"));
}

TEST_F(AlertRulesTest, OnlyTheTopmostLostGatewayIsAnAlertAndSaysHowManyAreBehindIt) {
  const std::vector<NodeView> nodes = {gateway("top"), gateway("mid", {"top"}),
                                       agent("a", {"mid", "top"}), agent("b", {"top"})};
  const auto round = at(2h, nodes);
  ASSERT_THAT(causes(round.raise), ElementsAre("heartbeat top"));
  EXPECT_EQ(round.raise[0].severity, "critical");
  EXPECT_THAT(round.raise[0].words, HasSubstr("3 nodes behind it unknown"));
}

TEST_F(AlertRulesTest, AnAlertOfANodeIsNeitherClosedNorRaisedAgainByItsGatewaysLoss) {
  NodeView top = gateway("top"), a = agent("a", {"top"});
  top.heard = kStart + 10min;
  a.heard = kStart;
  a.reported_gone = kStart + 1min;
  EXPECT_THAT(causes(at(10min, {top, a}).raise), ElementsAre("heartbeat a"));
  const auto lost = at(20min, {top, a});
  EXPECT_THAT(causes(lost.raise), ElementsAre("heartbeat top"));
  EXPECT_THAT(lost.close, IsEmpty());
  top.heard = kStart + 30min;
  const auto back = at(30min, {top, a});
  EXPECT_THAT(causes(back.raise), IsEmpty());
  EXPECT_THAT(back.close, ElementsAre("heartbeat top"));
}

TEST_F(AlertRulesTest, ANodeThatIsHeardAlthoughItsGatewayIsLostIsNotCountedBehindIt) {
  NodeView top = gateway("top"), a = agent("a", {"top"}), b = agent("b", {"top"});
  b.heard = kStart + 9min;
  const auto round = at(10min, {top, a, b});
  ASSERT_THAT(causes(round.raise), ElementsAre("heartbeat top"));
  EXPECT_THAT(round.raise[0].words, HasSubstr("; 1 node behind it"));
}

TEST_F(AlertRulesTest, BehindAGatewayQuietIsLongAndAReportOnlyMakesItWorse) {
  NodeView top = gateway("top"), a = agent("a", {"top"});
  a.heard = kStart;
  top.heard = kStart + 45min;
  expect_quiet(at(45min, {top, a}));
  top.heard = kStart + 46min;
  EXPECT_THAT(causes(at(46min, {top, a}).raise), ElementsAre("heartbeat a"));
  a.reported_gone = kStart + 46min;  // the later of two words does not make it better
  expect_quiet(at(46min + 1s, {top, a}));
}

TEST_F(AlertRulesTest, WhatAnOperatorClosedStaysClosedUntilItHasEndedOnce) {
  NodeView a = agent("a");
  a.spool_bytes_max = 100;
  a.spool_bytes = 85;
  a.heard = kStart;
  EXPECT_THAT(causes(at(1s, {a}).raise), ElementsAre("spool-fill a"));
  EXPECT_TRUE(rules_.on_closed("spool-fill a"));
  EXPECT_FALSE(rules_.on_closed("spool-fill a"));
  expect_quiet(at(2s, {a}));
  a.spool_bytes = 60;
  const auto ended = at(3s, {a});
  EXPECT_THAT(ended.close, ElementsAre("spool-fill a")) << "so that the store forgets it too";
  a.spool_bytes = 85;
  EXPECT_THAT(causes(at(4s, {a}).raise), ElementsAre("spool-fill a"));
}

TEST_F(AlertRulesTest, WhatAnOperatorClosedStaysClosedOverARestart) {
  store::Alert closed = open("spool-fill a");
  closed.closed = kWall;
  closed.muted = true;
  store::Alert ended = open("clock a");
  ended.closed = kWall;
  rules_.resume(std::vector{closed, ended});
  NodeView a = agent("a");
  a.heard = kStart;
  a.spool_bytes_max = 100;
  a.spool_bytes = 85;
  a.clock_difference = 31s;
  EXPECT_THAT(causes(at(1s, {a}).raise), ElementsAre("clock a"));
  a.spool_bytes = 60;
  EXPECT_THAT(at(2s, {a}).close, ElementsAre("spool-fill a"));
  a.spool_bytes = 85;
  EXPECT_THAT(causes(at(3s, {a}).raise), ElementsAre("spool-fill a"));
}

TEST_F(AlertRulesTest, ANodeThatIsApprovedWhileWeRunIsWaitedForFromThenOn) {
  NodeView a = agent("a");  // it knocked before, so it was seen
  a.since = kStart + 1h;
  expect_quiet(at(1h + 3min, {a}));
  EXPECT_THAT(causes(at(1h + 4min, {a}).raise), ElementsAre("heartbeat a"));
}

TEST_F(AlertRulesTest, WhoIsBehindALostGatewayIsUnknownByItAlsoRightAfterARestart) {
  const std::vector<NodeView> nodes = {gateway("top"), agent("a", {"top"}), agent("b")};
  at(1s, nodes);
  EXPECT_EQ(rules_.unknown_via("a"), std::nullopt);
  at(4min, nodes);
  EXPECT_EQ(rules_.unknown_via("a"), "top");
  EXPECT_EQ(rules_.unknown_via("b"), std::nullopt);
  EXPECT_TRUE(rules_.is_lost("b"));
  EXPECT_FALSE(rules_.is_lost("a")) << "nothing is known of it";

  AlertRules restarted(kStart);
  restarted.resume(std::vector{open("heartbeat top")});
  EXPECT_TRUE(restarted.evaluate(nodes, kStart + 1s, kWall).empty());
  EXPECT_EQ(restarted.unknown_via("a"), "top");
}

TEST_F(AlertRulesTest, AFillThatFlapsIsOneAlertAndEscalatesWithinIt) {
  NodeView a = agent("a");
  a.heard = kStart;
  a.spool_bytes_max = 100;
  a.spool_bytes = 80;
  expect_quiet(at(1s, {a}));
  a.spool_bytes = 81;
  EXPECT_THAT(at(2s, {a}).raise, SizeIs(1));
  a.spool_bytes = 70;
  expect_quiet(at(3s, {a}));
  a.spool_bytes = 96;
  const auto worse = at(4s, {a});
  EXPECT_THAT(worse.raise, IsEmpty());
  ASSERT_THAT(causes(worse.change), ElementsAre("spool-fill a"));
  EXPECT_EQ(worse.change[0].severity, "critical");
  a.spool_bytes = 90;
  expect_quiet(at(5s, {a}));
  a.spool_bytes = 69;
  EXPECT_THAT(at(6s, {a}).close, ElementsAre("spool-fill a"));
}

TEST_F(AlertRulesTest, WhatIsNotMeasuredOpensAndClosesNothing) {
  rules_.resume(std::vector{open("clock a"), open("spool-age a"), open("certificate a")});
  expect_quiet(at(1s, {agent("a")}));
}

TEST_F(AlertRulesTest, AClockIsWrongInBothDirections) {
  NodeView a = agent("a"), b = agent("b");
  a.clock_difference = 31s;
  b.clock_difference = -301s;
  const auto round = at(1s, {a, b});
  ASSERT_THAT(causes(round.raise), ElementsAre("clock a", "clock b"));
  EXPECT_EQ(round.raise[0].severity, "warning");
  EXPECT_EQ(round.raise[1].severity, "critical");
  EXPECT_THAT(round.raise[1].words, HasSubstr("behind ours"));
  a.clock_difference = b.clock_difference = 0s;
  EXPECT_THAT(at(2s, {a, b}).close, ElementsAre("clock a", "clock b"));
}

TEST_F(AlertRulesTest, ANodeThatNeverConnectedIsAnAlertUntilItDoesAndIsNotLost) {
  NodeView a = agent("a");
  a.first_seen.reset();
  a.approved = kWall;
  expect_quiet(at(1h, {a}));
  EXPECT_THAT(causes(at(1h + 1s, {a}).raise), ElementsAre("never-connected a"));
  a.first_seen = kWall + 2h;
  a.heard = kStart + 2h;
  EXPECT_THAT(at(2h, {a}).close, ElementsAre("never-connected a"));
}

TEST_F(AlertRulesTest, AFindingCountsOnceEachTimeItIsSeenAnewAndClosesAfterAQuietDay) {
  NodeView a = agent("a");
  const auto look = [&](Duration t) {
    a.heard = kStart + t;
    return at(t, {a});
  };
  expect_quiet(look(1s));
  a.findings = 5;
  a.found = "batch 5 of a is not as a signed it";
  const auto found = look(2s);
  EXPECT_THAT(causes(found.raise), ElementsAre("finding a"));
  EXPECT_THAT(found.raise[0].words, HasSubstr("batch 5 of a is not as a signed it; see whether"));
  expect_quiet(look(3s));
  a.findings = 7;
  EXPECT_THAT(causes(look(4s).again), ElementsAre("finding a"));
  a.found.clear();
  expect_quiet(look(24h + 4s));
  EXPECT_THAT(look(24h + 5s).close, ElementsAre("finding a"));
}

TEST_F(AlertRulesTest, ACertificateWarnsAtAThirdAndIsCriticalAtATenth) {
  NodeView a = agent("a");
  a.certificate_not_before = kWall;
  a.certificate_not_after = kWall + 30h;
  const auto look = [&](Duration t) {
    a.heard = kStart + t;
    return at(t, {a});
  };
  expect_quiet(look(19h));
  EXPECT_THAT(causes(look(20h).raise), ElementsAre("certificate a"));
  EXPECT_THAT(causes(look(27h).change), ElementsAre("certificate a"));
  a.certificate_not_before = kWall + 27h;
  a.certificate_not_after = kWall + 57h;
  EXPECT_THAT(look(28h).close, ElementsAre("certificate a"));
}

TEST_F(AlertRulesTest, ARenewalThatIsForecastToFailWarnsBeforeTheThirdWithItsReason) {
  NodeView a = agent("a");
  a.certificate_not_before = kWall;
  a.certificate_not_after = kWall + 30h;
  const auto look = [&](Duration t) {
    a.heard = kStart + t;
    return at(t, {a});
  };
  expect_quiet(look(15h));
  a.renewal_missed = "failed 3 times: no key";
  const auto raised = look(16h).raise;
  ASSERT_THAT(causes(raised), ElementsAre("certificate a"));
  EXPECT_EQ(raised[0].severity, "warning");
  EXPECT_THAT(raised[0].words, testing::HasSubstr("failed 3 times: no key"));
  EXPECT_EQ(look(27h).change.at(0).severity, "critical") << "the same alert";
  a.renewal_missed.clear();
  a.certificate_not_before = kWall + 27h;
  a.certificate_not_after = kWall + 57h;
  EXPECT_THAT(look(28h).close, ElementsAre("certificate a"));
}

TEST_F(AlertRulesTest, TheAuthorityNearItsEndIsAnAlertOfItsServer) {
  NodeView a = agent("a");
  a.authority_not_before = kWall;
  a.authority_not_after = kWall + 30h;
  const auto look = [&](Duration t) {
    a.heard = kStart + t;
    return at(t, {a});
  };
  expect_quiet(look(19h));
  EXPECT_THAT(causes(look(20h).raise), ElementsAre("authority a"));
  EXPECT_EQ(look(27h).change.at(0).severity, "critical");
  a.authority_not_after = kWall + 300h;
  EXPECT_THAT(look(28h).close, ElementsAre("authority a"));
}

TEST_F(AlertRulesTest, AnOldBatchWarnsAndClosesAtHalfTheAge) {
  NodeView a = agent("a");
  a.oldest_unsettled = 61min;
  EXPECT_THAT(causes(at(1s, {a}).raise), ElementsAre("spool-age a"));
  a.oldest_unsettled = 30min;
  expect_quiet(at(2s, {a}));
  a.oldest_unsettled = 29min;
  EXPECT_THAT(at(3s, {a}).close, ElementsAre("spool-age a"));
}

TEST_F(AlertRulesTest, TheWordsDoNotChangeWhileNothingElseDoes) {
  NodeView a = agent("a");
  a.last_seen = kWall - 5min;
  const auto round = at(1h, {a});
  ASSERT_THAT(round.raise, SizeIs(1));
  EXPECT_THAT(round.raise[0].words, HasSubstr("since " + to_rfc3339(kWall - 5min)));
  expect_quiet(at(2h, {a}));
}

TEST_F(AlertRulesTest, EveryKindHasARowOnThePageOfAlerts) {
  std::ifstream file(POSTERN_ALERTS_PAGE);
  std::stringstream page;
  page << file.rdbuf();
  for (std::size_t i = 0; i < AlertRules::kKinds; ++i) {
    const std::string word(AlertRules::word_of(static_cast<AlertRules::Kind>(i)));
    EXPECT_THAT(page.str(), HasSubstr("| `" + word + " NAME` |"));
  }
}

TEST_F(AlertRulesTest, WhatIsOpenAboutARemovedNodeCloses) {
  at(1h, {agent("a")});
  EXPECT_THAT(at(2h, {}).close, ElementsAre("heartbeat a"));
}

}  // namespace
}  // namespace postern
