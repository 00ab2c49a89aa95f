#include "identity/key.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity/certificate.h"
#include "identity/openssl.h"

namespace postern {
namespace {

constexpr std::string_view kContext = "postern test v1";

/// The other s that satisfies the ECDSA equation: n - s.
Signature with_other_s(Signature signature) {
  constexpr const char* kOrder = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
  auto* s = reinterpret_cast<unsigned char*>(signature.data()) + 32;
  BIGNUM* order = nullptr;
  BN_hex2bn(&order, kOrder);
  BIGNUM* old = BN_bin2bn(s, 32, nullptr);
  BN_sub(old, order, old);
  BN_bn2binpad(old, s, 32);
  BN_free(old);
  BN_free(order);
  return signature;
}

TEST(Sha256Test, GivesThePublishedValueWhetherInOnePieceOrTwo) {
  const std::string expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))), expected);
  Sha256 pieces;
  EXPECT_EQ(to_hex(pieces.update(as_bytes("a")).update(as_bytes("bc")).finish()), expected);
  EXPECT_EQ(to_hex(pieces.update(as_bytes("abc")).finish()), expected) << "reusable after finish";
}

TEST(Key, VerifiesItsOwnSignaturesInTheirContextOnly) {
  const PrivateKey key = PrivateKey::generate();
  const Signature signature = key.sign(kContext, as_bytes("data"));
  EXPECT_TRUE(key.public_key().verifies(kContext, as_bytes("data"), signature));
  EXPECT_FALSE(key.public_key().verifies("postern test v2", as_bytes("data"), signature));
  EXPECT_FALSE(key.public_key().verifies(kContext, as_bytes("date"), signature));
  EXPECT_FALSE(PrivateKey::generate().public_key().verifies(kContext, as_bytes("data"), signature));
}

// Moving a byte between context and message must not keep the signature: hence the separator.
TEST(Key, ContextAndMessageDoNotRunIntoEachOther) {
  const PrivateKey key = PrivateKey::generate();
  EXPECT_FALSE(key.public_key().verifies("ab", as_bytes("c"), key.sign("a", as_bytes("bc"))));
}

TEST(Key, RefusesASignatureWithAnyBitTurned) {
  const PrivateKey key = PrivateKey::generate();
  const Signature good = key.sign(kContext, as_bytes("data"));
  for (std::size_t bit = 0; bit < good.size() * 8; bit += 3) {
    Signature bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(key.public_key().verifies(kContext, as_bytes("data"), bad)) << bit;
  }
  EXPECT_FALSE(key.public_key().verifies(kContext, as_bytes("data"), Signature{}));
}

// Whoever relays a message must not be able to give it a second valid signature: its hash would
// differ, and the origin would look as if it had signed two things.
TEST(Key, ASignatureHasOneValidForm) {
  const PrivateKey key = PrivateKey::generate();
  for (int i = 0; i < 64; ++i) {
    const std::string text = std::to_string(i);
    const Signature signature = key.sign(kContext, as_bytes(text));
    ASSERT_TRUE(key.public_key().verifies(kContext, as_bytes(text), signature));
    EXPECT_FALSE(key.public_key().verifies(kContext, as_bytes(text), with_other_s(signature)));
  }
}

TEST(PublicKeyTest, TakesTheCanonicalFormOnly) {
  const PublicKey key = PrivateKey::generate().public_key();
  const Bytes spki = to_bytes(key.spki());
  ASSERT_EQ(spki.size(), PublicKey::kSpkiBytes);
  auto again = PublicKey::from_spki(spki);
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, key);
  EXPECT_EQ(again->node_id(), node_id_of(sha256(spki)));

  for (std::size_t i = 0; i < 27; ++i) {  // everything in front of the point
    Bytes other = spki;
    other[i] ^= std::byte{1};
    EXPECT_EQ(PublicKey::from_spki(other).error().code, Errc::invalid) << i;
  }
  for (std::size_t size = 0; size < spki.size(); ++size)
    EXPECT_FALSE(PublicKey::from_spki(ByteView(spki).first(size))) << size;
  Bytes longer = spki;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(PublicKey::from_spki(longer));
}

TEST(PublicKeyTest, RefusesAPointThatIsNotOnTheCurve) {
  Bytes spki = to_bytes(PrivateKey::generate().public_key().spki());
  spki.back() ^= std::byte{1};
  auto key = PublicKey::from_spki(spki);
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().message.find("no point of P-256"), std::string::npos);
}

TEST(PublicKeyTest, RefusesTheCompressedForm) {
  const Bytes spki = to_bytes(PrivateKey::generate().public_key().spki());
  auto compressed = from_hex("3039301306072a8648ce3d020106082a8648ce3d030107032200");
  ASSERT_TRUE(compressed);
  compressed->push_back((spki.back() & std::byte{1}) == std::byte{0} ? std::byte{2} : std::byte{3});
  compressed->insert(compressed->end(), spki.begin() + 27, spki.begin() + 59);
  EXPECT_FALSE(PublicKey::from_spki(*compressed));
}

