#include "node/trust.h"

#include <gtest/gtest.h>

#include <map>

#include "base/fake_disk.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::Issued;
using testing_support::kWall;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;

const std::filesystem::path kFolder = "/state/documents";

class TrustTest : public ::testing::Test {
 protected:
  Trust make(std::optional<PublicKey> root) {
    return Trust(lines_.log, std::move(root), kFolder,
                 [this](const std::filesystem::path& path, const Bytes& bytes) {
                   ++saves_;
                   ASSERT_TRUE(disk_.make_directories(path.parent_path()));
                   ASSERT_TRUE(disk_.write_file(path, bytes));
                 });
  }
  /// Why `document` is not believed; "" when it is.
  std::string objection(const wire::pb::Signed& document, WallTime now = kWall) {
    auto taken = trust_.take(document, now);
    return taken ? "" : taken.error().message;
  }
  bool is_new(const wire::pb::Signed& document) {
    auto taken = trust_.take(document, kWall);
    EXPECT_TRUE(taken) << taken.error().message;
    return taken && taken->is_new;
  }
  wire::pb::Signed delegate_with(std::vector<Scope> scopes, WallTime not_after) {
    return sign_document(
        group_.delegation_body(2, other_.public_key(), std::move(scopes), not_after), group_.root,
        0);
  }
  std::string settled_objection(const wire::Settled& settled, const PrivateKey& key,
                                WallTime now = kWall) {
    const Bytes bytes = TestGroup::sign(settled, key);
    auto view = wire::read_settled(bytes);
    EXPECT_TRUE(view);
    auto believed = trust_.believe(*view, now);
    return believed ? "" : believed.error().message;
  }
  wire::Settled settled() const {
    return group_.settled_of({agent_.stream(wire::Lane::metric), {{1, 3, Digest{}}}});
  }

  TestGroup group_;
  PrivateKey other_ = PrivateKey::generate();
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  LogLines lines_;
  FakeDisk disk_;
  int saves_ = 0;
  Trust trust_ = make(group_.root.public_key());
};

TEST_F(TrustTest, BelievesTheRootsDelegationAndWhatIsSignedUnderIt) {
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_EQ(objection(group_.approval(agent_)), "");
  const auto approved = trust_.approval(agent_.self.id);
  ASSERT_TRUE(approved);
  EXPECT_EQ(approved->approval.name(), "agent1.site.example");
  EXPECT_EQ(approved->document.body(), group_.approval(agent_).body());
}

TEST_F(TrustTest, ADocumentSignedByTheRootItselfIsBelieved) {
  EXPECT_EQ(objection(sign_document(group_.approval_body(agent_, 1), group_.root, 0)), "");
}

TEST_F(TrustTest, AnUnknownDelegationIsNotBelieved) {
  EXPECT_EQ(objection(group_.approval(agent_)), "delegation 1 is not known here");
  EXPECT_FALSE(trust_.approval(agent_.self.id));
  EXPECT_EQ(saves_, 0);
}

TEST_F(TrustTest, AnotherGroupsDocumentIsNotBelieved) {
  auto body = group_.approval_body(agent_, 1);
  body.set_group_id(field_of(other_.node_id().bytes));
  EXPECT_EQ(objection(sign_document(body, group_.root, 0)), "a approval document of another group");
}

TEST_F(TrustTest, ADelegationIsGoodForItsScopesOnly) {
  EXPECT_EQ(objection(delegate_with({Scope::ticks}, kWall + std::chrono::days(1))), "");
  EXPECT_EQ(objection(sign_document(group_.approval_body(agent_, 1), other_, 2)),
            "delegation 2 is not for this kind of document");
  wire::pb::Tick tick;
  tick.set_time_ms(to_ms(kWall));
  tick.set_generation(4);
  EXPECT_EQ(objection(sign_document(group_.body(DocumentType::tick, 1, tick.SerializeAsString()),
                                    other_, 2)),
            "");
  EXPECT_EQ(trust_.newest_tick(), kWall);
  EXPECT_EQ(trust_.generation(), 4u);
}

