#include "identity/state_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity/authority.h"
#include "identity/test_folder.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing_support::DyingDisk;
using testing_support::TemporaryFolder;

const WallTime kNow = wall_from_ms(1'800'000'000'000);

class StateFolderTest : public testing::Test {
 protected:
  TlsCredential credential() {
    TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
    const std::string csr = *make_request(key, "gw1.site.example");
    auto leaf = authority_.sign(as_bytes(csr), {.now = kNow}, random_);
    return {std::move(key), {*leaf}};
  }
  unsigned mode_of(const std::filesystem::path& file) {
    return static_cast<unsigned>(std::filesystem::status(file).permissions());
  }

  SeededRandom random_{7};
  CertificateAuthority authority_ = std::move(*CertificateAuthority::create("demo", kNow, random_));
  TemporaryFolder folder_;
  PosixDisk disk_;
  StateFolder state_{disk_, folder_ / "state"};
};

TEST_F(StateFolderTest, MakesTheIdentityOnceAndKeepsIt) {
  auto first = state_.load_or_create_identity();
  ASSERT_TRUE(first) << first.error().message;
  auto second = state_.load_or_create_identity();
  ASSERT_TRUE(second);
  EXPECT_EQ(first->node_id(), second->node_id());
  EXPECT_EQ(mode_of(state_.path()), 0700u);
  EXPECT_EQ(mode_of(state_.path() / "identity.key"), 0600u);
}

// A new identity would be a new node: its data, approval and name would be lost to it.
TEST_F(StateFolderTest, NeverReplacesAnIdentityThatItCannotRead) {
  ASSERT_TRUE(state_.prepare());
  ASSERT_TRUE(disk_.write_file(state_.path() / "identity.key", as_bytes("damaged"), 0600));
  EXPECT_EQ(state_.load_or_create_identity().error().code, Errc::invalid);
  EXPECT_EQ(disk_.read_file(state_.path() / "identity.key"), to_bytes("damaged"));
}

TEST_F(StateFolderTest, RefusesAFolderThatOthersCanWrite) {
  ASSERT_TRUE(state_.prepare());
  ASSERT_EQ(chmod(state_.path().c_str(), 0770), 0);
  auto identity = state_.load_or_create_identity();
  ASSERT_FALSE(identity);
  EXPECT_THAT(identity.error().message, HasSubstr("chmod 700"));
}

TEST_F(StateFolderTest, SaysWhatIsMissingAndHowToGetIt) {
  EXPECT_THAT(state_.tls().error().message, HasSubstr("postern cert import"));
  EXPECT_THAT(state_.anchors().error().message, HasSubstr("postern group export"));
  auto root = state_.group_root();
  ASSERT_TRUE(root);
  EXPECT_FALSE(*root) << "unpinned is a state, not an error";
}

TEST_F(StateFolderTest, InstallsAPairWithSafeModes) {
  const TlsCredential one = credential();
  ASSERT_TRUE(state_.install_tls(one));
  auto loaded = state_.tls();
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->chain, one.chain);
  EXPECT_EQ(state_.chain(), one.chain);
  EXPECT_EQ(mode_of(state_.path() / "tls" / "key.pem"), 0600u);
  EXPECT_FALSE(std::filesystem::exists(state_.path() / "tls" / "next" / "key.pem"));
}

TEST_F(StateFolderTest, RefusesAPairThatDoesNotBelongTogether) {
  TlsCredential mixed = credential();
  mixed.chain = credential().chain;
  EXPECT_EQ(state_.install_tls(mixed).error().code, Errc::invalid);
}

TEST_F(StateFolderTest, RefusesAKeyThatOthersCanRead) {
  ASSERT_TRUE(state_.install_tls(credential()));
  ASSERT_TRUE(state_.install_tls(credential()));
  ASSERT_EQ(chmod((state_.path() / "tls" / "key.pem").c_str(), 0644), 0);
  auto loaded = state_.tls();
  ASSERT_FALSE(loaded) << "not the previous pair, silently";
  EXPECT_EQ(loaded.error().code, Errc::denied);
}

