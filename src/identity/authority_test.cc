#include "identity/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/check.h"
#include "identity/test_certificates.h"

namespace postern {
namespace {

using testing::HasSubstr;

const WallTime kNow = wall_from_ms(1'800'000'000'000);

class Authority : public testing::Test {
 protected:
  Result<Certificate> sign(const std::string& csr, SignOptions options = {.now = kNow}) {
    return authority_.sign(as_bytes(csr), options, random_);
  }

  SeededRandom random_{42};
  CertificateAuthority authority_ = std::move(*CertificateAuthority::create("demo", kNow, random_));
  TlsKey key_ = TlsKey::generate(TlsKey::Kind::ec);
};

TEST_F(Authority, IsACaThatCanBeStoredAndLoaded) {
  EXPECT_EQ(authority_.certificate().subject(), "CN=demo Postern CA");
  EXPECT_TRUE(authority_.certificate().is_ca());
  EXPECT_TRUE(authority_.certificate().is_self_signed());
  EXPECT_GT(authority_.certificate().not_after(), kNow + std::chrono::days(3650));
  auto again = CertificateAuthority::load(authority_.key_pem(), authority_.certificate().pem());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->certificate(), authority_.certificate());
  EXPECT_FALSE(CertificateAuthority::load(key_.to_pem(), authority_.certificate().pem()));
  EXPECT_FALSE(CertificateAuthority::create("", kNow, random_));
  EXPECT_FALSE(CertificateAuthority::create(std::string(60, 'x'), kNow, random_));
}

TEST_F(Authority, SignsWhatPassesEveryCheckForAnyKindOfKey) {
  auto anchors = Anchors::from_certificates({authority_.certificate()});
  for (auto kind : {TlsKey::Kind::ec, TlsKey::Kind::rsa, TlsKey::Kind::ed25519}) {
    const TlsKey key = TlsKey::generate(kind);
    auto csr = make_request(key, "GW1.site.example");
    ASSERT_TRUE(csr);
    auto leaf = sign(*csr, {.name = "gw1.site.example", .now = kNow});
    ASSERT_TRUE(leaf) << leaf.error().message;
    EXPECT_TRUE(key.matches(*leaf));
    auto refused =
        first_failure(check_certificate(*leaf, {}, *anchors, {kNow, "gw1.site.example"}));
    EXPECT_FALSE(refused) << refused->words;
    EXPECT_EQ(leaf->not_before(), kNow - kClockSkew);
    EXPECT_EQ(leaf->not_after(), kNow + std::chrono::days(365));
    EXPECT_EQ(leaf->serial().size(), 32u);
  }
}

TEST_F(Authority, AnIssuingOneSignsUnderTheRootAndMakesNoOther) {
  const auto issuing = authority_.make_issuing(kNow, random_);
  ASSERT_TRUE(issuing) << issuing.error().message;
  const auto anchors = Anchors::from_certificates({authority_.certificate()});
  const auto leaf =
      issuing->sign(as_bytes(*make_request(key_, "gw1.site.example")), {.now = kNow}, random_);
  ASSERT_TRUE(leaf);
  EXPECT_FALSE(why_refused(std::vector{*leaf, issuing->certificate()}, *anchors,
                           {kNow, "gw1.site.example"}));
  EXPECT_TRUE(why_refused(std::vector{*leaf}, *anchors, {kNow, "gw1.site.example"}))
      << "the root alone is the anchor";
  EXPECT_EQ(issuing->certificate().not_after(), kNow + kIssuingLifetime);
  EXPECT_EQ(issuing->certificate().serial().size(), 32u);
  // Both know what the root signed, as in groups made before.
  EXPECT_TRUE(issuing->issued(*leaf));
  EXPECT_TRUE(issuing->issued(*sign(*make_request(key_, "gw1.site.example"))));
  EXPECT_FALSE(authority_.issued(*leaf));
  const auto further = issuing->make_issuing(kNow, random_);
  ASSERT_TRUE(further);
  const auto too_far =
      further->sign(as_bytes(*make_request(key_, "gw1.site.example")), {.now = kNow}, random_);
  EXPECT_EQ(why_refused(std::vector{*too_far, further->certificate(), issuing->certificate()},
                        *anchors, {kNow, "gw1.site.example"})
                ->reason,
            Reason::bad_chain);
}

TEST_F(Authority, AnIssuingOneDoesNotOutliveTheRoot) {
  const WallTime late = kNow + kAuthorityLifetime - std::chrono::days(30);
  EXPECT_EQ(authority_.make_issuing(late, random_)->certificate().not_after(),
            authority_.certificate().not_after());
  EXPECT_FALSE(authority_.make_issuing(kNow + kAuthorityLifetime + std::chrono::days(1), random_));
}

TEST_F(Authority, LiesInASafeUnderAPassphrase) {
  const auto text = authority_.export_with("correct horse battery");
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr("BEGIN ENCRYPTED PRIVATE KEY"));
  const auto back = CertificateAuthority::import_with("correct horse battery", *text);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->certificate(), authority_.certificate());
  EXPECT_EQ(back->key_pem(), authority_.key_pem());
  EXPECT_EQ(CertificateAuthority::import_with("wrong horse battery", *text).error().code,
            Errc::denied);
  EXPECT_FALSE(CertificateAuthority::import_with("correct horse battery", "nothing"));
  EXPECT_FALSE(authority_.export_with("short"));
}

TEST_F(Authority, NeverGivesASerialTwice) {
  const std::string csr = *make_request(key_, "gw1.site.example");
  EXPECT_NE(sign(csr)->serial(), sign(csr)->serial());
}