TEST_F(TrustTest, ADelegationEndsWhenItSays) {
  const WallTime end = kWall + std::chrono::days(1);
  EXPECT_EQ(objection(delegate_with({Scope::documents}, end)), "");
  const auto document = sign_document(group_.approval_body(agent_, 1), other_, 2);
  EXPECT_NE(objection(document, end + std::chrono::milliseconds(1)), "");
  EXPECT_EQ(objection(document, end), "");
}

TEST_F(TrustTest, AnExpiredDocumentIsNotBelieved) {
  EXPECT_EQ(objection(group_.delegation()), "");
  auto body = group_.approval_body(agent_, 1);
  body.set_expires_ms(to_ms(kWall) - 1);
  EXPECT_NE(objection(sign_document(body, group_.delegate, 1)), "");
}

TEST_F(TrustTest, AnAlteredBodyIsNotBelieved) {
  EXPECT_EQ(objection(group_.delegation()), "");
  auto document = group_.approval(agent_);
  auto body = group_.approval_body(agent_, 2);
  document.set_body(body.SerializeAsString());
  EXPECT_EQ(objection(document), "a approval document whose signature does not verify");
  document = group_.approval(agent_);
  document.mutable_signature()->pop_back();
  EXPECT_NE(objection(document), "");
}

TEST_F(TrustTest, ADelegationCannotMakeDelegations) {
  EXPECT_EQ(objection(group_.delegation()), "");
  const auto body = group_.delegation_body(2, other_.public_key(), {Scope::documents},
                                           kWall + std::chrono::days(1));
  EXPECT_EQ(objection(sign_document(body, group_.delegate, 1)),
            "a delegation that is not signed by the group root");
  // Nor by saying that the root had signed it.
  EXPECT_EQ(objection(sign_document(body, group_.delegate, 0)),
            "a delegation document whose signature does not verify");
}

TEST_F(TrustTest, AnOlderNumberChangesNothing) {
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_TRUE(is_new(group_.approval(agent_, 5, {"new.site.example"})));
  EXPECT_FALSE(is_new(group_.approval(agent_, 4, {"old.site.example"})));
  EXPECT_EQ(trust_.approval(agent_.self.id)->approval.parents(0), "new.site.example");
}

TEST_F(TrustTest, ANewerGenerationWinsOverAHigherNumber) {
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_TRUE(is_new(group_.approval(agent_, 5, {"old.site.example"})));
  auto body = group_.approval_body(agent_, 1, {"new.site.example"});
  body.set_generation(2);
  EXPECT_TRUE(is_new(sign_document(body, group_.delegate, 1)));
  EXPECT_EQ(trust_.approval(agent_.self.id)->approval.parents(0), "new.site.example");
}

TEST_F(TrustTest, WhatATickDoesNotNameOrCallsOlderIsShown) {
  EXPECT_EQ(objection(group_.delegation()), "");
  const auto approval = group_.approval(agent_, 5);
  wire::pb::DenyList list;
  list.add_entries()->set_node_id(field_of(other_.node_id().bytes));
  const auto deny = sign_document(group_.body(DocumentType::deny, 1, list.SerializeAsString()),
                                  group_.delegate, 1);
  EXPECT_TRUE(is_new(approval));
  EXPECT_TRUE(is_new(deny));
  const auto shown_to = [&](std::map<DocumentType, std::uint64_t> numbers) {
    wire::pb::Tick tick;
    for (const auto& [type, number] : numbers) {
      auto* const named = tick.add_numbers();
      named->set_type(static_cast<std::uint32_t>(type));
      named->set_generation(1);
      named->set_number(number);
    }
    std::vector<std::string> bodies;
    for (const auto& document :
         trust_.newer_than(group_.body(DocumentType::tick, 9, tick.SerializeAsString())))
      bodies.push_back(document.body());
    return bodies;
  };
  using Bodies = std::vector<std::string>;
  EXPECT_EQ(shown_to({{DocumentType::deny, 1}, {DocumentType::approval, 5}}), Bodies{});
  EXPECT_EQ(shown_to({{DocumentType::deny, 1}, {DocumentType::approval, 4}}),
            Bodies{approval.body()});
  // The first list of the group, lost with the store: nothing is left of it there.
  EXPECT_EQ(shown_to({{DocumentType::approval, 5}}), Bodies{deny.body()});
  EXPECT_EQ(shown_to({}), (Bodies{deny.body(), approval.body()}));
}

