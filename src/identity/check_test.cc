#include "identity/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/test_certificates.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing_support::authority_recipe;
using testing_support::Issued;
using testing_support::key_of;
using testing_support::make;
using testing_support::Recipe;

const WallTime kNow = wall_from_ms(1'800'000'000'000);

class Check : public testing::Test {
 protected:
  Check() : root_(make(authority_recipe("demo CA"))) { trust({root_.certificate}); }

  void trust(std::vector<Certificate> certificates) {
    auto anchors = Anchors::from_certificates(std::move(certificates));
    ASSERT_TRUE(anchors) << anchors.error().message;
    anchors_ = *anchors;
  }

  /// The first failure of the chain, or one with Reason::ok.
  Finding verdict(const std::vector<Certificate>& chain, const CheckOptions& options = good()) {
    return why_refused(chain, anchors_, options).value_or(Finding{});
  }

  static CheckOptions good() { return {.now = kNow, .name = "gw1.site.example"}; }

  Issued root_;
  Anchors anchors_;
};

TEST_F(Check, AGoodLeafPassesEveryRequirementAndSaysSo) {
  const Certificate leaf = make({}, &root_).certificate;
  const auto findings = check_certificate(leaf, {}, anchors_, good());
  EXPECT_EQ(findings.size(), 9u);
  for (const Finding& finding : findings) {
    EXPECT_TRUE(finding.passed) << finding.requirement << ": " << finding.words;
    EXPECT_EQ(finding.reason, Reason::ok);
    EXPECT_FALSE(finding.words.empty());
  }
  EXPECT_FALSE(first_failure(findings));
}

TEST_F(Check, NoCertificateIsAReasonOfItsOwn) {
  EXPECT_EQ(verdict({}).reason, Reason::no_certificate);
}

TEST_F(Check, RsaAndEd25519LeavesPassToo) {
  for (const char* kind : {"RSA", "ED25519", "P-384"}) {
    const Certificate leaf = make({}, &root_, key_of(kind, 2048)).certificate;
    EXPECT_EQ(verdict({leaf}).reason, Reason::ok) << kind;
  }
}

TEST_F(Check, AnotherNameIsRefusedWithBothNames) {
  const Certificate leaf = make({}, &root_).certificate;
  CheckOptions options = good();
  options.name = "gw2.site.example";
  const Finding finding = verdict({leaf}, options);
  EXPECT_EQ(finding.reason, Reason::wrong_name);
  EXPECT_THAT(finding.words, HasSubstr("gw1.site.example"));
  EXPECT_THAT(finding.words, HasSubstr("gw2.site.example"));
}

TEST_F(Check, ACommonNameAloneIsNoName) {
  Recipe recipe;
  recipe.dns_names = {};
  const Finding finding = verdict({make(recipe, &root_).certificate});
  EXPECT_EQ(finding.reason, Reason::wrong_name);
  EXPECT_THAT(finding.words, HasSubstr("common name"));
}

TEST_F(Check, ExpiredSaysWhenAndWhatOurClockSays) {
  Recipe recipe;
  recipe.not_after = kNow - std::chrono::days(1);
  const Finding finding = verdict({make(recipe, &root_).certificate});
  EXPECT_EQ(finding.reason, Reason::expired);
  EXPECT_THAT(finding.words, HasSubstr("expired at 2027-01-14T08:00:00.000Z; this machine's clock "
                                       "says 2027-01-15T08:00:00.000Z"));
}

TEST_F(Check, NotYetValidSaysFromWhen) {
  Recipe recipe;
  recipe.not_before = kNow + std::chrono::hours(1);
  const Finding finding = verdict({make(recipe, &root_).certificate});
  EXPECT_EQ(finding.reason, Reason::not_yet_valid);
  EXPECT_THAT(finding.words, HasSubstr("2027-01-15T09:00:00.000Z"));
}

