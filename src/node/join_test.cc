#include "node/join.h"

#include <gmock/gmock.h>

#include "identity/authority.h"
#include "node/signed.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using std::chrono::hours;
using testing::HasSubstr;
using testing_support::kWall;
using testing_support::TestGroup;

constexpr const char* kName = "web.dmz.example";

/// The management group's side is played with its keys; whoever is in between, with his own.
class JoinTest : public testing::Test {
 protected:
  JoinToken token() {
    JoinToken token;
    token.group = group_.name;
    token.root_sha256 = group_.root.public_key().fingerprint();
    token.anchors_sha256 = {authority_.certificate().fingerprint()};
    token.role = Role::agent;
    token.expires = kWall + hours(24);
    token.addresses = {"gw1.dmz.example"};
    random_.fill(token.seed);
    return token;
  }
  Joining joining() {
    token_ = token();
    return std::move(*Joining::create(token_, {kName, Role::agent, identity_, tls_key_}));
  }
  wire::pb::JoinReply granted(const std::string& request) {
    const auto ask = read_join_request(request);
    EXPECT_TRUE(ask) << ask.error().message;
    wire::pb::JoinReply reply;
    reply.set_ask_sha256(field_of(ask->sha256));
    reply.set_group(group_.name);
    reply.set_outcome(static_cast<std::uint32_t>(JoinOutcome::approved));
    reply.set_time_ms(to_ms(kWall));
    reply.add_chain(field_of(issue(ask->csr).der()));
    reply.add_anchors(field_of(authority_.certificate().der()));
    return reply;
  }
  Certificate issue(const std::string& csr) {
    return authority_.sign(as_bytes(csr), {.now = kWall}, random_).value();
  }
  std::string answer(const wire::pb::JoinReply& reply) {
    return join_answer(reply, group_.root.public_key(), {group_.delegation()}, group_.delegate, 1);
  }

  SeededRandom random_{1};
  TestGroup group_;
  PrivateKey identity_ = PrivateKey::generate();
  TlsKey tls_key_ = TlsKey::generate(TlsKey::Kind::ec);
  CertificateAuthority authority_ =
      std::move(CertificateAuthority::create("demo", kWall - hours(1), random_).value());
  JoinToken token_;
};

TEST_F(JoinTest, ATokenComesBackFromItsLineAsItWas) {
  const JoinToken made = token();
  const std::string line = join_token_text(made);
  EXPECT_THAT(line, testing::StartsWith("postern-join-1."));
  const auto read = parse_join_token("  " + line + "\n");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->group, made.group);
  EXPECT_EQ(read->root_sha256, made.root_sha256);
  EXPECT_EQ(read->anchors_sha256, made.anchors_sha256);
  EXPECT_EQ(read->role, Role::agent);
  EXPECT_EQ(read->expires, made.expires);
  EXPECT_EQ(read->addresses, made.addresses);
  EXPECT_EQ(read->seed, made.seed);
  EXPECT_EQ(join_token_id(read->key().public_key()), join_token_id(made.key().public_key()));
}

TEST_F(JoinTest, ALineThatWasCutOrMistypedIsToldFromOneThatIsNone) {
  const std::string line = join_token_text(token());
  EXPECT_THAT(parse_join_token(line.substr(0, line.size() - 4)).error().message, HasSubstr("copy"));
  for (std::size_t i = 20; i < line.size(); i += 7) {
    std::string other = line;
    other[i] = other[i] == 'A' ? 'B' : 'A';
    const auto read = parse_join_token(other);
    ASSERT_FALSE(read) << i;
    EXPECT_THAT(read.error().message, HasSubstr("copy")) << i;
    EXPECT_THAT(read.error().message, testing::Not(HasSubstr(other.substr(30, 20))))
        << "a message repeats no secret";
  }
  EXPECT_THAT(parse_join_token("postern_00_11").error().message, HasSubstr("no join token"));
  EXPECT_FALSE(parse_join_token(""));
}

TEST_F(JoinTest, WhatTheGroupAnswersMakesAMember) {
  Joining joining = this->joining();
  const std::string request = joining.ask(kWall, random_);
  EXPECT_LT(request.size(), kJoinBytesMax / 8);
  const auto result = joining.on_answer(answer(granted(request)), kWall);
  ASSERT_TRUE(result) << result.error().message;
  const auto& member = std::get<Joining::Member>(*result);
  EXPECT_TRUE(member.approved);
  EXPECT_EQ(member.root, group_.root.public_key());
  EXPECT_TRUE(member.credential.key.matches(member.credential.chain.front()));
  EXPECT_EQ(member.anchors.certificates().size(), 1u);
}

TEST_F(JoinTest, TheTokensSeedCrossesNoHop) {
  Joining joining = this->joining();
  const std::string request = joining.ask(kWall, random_);
  EXPECT_EQ(request.find(as_text(token_.seed)), std::string::npos);
  const auto ask = read_join_request(request);
  ASSERT_TRUE(ask);
  EXPECT_TRUE(ask->signed_by(token_.key().public_key()));
  EXPECT_FALSE(ask->signed_by(PrivateKey::generate().public_key()));
}

