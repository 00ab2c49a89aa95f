#include "node/renewal.h"

#include <gtest/gtest.h>

#include "identity/authority.h"
#include "node/signed.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using testing_support::kWall;
using testing_support::TestGroup;
using testing_support::TestNode;

class RenewalTest : public testing::Test {
 protected:
  RenewalTest() { renewal_.use(issue(TlsKey::generate(TlsKey::Kind::ec), days(100))); }

  Certificate issue(const TlsKey& key, std::chrono::seconds life,
                    const std::string& name = "gw1.dmz.example") {
    const auto csr = make_request(key, name);
    return authority_.sign(as_bytes(*csr), {.lifetime = life, .now = now_}, random_).value();
  }
  /// What the management server would answer to this request.
  Certificate answer(const std::string& body, std::chrono::seconds life) {
    wire::pb::Signed message;
    EXPECT_TRUE(message.ParseFromString(body));
    const auto ask =
        read_certificate_request(message, node_.self.identity.public_key(), node_.self.id);
    return authority_.sign(as_bytes(ask->csr), {.lifetime = life, .now = now_}, random_).value();
  }
  std::string ask() {
    if (const auto kind = renewal_.wants_key(now_)) renewal_.take_key(TlsKey::generate(*kind));
    return renewal_.ask(now_).value_or("");
  }
  Anchors anchors() const { return Anchors::from_certificates({authority_.certificate()}).value(); }

  SeededRandom random_{1};
  WallTime now_ = kWall;
  TestGroup group_;
  TestNode node_ = group_.node(Role::gateway, "gw1.dmz.example");
  CertificateAuthority authority_ =
      std::move(CertificateAuthority::create("demo", kWall - hours(1), random_).value());
  Renewal renewal_{node_.self, random_};
};

TEST_F(RenewalTest, AsksWhenHalfOfTheLifeIsOverAndNotMuchLater) {
  EXPECT_GE(renewal_.due(), kWall + days(49));
  EXPECT_LE(renewal_.due(), kWall + days(60));
  EXPECT_EQ(ask(), "");
  now_ += days(49);
  EXPECT_FALSE(renewal_.wants_key(now_));
  now_ += days(11);
  EXPECT_EQ(renewal_.wants_key(now_), TlsKey::Kind::ec);
  EXPECT_NE(ask(), "");
  EXPECT_EQ(ask(), "") << "one question at a time";
}

TEST_F(RenewalTest, TheNextKeyIsOfTheKindInUse) {
  renewal_.use(issue(TlsKey::generate(TlsKey::Kind::ed25519), days(100)));
  now_ += days(61);
  EXPECT_EQ(renewal_.wants_key(now_), TlsKey::Kind::ed25519);
}

TEST_F(RenewalTest, TakesACertificateForItsNewKeyOnly) {
  now_ += days(61);
  const Certificate good = answer(ask(), days(100));
  const auto credential = renewal_.on_reply({good, authority_.certificate()}, anchors(), now_);
  ASSERT_TRUE(credential) << credential.error().message;
  EXPECT_TRUE(credential->key.matches(good));
  renewal_.use(good);
  EXPECT_GT(renewal_.due(), now_ + days(49));
  EXPECT_FALSE(renewal_.on_reply({good}, anchors(), now_)) << "nobody asked again";
}

TEST_F(RenewalTest, WhatAHopMakesUpIsNotTaken) {
  now_ += days(61);
  const std::string body = ask();
  const Certificate good = answer(body, days(100));
  const Certificate of_another_key = issue(TlsKey::generate(TlsKey::Kind::ec), days(100));
  const Certificate too_short = answer(body, days(1));
  auto other = CertificateAuthority::create("demo", kWall, random_).value();
  wire::pb::Signed message;
  ASSERT_TRUE(message.ParseFromString(body));
  const auto asked =
      read_certificate_request(message, node_.self.identity.public_key(), node_.self.id);
  const Certificate of_another_authority =
      other.sign(as_bytes(asked->csr), {.lifetime = days(100), .now = now_}, random_).value();
  for (const std::vector<Certificate>& chain : {std::vector<Certificate>{},
                                                {of_another_key},
                                                {too_short},
                                                {of_another_authority},
                                                {authority_.certificate()}})
    EXPECT_EQ(renewal_.on_reply(chain, anchors(), now_).error().code, Errc::denied);
  EXPECT_TRUE(renewal_.on_reply({good}, anchors(), now_)) << "the true answer, late";
}

