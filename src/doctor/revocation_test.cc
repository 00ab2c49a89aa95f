#include "doctor/revocation.h"

#include <gmock/gmock.h>
#include <openssl/pem.h>

#include "base/fake_disk.h"
#include "identity/state_folder.h"
#include "node/test_group.h"

namespace postern::doctor {
namespace {

using node::Role;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing_support::kWall;
using testing_support::TestGroup;
using testing_support::TestNode;

class RevocationTest : public testing::Test {
 protected:
  void pin(const std::string& state) {
    ASSERT_TRUE(disk_.make_directories(state));
    ASSERT_TRUE(StateFolder(disk_, state).pin_group_root(group_.root.public_key()));
  }
  /// As the program keeps what it takes.
  void take(const std::string& state, const std::vector<wire::pb::Signed>& documents) {
    ASSERT_TRUE(disk_.make_directories(state + "/documents"));
    const auto save = [&](const std::filesystem::path& path, const Bytes& bytes) {
      EXPECT_TRUE(disk_.write_file(path, bytes, 0644));
    };
    node::Trust trust(quiet_, group_.root.public_key(), state + "/documents", save);
    for (const auto& document : documents) EXPECT_TRUE(trust.take(document, kWall));
  }
  RevocationView look() {
    const std::vector<Certificate> chain{agent_.certificate()};
    return look_at_revocation(disk_, places_, chain, group_.anchors(), kWall);
  }

  TestGroup group_;
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  TestNode other_ = group_.node(Role::agent, "agent2.site.example");
  Log quiet_{Level::error, [](Level, std::string_view) {}};
  FakeDisk disk_;
  RevocationPlaces places_{{"/state/agent"}, {}};
};

TEST_F(RevocationTest, WhatStandsOnTheNewestDenyListIsRevoked) {
  pin("/state/agent");
  take("/state/agent",
       {group_.delegation(), group_.deny_certificate(3, agent_.mark()), group_.deny(2, {})});
  const auto view = look();
  ASSERT_THAT(view.findings, SizeIs(1));
  EXPECT_EQ(view.findings[0].reason, Reason::revoked);
  EXPECT_EQ(view.findings[0].requirement, "deny list");
  EXPECT_THAT(view.findings[0].words, HasSubstr("compromised"));
  EXPECT_THAT(view.findings[0].words, HasSubstr("deny list 3 in /state/agent"));
}

TEST_F(RevocationTest, OneThatNamesOthersIsPassed) {
  pin("/state/agent");
  take("/state/agent", {group_.delegation(), group_.deny_certificate(3, other_.mark())});
  const auto view = look();
  ASSERT_THAT(view.findings, SizeIs(1));
  EXPECT_TRUE(view.findings[0].passed);
  EXPECT_EQ(view.findings[0].reason, Reason::ok);
}

TEST_F(RevocationTest, OfSeveralRolesTheNewerListCounts) {
  for (const char* state : {"/state/agent", "/state/gateway"}) pin(state);
  take("/state/agent", {group_.delegation(), group_.deny(3, {})});
  take("/state/gateway", {group_.delegation(), group_.deny_certificate(4, agent_.mark())});
  places_.states = {"/state/agent", "/state/gateway"};
  EXPECT_FALSE(look().findings.at(0).passed);
}

TEST_F(RevocationTest, WithoutAListItSaysWhyAndWhatToDo) {
  const auto says = [&](const char* words) {
    const auto view = look();
    EXPECT_THAT(view.findings, IsEmpty());
    ASSERT_FALSE(view.notes.empty());
    EXPECT_THAT(view.notes[0], HasSubstr("the deny list is not checked: "));
    EXPECT_THAT(view.notes[0], HasSubstr(words));
  };
  says("no pinned group root");
  pin("/state/agent");
  says("none that can be believed");
  // Nobody can plant one: without the delegation it is not believed.
  ASSERT_TRUE(disk_.make_directories("/state/agent/documents"));
  const auto planted = group_.deny_certificate(9, agent_.mark()).SerializeAsString();
  ASSERT_TRUE(disk_.write_file("/state/agent/documents/deny-all.signed", as_bytes(planted), 0644));
  says("none that can be believed");
  places_.states.clear();
  says("--state");
}

TEST_F(RevocationTest, WhatItsAuthorityRevokedIsRevoked) {
  const std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>> crl(X509_CRL_new());
  const std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>> at(
      ASN1_TIME_set(nullptr, to_ms(kWall) / 1000));
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(group_.authority.certificate.native()));
  X509_CRL_set1_lastUpdate(crl.get(), at.get());
  X509_REVOKED* entry = X509_REVOKED_new();
  X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(agent_.certificate().native()));
  X509_REVOKED_set_revocationDate(entry, at.get());
  X509_CRL_add0_revoked(crl.get(), entry);
  X509_CRL_sign(crl.get(), group_.authority.key.get(), EVP_sha256());
  ASSERT_TRUE(disk_.make_directories("/etc"));
  ASSERT_TRUE(disk_.write_file("/etc/a.crl", encoded(i2d_X509_CRL, crl.get()), 0644));
  places_.certificates.crl = {"/etc/a.crl"};
  const auto revoked = look();
  ASSERT_THAT(revoked.findings, SizeIs(1));
  EXPECT_EQ(revoked.findings[0].requirement, "revocation");
  EXPECT_EQ(revoked.findings[0].reason, Reason::revoked);
  std::swap(agent_, other_);
  EXPECT_TRUE(look().findings.at(0).passed);
}

TEST_F(RevocationTest, AListOfAnotherAuthorityThatCannotBeReadIsNotPassed) {
  EXPECT_THAT(look().notes.back(), HasSubstr("(CRLs) are not checked: no settings here name any"));
  places_.certificates.crl = {"/etc/nowhere.crl"};
  const auto view = look();
  EXPECT_THAT(view.findings, IsEmpty());
  EXPECT_THAT(view.notes.back(), HasSubstr("/etc/nowhere.crl"));
}

}  // namespace
}  // namespace postern::doctor
