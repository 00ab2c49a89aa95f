#include "identity/certificate.h"

#include <gtest/gtest.h>

#include "identity/key.h"
#include "identity/test_certificates.h"

namespace postern {
namespace {

using testing_support::authority_recipe;
using testing_support::Issued;
using testing_support::key_of;
using testing_support::make;
using testing_support::Recipe;

TEST(CertificateTest, SaysWhatStandsInIt) {
  const Issued root = make(authority_recipe("demo CA"));
  const Issued leaf = make({}, &root);
  const Certificate& certificate = leaf.certificate;
  EXPECT_EQ(certificate.subject(), "CN=gw1.site.example");
  EXPECT_EQ(certificate.subject_common_name(), "gw1.site.example");
  EXPECT_EQ(certificate.issuer(), "CN=demo CA");
  EXPECT_EQ(certificate.dns_names(), std::vector<std::string>{"gw1.site.example"});
  EXPECT_EQ(certificate.not_before(), Recipe().not_before);
  EXPECT_EQ(certificate.not_after(), Recipe().not_after);
  EXPECT_TRUE(certificate.has_server_auth());
  EXPECT_TRUE(certificate.has_client_auth());
  EXPECT_TRUE(certificate.has_digital_signature());
  EXPECT_FALSE(certificate.is_ca());
  EXPECT_FALSE(certificate.is_self_signed());
  EXPECT_EQ(certificate.key_kind(), "EC P-256");
  EXPECT_EQ(certificate.signature_algorithm(), "ecdsa-with-SHA256");
  EXPECT_EQ(certificate.fingerprint(), sha256(certificate.der()));
  EXPECT_TRUE(root.certificate.is_ca());
  EXPECT_TRUE(root.certificate.is_self_signed());
}

TEST(CertificateTest, GoesThroughPemAndDer) {
  const Certificate certificate = make({}).certificate;
  EXPECT_EQ(Certificate::from_der(certificate.der()), certificate);
  EXPECT_EQ(Certificate::from_pem("words\n" + certificate.pem() + "more words"), certificate);
}

TEST(CertificateTest, EveryTornOrLongerDerIsInvalid) {
  const Certificate certificate = make({}).certificate;
  const Bytes der = to_bytes(certificate.der());
  for (std::size_t size = 0; size < der.size(); ++size)
    ASSERT_EQ(Certificate::from_der(ByteView(der).first(size)).error().code, Errc::invalid) << size;
  Bytes longer = der;
  longer.push_back(std::byte{0});
  EXPECT_EQ(Certificate::from_der(longer).error().code, Errc::invalid);
  EXPECT_FALSE(Certificate::from_der(Bytes(kCertificateBytesMax + 1)));
}

TEST(CertificateTest, AnyTurnedBitIsReadOrRefusedButNeverHurts) {
  const Certificate certificate = make({}).certificate;
  Bytes der = to_bytes(certificate.der());
  for (std::size_t i = 0; i < der.size(); ++i) {
    der[i] ^= std::byte{0x81};
    if (auto other = Certificate::from_der(der)) {
      EXPECT_LE(other->subject().size(), 256u);
    }
    der[i] ^= std::byte{0x81};
  }
}

TEST(CertificateTest, ReadsAChainInItsOrderAndSkipsKeys) {
  const Issued root = make(authority_recipe("demo CA"));
  const Issued leaf = make({}, &root);
  const std::string text =
      private_key_pem(leaf.key.get()) + leaf.certificate.pem() + root.certificate.pem();
  auto chain = certificates_from_pem(text);
  ASSERT_TRUE(chain) << chain.error().message;
  EXPECT_EQ(*chain, (std::vector<Certificate>{leaf.certificate, root.certificate}));
}

TEST(CertificateTest, ADamagedBlockInAChainIsNamedNotSkipped) {
  const Certificate certificate = make({}).certificate;
  std::string damaged = certificate.pem();
  damaged[damaged.size() / 2] = '!';
  auto chain = certificates_from_pem(certificate.pem() + damaged);
  ASSERT_FALSE(chain);
  EXPECT_NE(chain.error().message.find("certificate 2"), std::string::npos);
  EXPECT_FALSE(certificates_from_pem(""));
  std::string many;
  for (std::size_t i = 0; i <= kCertificatesMax; ++i) many += certificate.pem();
  EXPECT_NE(certificates_from_pem(many).error().message.find("more than 64"), std::string::npos);
}

TEST(CertificateTest, WithoutUsageExtensionsEverythingIsAllowed) {
  Recipe recipe;
  recipe.extended_key_usage = "";
  recipe.key_usage = "";
  const Certificate certificate = make(recipe).certificate;
  EXPECT_TRUE(certificate.has_server_auth());
  EXPECT_TRUE(certificate.has_client_auth());
  EXPECT_TRUE(certificate.has_digital_signature());
}

TEST(CertificateTest, ShowsNoControlCharactersOfAStranger) {
  Recipe recipe;
  recipe.common_name = "a\nfake\x1b[31m line";
  const Certificate certificate = make(recipe).certificate;
  for (char c : certificate.subject()) EXPECT_TRUE(c >= ' ' && c <= '~');
  recipe.common_name = std::string(64, '\n');
  EXPECT_LE(make(recipe).certificate.subject().size(), 256u);
}

TEST(CertificateTest, NamesEveryKindOfKeyAndItsStrength) {
  const struct {
    const char* kind;
    unsigned bits;
    const char* text;
    bool strong;
  } kinds[] = {{"P-256", 0, "EC P-256", true},      {"P-384", 0, "EC P-384", true},
               {"P-224", 0, "EC secp224r1", false}, {"secp256k1", 0, "EC secp256k1", false},
               {"ED25519", 0, "Ed25519", true},     {"RSA", 2048, "RSA 2048", true},
               {"RSA", 1024, "RSA 1024", false}};
  for (const auto& kind : kinds) {
    const Certificate certificate = make({}, nullptr, key_of(kind.kind, kind.bits)).certificate;
    EXPECT_EQ(certificate.key_kind(), kind.text);
    EXPECT_EQ(certificate.key_strong(), kind.strong) << kind.text;
  }
}

TEST(TlsKeyTest, GoesThroughPemAndMatchesItsCertificateOnly) {
  const Certificate other = make({}).certificate;
  for (auto kind : {TlsKey::Kind::ec, TlsKey::Kind::rsa, TlsKey::Kind::ed25519}) {
    const TlsKey key = TlsKey::generate(kind);
    auto again = TlsKey::from_pem(key.to_pem());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->spki_sha256(), key.spki_sha256());
    EVP_PKEY_up_ref(key.native());
    const Certificate own = make({}, nullptr, KeyPtr(key.native())).certificate;
    EXPECT_TRUE(again->matches(own));
    EXPECT_FALSE(again->matches(other));
  }
}

TEST(TlsKeyTest, ReadsTraditionalPemAndBothKindsOfDer) {
  const KeyPtr key = key_of("P-256");
  const BioPtr out = writing();
  ASSERT_EQ(PEM_write_bio_PrivateKey_traditional(out.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                                 nullptr),
            1);
  ASSERT_NE(written(out.get()).find("BEGIN EC PRIVATE KEY"), std::string::npos);
  EXPECT_TRUE(TlsKey::from_pem(written(out.get())));
  EXPECT_TRUE(TlsKey::from_der(encoded(i2d_PrivateKey, key.get())));
  const BioPtr der = writing();
  ASSERT_EQ(i2d_PKCS8PrivateKey_bio(der.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr),
            1);
  EXPECT_TRUE(TlsKey::from_der(as_bytes(written(der.get()))));
  EXPECT_FALSE(TlsKey::from_der(as_bytes("nonsense")));
}

TEST(TlsKeyTest, AnEncryptedKeyIsRefusedWithTheWayOut) {
  const KeyPtr key = key_of("P-256");
  char password[] = "secret";
  for (bool traditional : {false, true}) {
    const BioPtr out = writing();
    auto* bytes = reinterpret_cast<unsigned char*>(password);
    const int wrote = traditional
                          ? PEM_write_bio_PrivateKey_traditional(
                                out.get(), key.get(), EVP_aes_128_cbc(), bytes, 6, nullptr, nullptr)
                          : PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), EVP_aes_128_cbc(),
                                                          password, 6, nullptr, nullptr);
    ASSERT_EQ(wrote, 1);
    auto read = TlsKey::from_pem(written(out.get()));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Errc::denied);
    EXPECT_NE(read.error().message.find("-nocrypt"), std::string::npos);
  }
}