// The last second belongs to the certificate (RFC 5280, 4.1.2.5).
TEST_F(Check, TheEdgesOfValidityAreInside) {
  Recipe recipe;
  recipe.not_after = kNow;
  EXPECT_EQ(verdict({make(recipe, &root_).certificate}).reason, Reason::ok);
  recipe.not_after = kNow - std::chrono::seconds(1);
  EXPECT_EQ(verdict({make(recipe, &root_).certificate}).reason, Reason::expired);
  recipe.not_after = kNow + std::chrono::days(1);
  recipe.not_before = kNow;
  EXPECT_EQ(verdict({make(recipe, &root_).certificate}).reason, Reason::ok);
}

TEST_F(Check, ACaWithAnAnchorsNameAndAnotherKeyIsToldApart) {
  const Issued other = make(authority_recipe("demo CA"));
  Recipe recipe;
  recipe.names_issuers_key = true;
  const Finding finding = verdict({make(recipe, &other).certificate});
  EXPECT_EQ(finding.reason, Reason::unknown_ca);
  EXPECT_THAT(finding.words, HasSubstr("another key"));
}

TEST_F(Check, AnUnknownCaIsNamedBesideTheAnchors) {
  const Issued other = make(authority_recipe("other CA"));
  const Certificate leaf = make({}, &other).certificate;
  for (const auto& chain : {std::vector{leaf}, std::vector{leaf, other.certificate}}) {
    const Finding finding = verdict(chain);
    EXPECT_EQ(finding.reason, Reason::unknown_ca);
    EXPECT_THAT(finding.words, HasSubstr("other CA"));
    EXPECT_THAT(finding.words, HasSubstr("demo CA"));
  }
}

TEST_F(Check, ASelfSignedLeafIsUnknownToo) {
  EXPECT_EQ(verdict({make({}).certificate}).reason, Reason::unknown_ca);
}

// The same name does not make the same CA.
TEST_F(Check, ACaThatOnlyHasTheSameNameIsRefused) {
  const Issued impostor = make(authority_recipe("demo CA"));
  const Finding finding = verdict({make({}, &impostor).certificate});
  EXPECT_FALSE(finding.passed);
  EXPECT_THAT((std::vector{Reason::unknown_ca, Reason::bad_chain}),
              testing::Contains(finding.reason));
}

TEST_F(Check, WithoutAnchorsNobodyIsTrusted) {
  anchors_ = Anchors();
  const Finding finding = verdict({make({}, &root_).certificate});
  EXPECT_EQ(finding.reason, Reason::unknown_ca);
  EXPECT_THAT(finding.words, HasSubstr("no trust anchors"));
}

TEST_F(Check, ATamperedLeafIsABadChain) {
  const Certificate leaf = make({}, &root_).certificate;
  Bytes der = to_bytes(leaf.der());
  der.back() ^= std::byte{1};  // the signature's last byte
  auto tampered = Certificate::from_der(der);
  ASSERT_TRUE(tampered);
  const Finding finding = verdict({*tampered});
  EXPECT_EQ(finding.reason, Reason::bad_chain);
  EXPECT_THAT(finding.words, HasSubstr("signature"));
}

TEST_F(Check, IntermediatesLinkALeafToTheRootAndMayBeAnchorsThemselves) {
  const Issued middle = make(authority_recipe("site CA"), &root_);
  const Certificate leaf = make({}, &middle).certificate;
  EXPECT_EQ(verdict({leaf, middle.certificate}).reason, Reason::ok);
  const Finding missing = verdict({leaf});
  EXPECT_EQ(missing.reason, Reason::unknown_ca);
  EXPECT_THAT(missing.words, HasSubstr("missing is the certificate of 'CN=site CA'"));
  trust({middle.certificate});
  EXPECT_EQ(verdict({leaf}).reason, Reason::ok);
}