TEST_F(TrustTest, TheSameNumberWithOtherBytesIsRefused) {
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_TRUE(is_new(group_.approval(agent_, 5, {"a.site.example"})));
  EXPECT_FALSE(is_new(group_.approval(agent_, 5, {"a.site.example"})));
  EXPECT_EQ(objection(group_.approval(agent_, 5, {"b.site.example"})),
            "two different approval documents have the number 5");
  EXPECT_EQ(trust_.approval(agent_.self.id)->approval.parents(0), "a.site.example");
}

TEST_F(TrustTest, AnApprovalForAnotherAudienceIsRefused) {
  EXPECT_EQ(objection(group_.delegation()), "");
  auto body = group_.approval_body(agent_, 1);
  body.set_audience(field_of(other_.node_id().bytes));
  EXPECT_NE(objection(sign_document(body, group_.delegate, 1)), "");
  EXPECT_FALSE(trust_.approval(other_.node_id()));
}

TEST_F(TrustTest, TheDenyListIsTheWholeListEveryTime) {
  const NodeId a = PrivateKey::generate().node_id(), b = PrivateKey::generate().node_id();
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_EQ(objection(group_.deny(1, {a}, 1)), "");
  ASSERT_TRUE(trust_.denied(a, CertificateMark{}));
  EXPECT_EQ(trust_.denied(a, CertificateMark{})->reason, 1u);
  EXPECT_FALSE(trust_.denied(b, CertificateMark{}));
  EXPECT_EQ(objection(group_.deny(2, {b}, 2)), "");
  EXPECT_FALSE(trust_.denied(a, CertificateMark{}));
  EXPECT_EQ(trust_.denied(b, CertificateMark{})->reason, 2u);
  // An old list does not bring anybody back.
  EXPECT_FALSE(is_new(group_.deny(1, {a}, 1)));
  EXPECT_TRUE(trust_.denied(b, CertificateMark{}));
}

TEST_F(TrustTest, ATlsKeyCanBeDenied) {
  EXPECT_EQ(objection(group_.delegation()), "");
  wire::pb::DenyList list;
  auto* entry = list.add_entries();
  entry->set_tls_key_sha256(field_of(agent_.tls_key()));
  entry->set_reason(3);
  EXPECT_EQ(objection(sign_document(group_.body(DocumentType::deny, 1, list.SerializeAsString()),
                                    group_.delegate, 1)),
            "");
  EXPECT_TRUE(trust_.denied(agent_.self.id, agent_.mark()));
  EXPECT_FALSE(trust_.denied(agent_.self.id, CertificateMark{}));
}

TEST_F(TrustTest, ACertificateCanBeDeniedByItsIssuerAndSerial) {
  EXPECT_EQ(objection(group_.delegation()), "");
  CertificateMark same_number = agent_.mark(), of_the_issuer = agent_.mark();
  same_number.tls_key = {};
  same_number.issuer = {};
  of_the_issuer.tls_key = {};
  EXPECT_EQ(objection(group_.deny_certificate(1, of_the_issuer, 5)), "");
  const auto denied = trust_.denied(agent_.self.id, of_the_issuer);
  ASSERT_TRUE(denied);
  EXPECT_TRUE(denied->certificate);
  EXPECT_EQ(denied->reason, 5u);
  EXPECT_FALSE(trust_.denied(same_number)) << "the number of another issuer";
  EXPECT_FALSE(trust_.denied(CertificateMark{}));

  EXPECT_EQ(objection(group_.deny_certificate(2, same_number, 3)), "");
  EXPECT_TRUE(trust_.denied(agent_.mark())) << "of whichever issuer";
  EXPECT_EQ(objection(group_.deny(3, {agent_.self.id})), "");
  EXPECT_FALSE(trust_.denied(agent_.mark()));
  EXPECT_FALSE(trust_.denied(agent_.self.id, agent_.mark())->certificate);
}