TEST(Name, MatchesTheWholeDnsNameInAnyCase) {
  Recipe recipe;
  recipe.common_name = "cn.site.example";
  recipe.dns_names = {"GW1.Site.Example", "*.wild.example"};
  const Certificate certificate = make(recipe).certificate;
  EXPECT_TRUE(name_matches(certificate, "gw1.site.example"));
  EXPECT_TRUE(name_matches(certificate, "gw1.SITE.example"));
  EXPECT_FALSE(name_matches(certificate, "cn.site.example")) << "the common name never counts";
  EXPECT_FALSE(name_matches(certificate, "host.wild.example")) << "wildcards never match";
  EXPECT_FALSE(name_matches(certificate, "*.wild.example")) << "not even themselves";
  EXPECT_FALSE(name_matches(certificate, "gw1.site.example.")) << "names are compared as they are";
  EXPECT_FALSE(name_matches(certificate, "gw1.site.exampl"));
  EXPECT_FALSE(name_matches(certificate, ""));
}

TEST(Name, IsNormalisedToLowerCase) {
  EXPECT_EQ(normal_fqdn("GW1.Site.Example"), "gw1.site.example");
  EXPECT_EQ(normal_fqdn("a.b"), "a.b");
  EXPECT_EQ(normal_fqdn("xn--bcher-kva.example"), "xn--bcher-kva.example");
}

TEST(Name, SaysWhatKeepsItFromBeingAnFqdn) {
  const struct {
    std::string text;
    const char* words;
  } wrong[] = {{"", "empty"},
               {"gw1", "no domain"},
               {"gw1.", "ends with a dot"},
               {".site.example", "empty label"},
               {"gw1..example", "empty label"},
               {"*.site.example", "wildcard"},
               {"gw_1.site.example", "character"},
               {"gw1.site.example\n", "character"},
               {"-gw1.site.example", "begins or ends"},
               {"gw1-.site.example", "begins or ends"},
               {"192.0.2.1", "IP address"},
               {std::string(64, 'a') + ".example", "64 characters"},
               {std::string(260, 'a') + ".example", "at most 253"}};
  for (const auto& one : wrong) {
    auto name = normal_fqdn(one.text);
    ASSERT_FALSE(name) << one.text;
    EXPECT_NE(name.error().message.find(one.words), std::string::npos) << name.error().message;
  }
}

}  // namespace
}  // namespace postern
