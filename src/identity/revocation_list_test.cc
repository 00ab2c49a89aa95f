#include "identity/revocation_list.h"

#include <gmock/gmock.h>
#include <openssl/pem.h>

#include "identity/test_certificates.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using testing_support::authority_recipe;
using testing_support::Issued;
using testing_support::make;
using testing_support::Recipe;
using CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using WhenStale = RevocationLists::WhenStale;

const WallTime kNow = wall_from_ms(1'800'000'000'000);

/// What `signer` says of certificates.
struct Crl {
  const Issued& signer;
  std::vector<Certificate> revoked;
  std::optional<WallTime> next_update = kNow + std::chrono::days(7);
  bool delta = false;

  CrlPtr native() const {
    CrlPtr crl(X509_CRL_new());
    X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(signer.certificate.native()));
    const auto at = [](WallTime time) {
      return std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>>(
          ASN1_TIME_set(nullptr, to_ms(time) / 1000));
    };
    X509_CRL_set1_lastUpdate(crl.get(), at(kNow - std::chrono::hours(1)).get());
    if (next_update) X509_CRL_set1_nextUpdate(crl.get(), at(*next_update).get());
    for (const Certificate& one : revoked) {
      X509_REVOKED* entry = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(one.native()));
      X509_REVOKED_set_revocationDate(entry, at(kNow).get());
      X509_CRL_add0_revoked(crl.get(), entry);
    }
    if (delta) {
      const std::unique_ptr<ASN1_INTEGER, FreeWith<ASN1_INTEGER_free>> base(ASN1_INTEGER_new());
      ASN1_INTEGER_set(base.get(), 1);
      X509_CRL_add1_ext_i2d(crl.get(), NID_delta_crl, base.get(), 1, 0);
    }
    X509_CRL_sort(crl.get());
    X509_CRL_sign(crl.get(), signer.key.get(), EVP_sha256());
    return crl;
  }
  Bytes der() const { return encoded(i2d_X509_CRL, native().get()); }
  std::string pem() const {
    const BioPtr out = writing();
    PEM_write_bio_X509_CRL(out.get(), native().get());
    return written(out.get());
  }
};

class RevocationListTest : public testing::Test {
 protected:
  Result<std::vector<RevocationList>> read(ByteView bytes) {
    return read_revocation_lists("/etc/x.crl", bytes, anchors_, {}, kNow);
  }
  std::string why_not(ByteView bytes) {
    const auto lists = read(bytes);
    EXPECT_FALSE(lists);
    return lists ? "" : lists.error().message;
  }
  std::optional<Finding> objection(const Crl& crl, const Certificate& leaf,
                                   WhenStale when_stale = WhenStale::warn) {
    auto lists = read(crl.der());
    EXPECT_TRUE(lists) << lists.error().message;
    return RevocationLists(lists.value_or(std::vector<RevocationList>{}), when_stale)
        .objection(std::span(&leaf, 1), kNow);
  }

  Issued root_ = make(authority_recipe("Outside CA"));
  Issued other_root_ = make(authority_recipe("Another CA"));
  Issued false_root_ = make(authority_recipe("Outside CA"));
  Issued intermediate_ = make(authority_recipe("Issuing CA"), &root_);
  Issued leaf_ = make(Recipe{}, &root_), good_ = make(Recipe{}, &root_);
  Issued deep_ = make(Recipe{}, &intermediate_);
  Anchors anchors_ = *Anchors::from_certificates({root_.certificate, other_root_.certificate});
};

TEST_F(RevocationListTest, WhatStandsInItIsRefusedAndNobodyElse) {
  const Crl crl{root_, {leaf_.certificate}};
  const auto wrong = objection(crl, leaf_.certificate);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->reason, Reason::revoked);
  EXPECT_THAT(wrong->words, HasSubstr("CN=Outside CA"));
  EXPECT_FALSE(objection(crl, good_.certificate));
  EXPECT_FALSE(objection({root_, {}}, leaf_.certificate)) << "a list of nobody";
  EXPECT_FALSE(objection({other_root_, {leaf_.certificate}}, leaf_.certificate))
      << "the number of another authority";
}