TEST_F(Check, AnExpiredIntermediateIsNotAnUnknownCa) {
  Recipe recipe = authority_recipe("site CA");
  recipe.not_after = kNow - std::chrono::hours(1);
  const Issued middle = make(recipe, &root_);
  const Finding finding = verdict({make({}, &middle).certificate, middle.certificate});
  EXPECT_EQ(finding.reason, Reason::issuer_expired);
  EXPECT_THAT(finding.words, HasSubstr("site CA"));
  recipe.not_after = kNow + std::chrono::days(9);
  recipe.not_before = kNow + std::chrono::hours(1);
  const Issued later = make(recipe, &root_);
  EXPECT_EQ(verdict({make({}, &later).certificate, later.certificate}).reason,
            Reason::issuer_not_yet_valid);
}

// Who may only issue certificates for e-mail must not make nodes; the anchor is trusted as it is.
TEST_F(Check, AnIntermediateThatIsLimitedToOtherUsagesIsRefused) {
  Recipe recipe = authority_recipe("mail CA");
  recipe.extended_key_usage = "emailProtection";
  const Issued mail = make(recipe, &root_);
  const Certificate leaf = make({}, &mail).certificate;
  const Finding finding = verdict({leaf, mail.certificate});
  EXPECT_EQ(finding.reason, Reason::wrong_usage);
  EXPECT_THAT(finding.words, HasSubstr("mail CA"));
  recipe.extended_key_usage = "clientAuth";
  const Issued dialling = make(recipe, &root_);
  const Certificate agent = make({}, &dialling).certificate;
  CheckOptions options = good();
  EXPECT_EQ(verdict({agent, dialling.certificate}, options).reason, Reason::wrong_usage);
  options.as_server = false;
  EXPECT_EQ(verdict({agent, dialling.certificate}, options).reason, Reason::ok);
  trust({mail.certificate});
  EXPECT_EQ(verdict({leaf}).reason, Reason::ok);
}

// A CA that was renewed under the same key: the old certificate in the chain must not spoil it.
TEST_F(Check, AnExpiredIntermediateBesideItsRenewedOneDoesNoHarm) {
  Recipe recipe = authority_recipe("site CA");
  recipe.not_after = kNow - std::chrono::hours(1);
  const Issued old = make(recipe, &root_);
  recipe.not_after = kNow + std::chrono::days(9);
  EVP_PKEY_up_ref(old.key.get());
  const Issued renewed = make(recipe, &root_, KeyPtr(old.key.get()));
  const Certificate leaf = make({}, &renewed).certificate;
  EXPECT_EQ(verdict({leaf, old.certificate, renewed.certificate}).reason, Reason::ok);
}

TEST_F(Check, AnExpiredLeafUnderAnUnknownCaFailsBothRequirements) {
  const Issued other = make(authority_recipe("other CA"));
  Recipe recipe;
  recipe.not_after = kNow - std::chrono::hours(1);
  std::vector<Reason> reasons;
  for (const Finding& finding :
       check_certificate(make(recipe, &other).certificate, {}, anchors_, good()))
    if (!finding.passed) reasons.push_back(finding.reason);
  EXPECT_EQ(reasons, (std::vector{Reason::expired, Reason::unknown_ca}));
}

TEST_F(Check, AnIssuerThatIsNoCaIsABadChain) {
  const Issued leaf = make({}, &root_);
  Recipe recipe;
  recipe.common_name = "gw9.site.example";
  const Finding finding = verdict({make(recipe, &leaf).certificate, leaf.certificate});
  EXPECT_EQ(finding.reason, Reason::bad_chain) << finding.words;
}

TEST_F(Check, ACaKeepsToItsNameConstraints) {
  Recipe recipe = authority_recipe("site CA");
  recipe.name_constraints = "critical,permitted;DNS:other.example";
  const Issued middle = make(recipe, &root_);
  EXPECT_EQ(verdict({make({}, &middle).certificate, middle.certificate}).reason, Reason::bad_chain);
}

