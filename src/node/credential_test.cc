#include "node/credential.h"

#include <gtest/gtest.h>

#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::Issued;
using testing_support::key_of;
using testing_support::kWall;
using testing_support::make;
using testing_support::Recipe;
using testing_support::recipe_for;
using testing_support::TestGroup;
using testing_support::TestNode;

/// gw1 accepted a channel that agent a1 dialled; both can show a renewed certificate.
class CredentialTest : public testing::Test {
 protected:
  CredentialTest() { exporter_.fill(std::byte{7}); }

  static TlsCredential credential_of(const Issued& issued) {
    return {*TlsKey::from_pem(private_key_pem(issued.key.get())), {issued.certificate}};
  }
  TlsCredential renewed(const Recipe& recipe, KeyPtr key = key_of("P-256")) const {
    return credential_of(make(recipe, &group_.authority, std::move(key)));
  }
  static wire::pb::Credential shown(const Self& self, const TlsCredential& credential,
                                    const Exporter& exporter, bool dialled) {
    wire::pb::Credential message;
    const wire::Message sent = credential_message(self, credential, exporter, dialled, kWall);
    EXPECT_TRUE(message.ParseFromArray(sent.bytes().data(), static_cast<int>(sent.bytes().size())));
    return message;
  }
  Neighbour neighbour(const TestNode& node) const {
    return {node.self.name, node.self.role,
            node.self.id,   node.self.identity.public_key(),
            node.mark(),    0};
  }
  wire::Refusal refusal(const wire::pb::Credential& credential) {
    return verify_credential(credential, neighbour(agent_), exporter_, false, *tls_, gateway_.self)
        .error()
        .reason;
  }

  TestGroup group_;
  TestNode gateway_ = group_.node(Role::gateway, "gw1.dmz.example");
  TestNode agent_ = group_.node(Role::agent, "a1.dmz.example");
  std::shared_ptr<const TlsContext> tls_ =
      *TlsContext::create(gateway_.credential(), group_.anchors(), {.now = [] { return kWall; }});
  Exporter exporter_{};
};

TEST_F(CredentialTest, EverySideAndEveryKindOfKeyCanShowOne) {
  for (const char* kind : {"P-256", "RSA", "ED25519"}) {
    const TlsCredential credential = renewed(recipe_for("a1.dmz.example"), key_of(kind, 2048));
    for (const bool dialled : {true, false}) {
      const auto verified =
          verify_credential(shown(agent_.self, credential, exporter_, dialled), neighbour(agent_),
                            exporter_, !dialled, *tls_, gateway_.self);
      ASSERT_TRUE(verified) << kind << ": " << verified.error().words;
      EXPECT_EQ(verified->tls_key, credential.key.spki_sha256());
    }
  }
}

TEST_F(CredentialTest, ItIsHeldAgainstWhatAHandshakeIsHeldAgainst) {
  const TlsCredential good = renewed(recipe_for("a1.dmz.example"));
  Recipe expired = recipe_for("a1.dmz.example");
  expired.not_after = kWall - std::chrono::hours(1);
  EXPECT_EQ(refusal(shown(agent_.self, renewed(expired), exporter_, true)), wire::Refusal::expired);
  EXPECT_EQ(refusal(shown(agent_.self, renewed(recipe_for("a2.dmz.example")), exporter_, true)),
            wire::Refusal::wrong_name);
  const Issued own = make(recipe_for("a1.dmz.example"));
  EXPECT_EQ(refusal(shown(agent_.self, credential_of(own), exporter_, true)),
            wire::Refusal::unknown_ca);
  EXPECT_EQ(refusal({}), wire::Refusal::no_certificate);

  wire::pb::Credential many = shown(agent_.self, good, exporter_, true);
  for (int i = 0; i < 20; ++i) many.add_chain(many.chain(0));
  EXPECT_EQ(refusal(many), wire::Refusal::protocol);
  wire::pb::Credential garbage = shown(agent_.self, good, exporter_, true);
  garbage.set_chain(0, "garbage");
  EXPECT_EQ(refusal(garbage), wire::Refusal::protocol);
}

TEST_F(CredentialTest, NobodyElseCanShowItAndNowhereElse) {
  const TlsCredential good = renewed(recipe_for("a1.dmz.example"));
  EXPECT_EQ(refusal(shown(gateway_.self, good, exporter_, true)), wire::Refusal::bad_proof)
      << "another identity key";
  Exporter other = exporter_;
  other[0] ^= std::byte{1};
  EXPECT_EQ(refusal(shown(agent_.self, good, other, true)), wire::Refusal::bad_proof)
      << "another connection";
  EXPECT_EQ(refusal(shown(agent_.self, good, exporter_, false)), wire::Refusal::bad_proof)
      << "our own side's, sent back";
  wire::pb::Credential stolen = shown(agent_.self, good, exporter_, true);
  stolen.set_proof(
      shown(agent_.self, renewed(recipe_for("a1.dmz.example")), exporter_, true).proof());
  EXPECT_EQ(refusal(stolen), wire::Refusal::bad_proof) << "the proof of another TLS key";
  wire::pb::Credential mixed = shown(agent_.self, good, exporter_, true);
  *mixed.mutable_statement() = agent_.self.statement(agent_.tls_key(), kWall);
  EXPECT_EQ(refusal(mixed), wire::Refusal::bad_proof) << "a statement about another TLS key";
}

TEST_F(CredentialTest, AConnectionOutlivesItsCertificateByTheGraceOnly) {
  const Certificate& leaf = agent_.certificate();
  const auto grace = std::chrono::hours(24);
  EXPECT_FALSE(refusal_for_age(neighbour(agent_), leaf, grace, leaf.not_after() + grace));
  const auto over = refusal_for_age(neighbour(agent_), leaf, grace,
                                    leaf.not_after() + grace + std::chrono::milliseconds(1));
  ASSERT_TRUE(over);
  EXPECT_EQ(over->reason, wire::Refusal::expired);
}

}  // namespace
}  // namespace postern::node