TEST_F(RevocationListTest, PemAndDerSayTheSame) {
  const Crl crl{root_, {leaf_.certificate, good_.certificate}};
  const auto der = read(crl.der()), pem = read(as_bytes(std::string_view(crl.pem())));
  ASSERT_TRUE(der && pem);
  EXPECT_EQ(*der, *pem);
  EXPECT_THAT((*der)[0].serials, SizeIs(2));
  EXPECT_EQ((*der)[0].next_update, kNow + std::chrono::days(7));
  const std::string two = crl.pem() + Crl{other_root_, {}}.pem();
  EXPECT_THAT(*read(as_bytes(std::string_view(two))), SizeIs(2));
}

TEST_F(RevocationListTest, AnIntermediatesListNeedsItsCertificateBesideIt) {
  const Crl crl{intermediate_, {deep_.certificate}};
  EXPECT_THAT(why_not(crl.der()), HasSubstr("put its certificate into the file"));
  const std::string both = intermediate_.certificate.pem() + crl.pem();
  const auto lists = read(as_bytes(std::string_view(both)));
  ASSERT_TRUE(lists) << lists.error().message;
  EXPECT_NE(RevocationLists(*lists, WhenStale::warn).find(deep_.certificate.mark()), nullptr);
  const Certificate known[] = {intermediate_.certificate};
  EXPECT_TRUE(read_revocation_lists("f", crl.der(), anchors_, known, kNow));
}

TEST_F(RevocationListTest, WhoeverElseSignsItRevokesNobody) {
  EXPECT_THAT(why_not(Crl{false_root_, {leaf_.certificate}}.der()), HasSubstr("is not signed by"));
  Recipe recipe = authority_recipe("Certificates only");
  recipe.key_usage = "critical,keyCertSign";
  const Issued signs_none = make(recipe, &root_);
  const std::string both = signs_none.certificate.pem() + Crl{signs_none, {}}.pem();
  EXPECT_THAT(why_not(as_bytes(std::string_view(both))), HasSubstr("may not sign lists"));
  const Issued stranger = make(authority_recipe("Stranger"));
  const std::string unknown = stranger.certificate.pem() + Crl{stranger, {}}.pem();
  EXPECT_THAT(why_not(as_bytes(std::string_view(unknown))), HasSubstr("no authority of the group"));
}

TEST_F(RevocationListTest, APartIsNotTakenForTheWhole) {
  Crl delta{root_, {leaf_.certificate}};
  delta.delta = true;
  EXPECT_THAT(why_not(delta.der()), HasSubstr("complete list"));
}

TEST_F(RevocationListTest, WhatCannotBeReadIsSaidAndNothingOfItCounts) {
  EXPECT_THAT(why_not({}), HasSubstr("is empty"));
  EXPECT_THAT(why_not(as_bytes(std::string_view("garbage"))), HasSubstr("/etc/x.crl"));
  EXPECT_THAT(why_not(as_bytes(std::string_view(root_.certificate.pem()))),
              HasSubstr("holds no certificate revocation list"));
  const Bytes whole = Crl{root_, {leaf_.certificate}}.der();
  for (std::size_t size = 0; size < whole.size(); ++size)
    ASSERT_FALSE(read(std::span(whole).first(size))) << size;
  std::string torn = Crl{root_, {leaf_.certificate}}.pem();
  torn += torn.substr(0, torn.size() / 2);
  EXPECT_FALSE(read(as_bytes(std::string_view(torn))));
}

TEST_F(RevocationListTest, AStaleOneGoesOnCountingAndCutsOffNobodyUnlessTold) {
  Crl stale{root_, {leaf_.certificate}};
  stale.next_update = kNow - std::chrono::minutes(1);
  EXPECT_EQ(objection(stale, leaf_.certificate)->reason, Reason::revoked);
  EXPECT_FALSE(objection(stale, good_.certificate));
  const auto refused = objection(stale, good_.certificate, WhenStale::refuse);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason, Reason::stale_revocation_list);
  EXPECT_THAT(refused->words, HasSubstr("stale_crl: warn"));
  const Issued elsewhere = make(Recipe{}, &other_root_);
  EXPECT_FALSE(objection(stale, elsewhere.certificate, WhenStale::refuse))
      << "it says nothing of another authority's";

  auto both = *read(stale.der());
  const auto fresh = *read(Crl{root_, {}}.der());
  both.insert(both.begin(), fresh.begin(), fresh.end());
  EXPECT_FALSE(
      RevocationLists(both, WhenStale::refuse).objection(std::span(&good_.certificate, 1), kNow))
      << "a newer one is there";
}

}  // namespace
}  // namespace postern