TEST(PublicKeyTest, GoesThroughPem) {
  const PublicKey key = PrivateKey::generate().public_key();
  EXPECT_EQ(PublicKey::from_pem("text in front\n" + key.to_pem()), key);
  EXPECT_FALSE(PublicKey::from_pem("no block"));
}

TEST(PrivateKeyTest, GoesThroughPemAndKeepsItsNodeId) {
  const PrivateKey key = PrivateKey::generate();
  auto again = PrivateKey::from_pem(key.to_pem());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->node_id(), key.node_id());
  EXPECT_TRUE(key.public_key().verifies(kContext, {}, again->sign(kContext, {})));
}

TEST(PrivateKeyTest, NamesTheKindThatItRefuses) {
  for (auto kind : {TlsKey::Kind::rsa, TlsKey::Kind::ed25519}) {
    const TlsKey other = TlsKey::generate(kind);
    auto key = PrivateKey::from_pem(other.to_pem());
    ASSERT_FALSE(key);
    EXPECT_NE(key.error().message.find(other.kind_text()), std::string::npos);
  }
  const KeyPtr p384(EVP_EC_gen("P-384"));
  EXPECT_NE(PrivateKey::from_pem(private_key_pem(p384.get())).error().message.find("EC P-384"),
            std::string::npos);
  EXPECT_EQ(PrivateKey::from_pem("").error().code, Errc::invalid);
}

TEST(PrivateKeyTest, ANodeIdIsTheHashOfTheCanonicalFormWhateverTheFileSays) {
  KeyPtr key(EVP_EC_gen("P-256"));
  const NodeId expected = node_id_of(spki_sha256_of(key.get()));
  EVP_PKEY_set_utf8_string_param(key.get(), "point-format", "compressed");
  ASSERT_NE(node_id_of(spki_sha256_of(key.get())), expected);
  auto read = PrivateKey::from_pem(private_key_pem(key.get()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->node_id(), expected);
}

class KeyFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "postern-key-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    path_ = std::filesystem::path(name) / "identity.key";
    ASSERT_TRUE(disk_.write_file(path_, as_bytes(PrivateKey::generate().to_pem()), 0600));
  }
  void TearDown() override { std::filesystem::remove_all(path_.parent_path()); }

  PosixDisk disk_;
  std::filesystem::path path_;
};

TEST_F(KeyFile, IsReadWhenOnlyItsOwnerCanReachIt) {
  EXPECT_TRUE(load_private_key(disk_, path_));
  ASSERT_EQ(chmod(path_.c_str(), 0400), 0);
  EXPECT_TRUE(load_private_key(disk_, path_));
}

TEST_F(KeyFile, IsRefusedWithTheRepairWhenOthersCanReachIt) {
  for (mode_t mode : {0640u, 0604u, 0620u, 0601u}) {
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
    auto key = load_private_key(disk_, path_);
    ASSERT_FALSE(key) << mode;
    EXPECT_EQ(key.error().code, Errc::denied);
    EXPECT_NE(key.error().message.find("chmod 600 " + path_.string()), std::string::npos);
  }
}

TEST_F(KeyFile, IsRefusedWhenItBelongsToAThirdParty) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_EQ(chown(path_.c_str(), 12345, 12345), 0);
  EXPECT_EQ(load_private_key(disk_, path_).error().code, Errc::denied);
  EXPECT_TRUE(load_private_key(disk_, path_, 12345u)) << "the one that may own it";
  EXPECT_FALSE(load_private_key(disk_, path_, 12346u));
}

TEST_F(KeyFile, ThatIsMissingIsNamed) {
  const auto other = path_.parent_path() / "other.key";
  auto key = load_private_key(disk_, other);
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().message.find(other.string()), std::string::npos);
  EXPECT_EQ(load_private_key(disk_, path_.parent_path()).error().code, Errc::denied) << "a folder";
}

TEST(KeyOfASeed, IsTheOneThatTheDerivationNames) {
  // Worked out with another implementation of HKDF and P-256.
  Bytes seed;
  for (int i = 0; i < 32; ++i) seed.push_back(static_cast<std::byte>(i));
  const PrivateKey key = PrivateKey::from_seed(seed, "postern join token v1");
  EXPECT_EQ(to_hex(key.public_key().spki().subspan(27)),
            "d00f6c7848eb82cc938d47c1785172ac727761659f8917f169a56559a6a790b7"
            "615fd5886dcfa431a00593b2c792bfeb71339bc97c0c3a2883b5e0b30fb0190f");
  EXPECT_EQ(PrivateKey::from_seed(seed, "postern join token v1").public_key(), key.public_key());
  EXPECT_FALSE(PrivateKey::from_seed(seed, "another use").public_key() == key.public_key());
}

}  // namespace
}  // namespace postern