TEST_F(RenewalTest, AsksAgainWithTheSameKeyLessAndLessOften) {
  now_ += days(61);
  const auto csr_of = [&](const std::string& body) {
    wire::pb::Signed message;
    EXPECT_TRUE(message.ParseFromString(body));
    return read_certificate_request(message, node_.self.identity.public_key(), node_.self.id)->csr;
  };
  const std::string first = csr_of(ask());
  milliseconds last{};
  for (int i = 0; i < 10; ++i) {
    renewal_.failed(now_);
    const milliseconds wait = renewal_.due() - now_;
    EXPECT_GE(wait, days(1));
    EXPECT_LE(wait, hours(24) * 5 / 4) << "a day and a little, whatever the life";
    last = wait;
    now_ = renewal_.due();
    EXPECT_EQ(csr_of(ask()), first);
  }
  renewal_.failed(now_, days(3000));
  EXPECT_LE(renewal_.due() - now_, hours(24) * 5 / 4) << "a hop's word puts off by no more";
}

TEST_F(RenewalTest, WhenItHasEndedItAsksEveryFewMinutesHoweverLongItWas) {
  now_ += days(100) + minutes(1);
  EXPECT_TRUE(renewal_.over(now_));
  EXPECT_NE(ask(), "");
  for (int i = 0; i < 10; ++i) {
    renewal_.failed(now_);
    EXPECT_LE(renewal_.due() - now_, minutes(5) * 5 / 4);
    now_ = renewal_.due();
    EXPECT_NE(ask(), "");
  }
}

TEST_F(RenewalTest, WhenNobodyCouldBeAskedItAsksAgainSoon) {
  now_ += days(61);
  EXPECT_FALSE(renewal_.over(now_));
  ask();
  renewal_.not_asked(now_);
  EXPECT_LE(renewal_.due() - now_, minutes(1))
      << "a start before the first connection is no failure";
}

TEST_F(RenewalTest, AShortLifeIsRetriedWithinIt) {
  renewal_.use(issue(TlsKey::generate(TlsKey::Kind::ec), minutes(2)));
  EXPECT_LE(renewal_.due(), now_ + std::chrono::seconds(72));
  EXPECT_GE(renewal_.due(), now_ + std::chrono::seconds(50));
  now_ += minutes(1);
  ask();
  renewal_.failed(now_);
  EXPECT_LE(renewal_.due() - now_, std::chrono::seconds(2));
}

TEST_F(RenewalTest, ARequestIsBelievedFromItsNodeOnly) {
  now_ += days(61);
  wire::pb::Signed message;
  ASSERT_TRUE(message.ParseFromString(ask()));
  const PublicKey key = node_.self.identity.public_key();
  EXPECT_TRUE(read_certificate_request(message, key, node_.self.id)->current);
  const TestNode other = group_.node(Role::gateway, "gw2.dmz.example");
  EXPECT_FALSE(read_certificate_request(message, other.self.identity.public_key(), other.self.id));
  EXPECT_FALSE(read_certificate_request(message, key, other.self.id));
  message.mutable_body()->back() ^= 1;
  EXPECT_FALSE(read_certificate_request(message, key, node_.self.id));
}

// ---- In a hurry

TEST_F(RenewalTest, InAHurryItAsksWithinTheTimeThatIsGivenHoweverYoungItIs) {
  now_ += days(1);
  EXPECT_EQ(ask(), "");
  renewal_.hurry(now_, minutes(10));
  EXPECT_TRUE(renewal_.hurries());
  EXPECT_LE(renewal_.due(), now_ + minutes(10));
  now_ += minutes(10);
  const std::string body = ask();
  ASSERT_NE(body, "");
  for (int i = 0; i < 10; ++i) {
    renewal_.failed(now_);
    EXPECT_LE(renewal_.due() - now_, minutes(5) * 5 / 4);
    now_ = renewal_.due();
    ASSERT_NE(ask(), "");
  }
  const Certificate shorter = answer(body, days(1));
  ASSERT_TRUE(renewal_.on_reply({shorter}, anchors(), now_)) << "it need not live longer";
  renewal_.use(shorter);
  EXPECT_FALSE(renewal_.hurries());
  EXPECT_GT(renewal_.due(), now_);
}

TEST_F(RenewalTest, AHurryPutsNothingOff) {
  now_ += days(61);
  const WallTime due = renewal_.due();
  renewal_.hurry(now_, days(30));
  EXPECT_LE(renewal_.due(), due);
}

}  // namespace
}  // namespace postern::node