TEST_F(TrustTest, UnpinnedItBelievesNothing) {
  Trust unpinned = make(std::nullopt);
  EXPECT_FALSE(unpinned.pinned());
  EXPECT_EQ(unpinned.group_id(), NodeId{});
  EXPECT_FALSE(unpinned.take(group_.delegation(), kWall));
  const Bytes bytes = group_.settled({agent_.stream(wire::Lane::metric), {}});
  EXPECT_FALSE(unpinned.believe(*wire::read_settled(bytes), kWall));
}

TEST_F(TrustTest, ChildrenGetDelegationsFirst) {
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_EQ(objection(group_.approval(agent_)), "");
  EXPECT_EQ(objection(group_.deny(1, {})), "");
  const auto documents = trust_.for_children();
  ASSERT_EQ(documents.size(), 2u);  // approvals are each for one
  wire::pb::DocumentBody first;
  ASSERT_TRUE(first.ParseFromString(documents[0].body()));
  EXPECT_EQ(first.type(), static_cast<std::uint32_t>(DocumentType::delegation));
}

TEST_F(TrustTest, BelievesAgainAfterARestart) {
  const NodeId denied = PrivateKey::generate().node_id();
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_EQ(objection(group_.approval(agent_)), "");
  EXPECT_EQ(objection(group_.deny(7, {denied})), "");
  Trust again = make(group_.root.public_key());
  again.load(disk_, kWall);  // "approval-" sorts before the delegation that it needs
  EXPECT_TRUE(again.approval(agent_.self.id));
  EXPECT_TRUE(again.denied(denied, CertificateMark{}));
  EXPECT_EQ(again.numbers().size(), 3u);
  // Nothing goes back behind what was known before.
  EXPECT_FALSE(again.take(group_.deny(6, {}), kWall)->is_new);
  EXPECT_EQ(lines_.count("not believed"), 0u);
}

TEST_F(TrustTest, WhatIsReadAtTheStartIsNotWrittenAgain) {
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_EQ(saves_, 1);
  Trust again = make(group_.root.public_key());
  again.load(disk_, kWall);
  EXPECT_EQ(saves_, 1);
}

TEST_F(TrustTest, ABadFileIsLoggedAndLeftAlone) {
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_EQ(objection(group_.approval(agent_)), "");
  const auto garbage = kFolder / "deny-all.signed", forged = kFolder / "tick-all.signed",
             foreign = kFolder / "notes.txt";
  disk_.set_contents(garbage, to_bytes("\xff\xff\xff not a document"));
  const std::string bad =
      sign_document(group_.body(DocumentType::tick, 1, ""), other_, 1).SerializeAsString();
  disk_.set_contents(forged, to_bytes(bad));
  disk_.set_contents(foreign, to_bytes("keep me"));
  Trust again = make(group_.root.public_key());
  again.load(disk_, kWall);
  EXPECT_TRUE(again.approval(agent_.self.id));
  EXPECT_FALSE(again.newest_tick());
  EXPECT_EQ(lines_.count("deny-all.signed cannot be read"), 1u);
  EXPECT_EQ(lines_.count("tick-all.signed is not believed"), 1u);
  EXPECT_EQ(disk_.contents(garbage), to_bytes("\xff\xff\xff not a document"));
  EXPECT_EQ(disk_.contents(forged), to_bytes(bad));
  EXPECT_EQ(disk_.contents(foreign), to_bytes("keep me"));
}

TEST_F(TrustTest, ADocumentOverTheLimitIsNotRead) {
  auto body = group_.body(DocumentType::task, 1, std::string(kDocumentBodyMax, 'x'));
  EXPECT_NE(objection(sign_document(body, group_.root, 0)), "");
}

// ---- settled

TEST_F(TrustTest, BelievesASettledOfAKnownDelegation) {
  EXPECT_NE(settled_objection(settled(), group_.delegate), "");
  EXPECT_EQ(objection(group_.delegation()), "");
  EXPECT_EQ(settled_objection(settled(), group_.delegate), "");
}