TEST_F(Check, TheUsagesNeededAreTheOnesUsed) {
  Recipe recipe;
  recipe.extended_key_usage = "serverAuth";
  const Certificate server_only = make(recipe, &root_).certificate;
  const Finding finding = verdict({server_only});
  EXPECT_EQ(finding.reason, Reason::wrong_usage);
  EXPECT_THAT(finding.words, HasSubstr("clientAuth"));
  CheckOptions options = good();
  options.as_client = false;
  EXPECT_EQ(verdict({server_only}, options).reason, Reason::ok);
  options = good();
  options.require_client_auth = false;  // public CAs
  EXPECT_EQ(verdict({server_only}, options).reason, Reason::ok);

  recipe.extended_key_usage = "clientAuth";
  EXPECT_THAT(verdict({make(recipe, &root_).certificate}).words, HasSubstr("serverAuth"));
  recipe.extended_key_usage = "codeSigning";
  EXPECT_EQ(verdict({make(recipe, &root_).certificate}).reason, Reason::wrong_usage);
}

TEST_F(Check, AKeyThatMayNotSignCannotSpeakTls) {
  Recipe recipe;
  recipe.key_usage = "critical,keyEncipherment";
  const Finding finding = verdict({make(recipe, &root_).certificate});
  EXPECT_EQ(finding.reason, Reason::wrong_usage);
  EXPECT_THAT(finding.words, HasSubstr("digitalSignature"));
}

TEST_F(Check, WeakKeysAndSignaturesAreRefused) {
  const Finding weak_key = verdict({make({}, &root_, key_of("RSA", 1024)).certificate});
  EXPECT_EQ(weak_key.reason, Reason::weak_key);
  EXPECT_THAT(weak_key.words, HasSubstr("RSA 1024"));
  Recipe recipe;
  recipe.digest = "SHA1";
  const Finding weak_signature = verdict({make(recipe, &root_).certificate});
  EXPECT_EQ(weak_signature.reason, Reason::weak_signature);
  EXPECT_THAT(weak_signature.words, HasSubstr("SHA1"));
}

TEST_F(Check, AWeakLinkAboveTheLeafIsRefusedButTheAnchorsOwnSignatureIsNobodysBusiness) {
  Recipe recipe = authority_recipe("site CA");
  recipe.digest = "SHA1";
  const Issued middle = make(recipe, &root_);
  const Certificate leaf = make({}, &middle).certificate;
  EXPECT_EQ(verdict({leaf, middle.certificate}).reason, Reason::weak_signature);
  trust({middle.certificate});
  EXPECT_EQ(verdict({leaf}).reason, Reason::ok);
  trust({root_.certificate});
  const Issued small = make(authority_recipe("small CA"), &root_, key_of("RSA", 1024));
  EXPECT_EQ(verdict({make({}, &small).certificate, small.certificate}).reason, Reason::weak_key);
}

TEST_F(Check, ACaCannotPoseAsANode) {
  Recipe recipe;
  recipe.basic_constraints = "critical,CA:TRUE";
  recipe.key_usage = "critical,keyCertSign,digitalSignature";
  EXPECT_EQ(verdict({make(recipe, &root_).certificate}).reason, Reason::not_an_end_entity);
}

TEST_F(Check, AnAnchorMustBeACa) {
  const Certificate leaf = make({}, &root_).certificate;
  auto anchors = Anchors::from_pem(root_.certificate.pem() + leaf.pem());
  ASSERT_FALSE(anchors);
  EXPECT_THAT(anchors.error().message, HasSubstr("gw1.site.example"));
  EXPECT_EQ(Anchors::from_pem(anchors_.to_pem())->certificates(), anchors_.certificates());
}

TEST_F(Check, ReasonsHaveShortNamesThatNeverChange) {
  EXPECT_STREQ(to_string(Reason::expired), "expired");
  EXPECT_STREQ(to_string(Reason::unknown_ca), "unknown_ca");
  EXPECT_STREQ(to_string(Reason::wrong_name), "wrong_name");
  EXPECT_STREQ(to_string(Reason::wrong_usage), "wrong_usage");
}

}  // namespace
}  // namespace postern