TEST_F(JoinTest, AGatewayThatPutsItselfInThePlaceOfTheMachineHasNoSignature) {
  Joining joining = this->joining();
  const std::string request = joining.ask(kWall, random_);
  wire::pb::JoinRequest stolen;
  ASSERT_TRUE(stolen.ParseFromString(request));
  wire::pb::JoinAsk ask;
  ASSERT_TRUE(ask.ParseFromString(stolen.ask()));
  const PrivateKey thief = PrivateKey::generate();
  const auto with_own_identity = [&](const std::string& csr) {
    wire::pb::JoinAsk changed = ask;
    changed.set_identity_key(field_of(thief.public_key().spki()));
    changed.set_csr(csr);
    wire::pb::JoinRequest made;
    made.set_ask(changed.SerializeAsString());
    made.set_token_signature(stolen.token_signature());
    made.set_identity_signature(field_of(thief.sign("postern join v1", as_bytes(made.ask()))));
    return made.SerializeAsString();
  };
  const auto read = read_join_request(
      with_own_identity(*make_request(TlsKey::generate(TlsKey::Kind::ec), kName)));
  ASSERT_TRUE(read) << "it can sign for itself";
  EXPECT_FALSE(read->signed_by(token_.key().public_key())) << "and not for the token";

  wire::pb::JoinRequest other_key = stolen;  // the machine's identity, the thief's TLS key
  wire::pb::JoinAsk changed = ask;
  changed.set_csr(*make_request(TlsKey::generate(TlsKey::Kind::ec), kName));
  other_key.set_ask(changed.SerializeAsString());
  EXPECT_FALSE(read_join_request(other_key.SerializeAsString()));
}

TEST_F(JoinTest, WhatSomebodyInBetweenAnswersIsNoAnswer) {
  Joining joining = this->joining();
  const std::string request = joining.ask(kWall, random_);
  const wire::pb::JoinReply good = granted(request);
  const PrivateKey thief = PrivateKey::generate();

  EXPECT_FALSE(joining.on_answer("", kWall));
  EXPECT_FALSE(joining.on_answer(std::string(2 * kJoinAnswerBytesMax, 'x'), kWall));
  EXPECT_FALSE(joining.on_answer(
      join_answer(good, group_.root.public_key(), {group_.delegation()}, thief, 1), kWall))
      << "signed by nobody the group has named";
  EXPECT_FALSE(joining.on_answer(
      join_answer(good, thief.public_key(), {group_.delegation()}, group_.delegate, 1), kWall))
      << "another root";
  EXPECT_FALSE(
      joining.on_answer(join_answer(good, group_.root.public_key(), {}, group_.delegate, 1), kWall))
      << "no delegation";
  std::string flipped = answer(good);
  for (std::size_t i = 0; i < flipped.size(); ++i) {
    flipped[i] ^= 1;
    const auto taken = joining.on_answer(flipped, kWall);
    EXPECT_FALSE(taken && std::holds_alternative<Joining::Refused>(*taken)) << i;
    flipped[i] ^= 1;
  }
  EXPECT_TRUE(joining.on_answer(answer(good), kWall)) << "the true one, late";
}

TEST_F(JoinTest, AnOldAnswerIsNoAnswerToANewRequest) {
  Joining joining = this->joining();
  const std::string kept = answer(granted(joining.ask(kWall, random_)));
  const std::string again = joining.ask(kWall, random_);
  EXPECT_FALSE(joining.on_answer(kept, kWall));
  EXPECT_TRUE(joining.on_answer(answer(granted(again)), kWall));
}

TEST_F(JoinTest, ACertificateForAnotherKeyNameOrAuthorityIsNotTaken) {
  Joining joining = this->joining();
  const wire::pb::JoinReply good = granted(joining.ask(kWall, random_));
  const auto with = [&](const Certificate& leaf, const Certificate& anchor) {
    wire::pb::JoinReply reply = good;
    reply.set_chain(0, field_of(leaf.der()));
    reply.set_anchors(0, field_of(anchor.der()));
    return joining.on_answer(answer(reply), kWall);
  };
  const Certificate other_key = issue(*make_request(TlsKey::generate(TlsKey::Kind::ec), kName));
  const Certificate other_name = issue(*make_request(tls_key_, "ms.home.example"));
  EXPECT_FALSE(with(other_key, authority_.certificate()));
  EXPECT_FALSE(with(other_name, authority_.certificate()));
  auto theirs = std::move(CertificateAuthority::create("demo", kWall - hours(1), random_).value());
  const Certificate by_them =
      theirs.sign(as_bytes(*make_request(tls_key_, kName)), {.now = kWall}, random_).value();
  const auto refused = with(by_them, theirs.certificate());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("token")) << "its anchor is not the token's";
}

TEST_F(JoinTest, EveryRequestHasAHigherNumberAlsoWhenTheClockStands) {
  Joining joining = this->joining();
  const auto number = [&] { return read_join_request(joining.ask(kWall, random_))->number; };
  const std::int64_t first = number();
  EXPECT_EQ(first, to_ms(kWall));
  EXPECT_EQ(number(), first + 1);
  // The group knows a later one: this clock was set back.
  wire::pb::JoinReply refused;
  refused.set_ask_sha256(field_of(read_join_request(joining.ask(kWall, random_))->sha256));
  refused.set_outcome(static_cast<std::uint32_t>(JoinOutcome::refused));
  refused.set_reason(static_cast<std::uint32_t>(JoinReason::replayed));
  refused.set_ask_sha256(refused.ask_sha256());
  refused.set_number(first + 1'000'000);
  refused.set_retry_after_ms(1000);
  const auto said = joining.on_answer(answer(refused), kWall);
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(std::get<Joining::Refused>(*said).reason, JoinReason::replayed);
  EXPECT_EQ(number(), first + 1'000'001);
}

}  // namespace
}  // namespace postern::node