TEST_F(TrustTest, DoesNotBelieveASettledOfAnotherGroupOrKeyOrScopeOrTime) {
  EXPECT_EQ(objection(group_.delegation()), "");
  wire::Settled foreign = settled();
  foreign.group = other_.node_id();
  EXPECT_EQ(settled_objection(foreign, group_.delegate), "a settled of another group");
  EXPECT_NE(settled_objection(settled(), other_), "");
  wire::Settled unknown = settled();
  unknown.delegation = 9;
  EXPECT_EQ(settled_objection(unknown, group_.delegate), "delegation 9 is not known here");
  EXPECT_NE(settled_objection(settled(), group_.delegate, kWall + std::chrono::days(4000)), "");

  EXPECT_EQ(objection(delegate_with({Scope::documents}, kWall + std::chrono::days(1))), "");
  wire::Settled scope = settled();
  scope.delegation = 2;
  EXPECT_EQ(settled_objection(scope, other_), "delegation 2 is not for this kind of document");
}

TEST_F(TrustTest, DoesNotBelieveAnAlteredSettled) {
  EXPECT_EQ(objection(group_.delegation()), "");
  Bytes bytes = TestGroup::sign(settled(), group_.delegate);
  for (const std::size_t at : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
    Bytes altered = bytes;
    altered[at] ^= std::byte{1};
    auto view = wire::read_settled(altered);
    EXPECT_TRUE(!view || !trust_.believe(*view, kWall)) << at;
  }
}

// ---- Anchors

TEST_F(TrustTest, AnchorsAreTakenFromWhoMaySignForTheAuthorityOnly) {
  const AnchorList list{{{group_.authority.certificate, false}}, {}, {}};
  const auto by = [&](const PrivateKey& key, std::uint64_t signer) {
    return sign_document(group_.body(DocumentType::anchors, 1, list.payload()), key, signer);
  };
  ASSERT_EQ(objection(group_.delegation()), "");
  ASSERT_EQ(objection(delegate_with({Scope::documents, Scope::settled, Scope::ticks},
                                    kWall + std::chrono::days(1))),
            "");
  EXPECT_EQ(objection(by(other_, 2)), "delegation 2 is not for this kind of document");
  EXPECT_NE(objection(by(other_, 1)), "");
  EXPECT_FALSE(trust_.anchors());
  EXPECT_EQ(objection(by(group_.delegate, 1)), "");
  ASSERT_TRUE(trust_.anchors());
  EXPECT_EQ(trust_.anchors()->list, list);
}

TEST_F(TrustTest, AnOldWordAboutAnchorsDoesNotComeBack) {
  const Issued other = testing_support::make(
      testing_support::long_lived(testing_support::authority_recipe("Other")));
  const AnchorList first{{{group_.authority.certificate, false}}, {}, {}};
  const AnchorList second{
      {{other.certificate, false}}, {group_.authority.certificate.fingerprint()}, {}};
  ASSERT_EQ(objection(group_.delegation()), "");
  EXPECT_TRUE(is_new(group_.anchors_document(2, second)));
  EXPECT_FALSE(is_new(group_.anchors_document(1, first)));
  EXPECT_EQ(trust_.anchors()->list, second);
  EXPECT_NE(objection(group_.anchors_document(2, first)), "") << "two of one number";
  EXPECT_NE(objection(sign_document(group_.body(DocumentType::anchors, 3, "garbage"),
                                    group_.delegate, 1)),
            "");
  auto for_one = group_.body(DocumentType::anchors, 4, first.payload());
  for_one.set_audience(field_of(agent_.self.id.bytes));
  EXPECT_NE(objection(sign_document(for_one, group_.delegate, 1)), "");
  EXPECT_EQ(trust_.anchors()->list, second);
}

TEST_F(TrustTest, AnchorsAreSaidAgainToWhoDoesNotNameThem) {
  const AnchorList list{{{group_.authority.certificate, false}}, {}, {}};
  ASSERT_EQ(objection(group_.delegation()), "");
  ASSERT_EQ(objection(group_.anchors_document(5, list)), "");
  wire::pb::Head head;
  ASSERT_EQ(trust_.unknown_to(head).size(), 1u);
  auto* number = head.add_documents();
  number->set_type(static_cast<std::uint32_t>(DocumentType::anchors));
  number->set_generation(1);
  number->set_number(4);
  EXPECT_EQ(trust_.unknown_to(head).size(), 1u);
  number->set_number(5);
  EXPECT_TRUE(trust_.unknown_to(head).empty());
  EXPECT_EQ(trust_.anchors_and_delegations().size(), 2u);
}

}  // namespace
}  // namespace postern::node