// A CA that copies the request's extensions must come to a certificate that passes.
TEST_F(Authority, ARequestAsksForTheUsagesThatANodeNeeds) {
  const std::string csr = *make_request(key_, "gw1.site.example");
  const BioPtr in = reading(csr);
  const X509RequestPtr request(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
  ASSERT_TRUE(request);
  STACK_OF(X509_EXTENSION)* asked = X509_REQ_get_extensions(request.get());
  std::vector<int> kinds;
  for (int i = 0; i < sk_X509_EXTENSION_num(asked); ++i)
    kinds.push_back(OBJ_obj2nid(X509_EXTENSION_get_object(sk_X509_EXTENSION_value(asked, i))));
  sk_X509_EXTENSION_pop_free(asked, X509_EXTENSION_free);
  EXPECT_THAT(
      kinds, testing::UnorderedElementsAre(NID_key_usage, NID_ext_key_usage, NID_subject_alt_name));
}

TEST_F(Authority, CertifiesExtraNamesAndLongOnes) {
  const std::string label(60, 'a');
  const std::string name = label + "." + label + ".example";  // no common name is that long
  const std::vector<std::string> extra = {"GW1.other.example", name};
  auto leaf = sign(*make_request(key_, name, extra));
  ASSERT_TRUE(leaf) << leaf.error().message;
  EXPECT_EQ(leaf->dns_names(), (std::vector<std::string>{name, "gw1.other.example"}));
  EXPECT_EQ(leaf->subject_common_name(), "");
}

TEST_F(Authority, RefusesARequestForAnotherName) {
  auto leaf =
      sign(*make_request(key_, "gw2.site.example"), {.name = "gw1.site.example", .now = kNow});
  ASSERT_FALSE(leaf);
  EXPECT_EQ(leaf.error().code, Errc::denied);
  EXPECT_THAT(leaf.error().message, HasSubstr("gw2.site.example, not for gw1.site.example"));
}

TEST_F(Authority, NeverOutlivesItself) {
  auto leaf = sign(*make_request(key_, "gw1.site.example"),
                   {.lifetime = std::chrono::days(9000), .now = kNow});
  EXPECT_EQ(leaf->not_after(), authority_.certificate().not_after());
  auto late =
      sign(*make_request(key_, "gw1.site.example"), {.now = kNow + std::chrono::days(4000)});
  EXPECT_EQ(late.error().code, Errc::denied);
}

TEST_F(Authority, RefusesNamesThatAreNoFqdn) {
  EXPECT_FALSE(make_request(key_, "gw1"));
  EXPECT_FALSE(make_request(key_, "*.site.example"));
  EXPECT_FALSE(make_request(key_, "192.0.2.1"));
}

/// A request with the SAN in the words of OpenSSL's configuration; "" for none.
std::string request_with(const TlsKey& key, const std::string& common_name, const std::string& san,
                         const char* digest = "SHA256") {
  const X509RequestPtr request(X509_REQ_new());
  X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509_REQ_set_pubkey(request.get(), key.native());
  if (!san.empty()) {
    STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
    sk_X509_EXTENSION_push(
        extensions, X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, san.c_str()));
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints,
                                                           "critical,CA:TRUE"));
    X509_REQ_add_extensions(request.get(), extensions);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
  invariant(X509_REQ_sign(request.get(), key.native(), EVP_get_digestbyname(digest)) > 0, "signed");
  const BioPtr out = writing();
  PEM_write_bio_X509_REQ(out.get(), request.get());
  return written(out.get());
}

TEST_F(Authority, TakesTheCommonNameOnlyWhenThereIsNoSan) {
  EXPECT_EQ(sign(request_with(key_, "gw1.site.example", ""))->dns_names(),
            std::vector<std::string>{"gw1.site.example"});
  EXPECT_EQ(sign(request_with(key_, "gw9.site.example", "DNS:gw1.site.example"))->dns_names(),
            std::vector<std::string>{"gw1.site.example"});
}

// Whoever may have a certificate may not thereby become a CA.
TEST_F(Authority, TakesNothingButNamesAndKeyFromTheRequest) {
  auto leaf = sign(request_with(key_, "gw1.site.example", "DNS:gw1.site.example"));
  ASSERT_TRUE(leaf);
  EXPECT_FALSE(leaf->is_ca());
}

TEST_F(Authority, RefusesOtherKindsOfNames) {
  for (const char* san : {"DNS:*.site.example", "DNS:gw1", "IP:192.0.2.1", "email:a@b.example"})
    EXPECT_EQ(sign(request_with(key_, "gw1.site.example", san)).error().code, Errc::invalid) << san;
}

TEST_F(Authority, RefusesARequestThatAnotherKeySigned) {
  Bytes pem = to_bytes(*make_request(key_, "gw1.site.example"));
  const BioPtr in = reading(ByteView(pem));
  const X509RequestPtr request(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
  Bytes der = encoded(i2d_X509_REQ, request.get());
  EXPECT_TRUE(read_request(der)) << "DER is read too";
  der.back() ^= std::byte{1};
  auto refused = read_request(der);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("not signed by the key"));
}

TEST_F(Authority, RefusesGarbageTooMuchAndWeakKeys) {
  EXPECT_EQ(sign("garbage").error().code, Errc::invalid);
  EXPECT_THAT(sign(std::string(kRequestBytesMax + 1, 'x')).error().message, HasSubstr("16384"));
  auto small = TlsKey::from_pem(private_key_pem(testing_support::key_of("RSA", 1024).get()));
  ASSERT_TRUE(small);
  EXPECT_THAT(sign(*make_request(*small, "gw1.site.example")).error().message,
              HasSubstr("RSA 1024"));
}

}  // namespace
}  // namespace postern