TEST_F(StateFolderTest, RollsBackAndForthBetweenTwoPairs) {
  const TlsCredential one = credential();
  const TlsCredential two = credential();
  ASSERT_FALSE(state_.roll_back_tls());
  ASSERT_TRUE(state_.install_tls(one));
  ASSERT_TRUE(state_.install_tls(two));
  EXPECT_EQ(state_.chain(), two.chain);
  ASSERT_TRUE(state_.roll_back_tls());
  EXPECT_EQ(state_.chain(), one.chain);
  ASSERT_TRUE(state_.roll_back_tls());
  EXPECT_EQ(state_.chain(), two.chain);
}

// The power may go at any change, and again while the installation is repeated: each time a pair
// that belongs together must be found.
TEST_F(StateFolderTest, ACrashAtAnyMomentLeavesALoadablePair) {
  const TlsCredential one = credential();
  const TlsCredential two = credential();
  const TlsCredential three = credential();
  constexpr int kChangesMax = 40;
  int crashes = 0;
  for (int first = 0; first < kChangesMax; ++first) {
    bool finished = false;
    for (int second = 0; second < kChangesMax && !finished; ++second) {
      std::filesystem::remove_all(state_.path());
      ASSERT_TRUE(state_.install_tls(one));
      DyingDisk dying(first);
      const bool done = StateFolder(dying, state_.path()).install_tls(two).has_value();
      auto after = state_.tls();
      ASSERT_TRUE(after) << first << ": " << after.error().message;
      ASSERT_TRUE(after->chain == one.chain || (after->chain == two.chain)) << first;
      if (done) {
        ASSERT_EQ(after->chain, two.chain);
        ASSERT_GT(crashes, 5) << "the disk never died: this test shows nothing";
        return;
      }
      DyingDisk dying_again(second);
      finished = StateFolder(dying_again, state_.path()).install_tls(three).has_value();
      auto again = state_.tls();
      ASSERT_TRUE(again) << first << ", " << second << ": " << again.error().message;
      if (finished) {
        ASSERT_EQ(again->chain, three.chain);
      }
      ++crashes;
    }
  }
  FAIL() << "the installation never finished";
}

TEST_F(StateFolderTest, FilesBelongToTheOwnerOfTheFolderWhenRootWritesThem) {
  if (geteuid() != 0) GTEST_SKIP() << "only root writes for others";
  ASSERT_TRUE(state_.prepare());
  ASSERT_EQ(chown(state_.path().c_str(), 12345, 12346), 0);
  ASSERT_TRUE(state_.install_tls(credential()));
  ASSERT_TRUE(state_.load_or_create_identity());
  for (const char* file : {"identity.key", "tls", "tls/key.pem", "tls/chain.pem"}) {
    struct stat info {};
    ASSERT_EQ(stat((state_.path() / file).c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_uid, 12345u) << file;
    EXPECT_EQ(info.st_gid, 12346u) << file;
  }
  EXPECT_TRUE(state_.tls()) << "root may read what belongs to the folder's owner";
  EXPECT_TRUE(state_.load_or_create_identity());
}

TEST_F(StateFolderTest, PinsOneRootAndRefusesAnother) {
  const PublicKey root = PrivateKey::generate().public_key();
  const PublicKey other = PrivateKey::generate().public_key();
  ASSERT_TRUE(state_.pin_group_root(root));
  ASSERT_TRUE(state_.pin_group_root(root)) << "again is no harm";
  auto refused = state_.pin_group_root(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::denied);
  EXPECT_THAT(refused.error().message, HasSubstr(to_hex(root.fingerprint())));
  EXPECT_EQ(**state_.group_root(), root);
}

TEST_F(StateFolderTest, KeepsTheAnchors) {
  auto anchors = Anchors::from_certificates({authority_.certificate()});
  ASSERT_TRUE(state_.install_anchors(*anchors));
  EXPECT_EQ(state_.anchors()->certificates(), anchors->certificates());
  EXPECT_FALSE(state_.install_anchors(Anchors()));
}

}  // namespace
}  // namespace postern
