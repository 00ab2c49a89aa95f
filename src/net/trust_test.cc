// Rule C8: whatever is wrong with a certificate, both sides learn it in the same words.

#include <gmock/gmock.h>

#include "net/test_world.h"

namespace postern {
namespace {

using testing_support::authority_recipe;
using testing_support::credential_of;
using testing_support::Issued;
using testing_support::kClient;
using testing_support::key_of;
using testing_support::kNow;
using testing_support::kServer;
using testing_support::leaf_recipe;
using testing_support::make;
using testing_support::Recipe;
using testing_support::World;

struct Wrong {
  wire::Refusal reason;
  std::function<void(Recipe&)> spoil = [](Recipe&) {};
  bool strange_root = false;
  bool weak_key = false;
};

void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wire::to_string(wrong.reason); }

class TrustTest : public World, public ::testing::WithParamInterface<Wrong> {
 protected:
  TlsCredential wrong_credential(const std::string& name, bool for_client) {
    Recipe recipe = leaf_recipe(name);
    GetParam().spoil(recipe);
    if (GetParam().reason == wire::Refusal::wrong_usage)
      recipe.extended_key_usage = for_client ? "serverAuth" : "clientAuth";
    const Issued strange = make(authority_recipe("A stranger's root"));
    return credential_of(make(recipe, GetParam().strange_root ? &strange : &root_,
                              GetParam().weak_key ? key_of("RSA", 1024) : key_of("P-256")));
  }
};

/// Only a dialler knows by itself which name to expect (W5).
class DialledTrustTest : public TrustTest {};

TEST_P(TrustTest, TheAcceptorSaysWhatIsWrongWithTheDiallersCertificate) {
  listen();
  dial(context(wrong_credential(kClient, true)));
  until([&] { return client_.closed.size() == 1 && server_.turned_away.size() == 1; });
  const RefusedPeer& away = server_.turned_away[0];
  ASSERT_EQ(client_.refusals.size(), 1u);
  EXPECT_EQ(away.notice.reason, GetParam().reason);
  EXPECT_EQ(client_.refusals[0].reason, GetParam().reason);
  EXPECT_EQ(client_.refusals[0].words, away.notice.words);
  EXPECT_FALSE(away.notice.words.empty());
  EXPECT_EQ(client_.refusals[0].refuser, kServer);
  EXPECT_EQ(client_.refusals[0].time, kNow);
  EXPECT_EQ(away.chain.at(0).dns_names().at(0), kClient);
  EXPECT_TRUE(server_.channels.empty());
  EXPECT_EQ(port_->counters().refused[static_cast<std::size_t>(GetParam().reason)], 1u);
}

TEST_P(DialledTrustTest, TheDiallerSaysWhatIsWrongWithTheAcceptorsCertificate) {
  listen({}, context(wrong_credential(kServer, false)));
  dial(context(leaf_recipe(kClient)));
  until([&] { return failure_ && server_.closed.size() == 1; });
  EXPECT_EQ(failure_->stage, DialFailure::Stage::refused);
  ASSERT_TRUE(failure_->refusal.has_value());
  ASSERT_EQ(server_.refusals.size(), 1u);
  EXPECT_EQ(failure_->refusal->reason, GetParam().reason);
  EXPECT_EQ(server_.refusals[0].reason, GetParam().reason);
  EXPECT_EQ(server_.refusals[0].words, failure_->refusal->words);
  EXPECT_THAT(failure_->words, testing::HasSubstr(failure_->refusal->words));  // our own log too
  EXPECT_EQ(server_.refusals[0].refuser, kClient);
  EXPECT_TRUE(client_.channels.empty());
  EXPECT_EQ(port_->counters().refused_by_peer[static_cast<std::size_t>(GetParam().reason)], 1u);
}

// The canary: the same wrong certificates pass when the check after the handshake is switched off,
// so it is that check, not something in front of it, that the tests above see at work.
TEST_P(DialledTrustTest, OnlyTheCheckAfterTheHandshakeStandsInTheWay) {
  listen({}, context(wrong_credential(kServer, false), true));
  dial(context(wrong_credential(kClient, true), true));
  until([&] { return !client_.channels.empty() && !server_.channels.empty(); });
  client_.channels[0]->send(wire::make_message(wire::Type::hello, to_bytes("let me in")));
  until([&] { return server_.messages.size() == 1; });
  EXPECT_TRUE(client_.refusals.empty());
  EXPECT_TRUE(server_.turned_away.empty());
}

std::string name_of(const ::testing::TestParamInfo<Wrong>& wrong) {
  return wire::to_string(wrong.param.reason);
}

const auto kWrongForBoth = ::testing::Values(
    Wrong{wire::Refusal::unknown_ca, [](Recipe&) {}, true, false},
    Wrong{wire::Refusal::expired, [](Recipe& r) { r.not_after = kNow - std::chrono::hours(1); }},
    Wrong{wire::Refusal::not_yet_valid,
          [](Recipe& r) { r.not_before = kNow + std::chrono::hours(1); }},
    Wrong{wire::Refusal::wrong_usage}, Wrong{wire::Refusal::weak_key, [](Recipe&) {}, false, true});
const auto kWrongName = ::testing::Values(
    Wrong{wire::Refusal::wrong_name, [](Recipe& r) { r.dns_names = {"other.site.example"}; }});

INSTANTIATE_TEST_SUITE_P(Both, TrustTest, kWrongForBoth, name_of);
INSTANTIATE_TEST_SUITE_P(Both, DialledTrustTest, kWrongForBoth, name_of);
INSTANTIATE_TEST_SUITE_P(Dialler, DialledTrustTest, kWrongName, name_of);

using TrustWithoutCertificate = World;

TEST_F(TrustWithoutCertificate, TheAcceptorSaysThatNoneWasShown) {
  listen();
  dial(context(std::nullopt));
  until([&] { return client_.closed.size() == 1 && server_.turned_away.size() == 1; });
  EXPECT_EQ(server_.turned_away[0].notice.reason, wire::Refusal::no_certificate);
  EXPECT_EQ(client_.refusals.at(0).reason, wire::Refusal::no_certificate);
  EXPECT_EQ(client_.refusals.at(0).words, server_.turned_away[0].notice.words);
}

// W4: what a peer that was turned away says is not even parsed.
TEST_F(TrustWithoutCertificate, NothingOfAnUnverifiedPeerReachesTheProduct) {
  listen();
  dial(context(std::nullopt));
  until([&] { return client_.channels.size() == 1; });
  client_.channels[0]->send(wire::make_message(wire::Type::hello, to_bytes("let me in")));
  until([&] { return client_.closed.size() == 1 && server_.turned_away.size() == 1; });
  EXPECT_TRUE(server_.messages.empty());
  EXPECT_TRUE(server_.channels.empty());
  EXPECT_EQ(port_->counters().garbage, 0u);
}

TEST_F(TrustWithoutCertificate, ANewContextIsUsedForTheNextHandshake) {
  Recipe expired = leaf_recipe(kServer);
  expired.not_after = kNow - std::chrono::hours(1);
  listen({}, context(expired));
  dial(context(leaf_recipe(kClient)));
  until([&] { return failure_.has_value(); });
  port_->set_tls(context(leaf_recipe(kServer)));
  dial(context(leaf_recipe(kClient)));
  until([&] { return client_.channels.size() == 1; });
}

}  // namespace
}  // namespace postern
