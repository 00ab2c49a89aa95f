#include "node/revocation_files.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "base/fake_disk.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::kWall;
using testing_support::LogLines;
using testing_support::TestGroup;
using testing_support::TestNode;
using CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;

class RevocationFilesTest : public testing::Test {
 protected:
  /// The list of the group's authority, to be replaced a day from kWall.
  Bytes list_of(const std::vector<Certificate>& revoked) {
    const CrlPtr crl(X509_CRL_new());
    X509_CRL_set_issuer_name(crl.get(),
                             X509_get_subject_name(group_.authority.certificate.native()));
    const auto at = [](WallTime time) {
      return std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>>(
          ASN1_TIME_set(nullptr, to_ms(time) / 1000));
    };
    X509_CRL_set1_lastUpdate(crl.get(), at(kWall).get());
    X509_CRL_set1_nextUpdate(crl.get(), at(kEnd).get());
    for (const Certificate& one : revoked) {
      X509_REVOKED* entry = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(one.native()));
      X509_REVOKED_set_revocationDate(entry, at(kWall).get());
      X509_CRL_add0_revoked(crl.get(), entry);
    }
    X509_CRL_sign(crl.get(), group_.authority.key.get(), EVP_sha256());
    return encoded(i2d_X509_CRL, crl.get());
  }
  bool read() { return files_.read(disk_, settings_, group_.anchors(), {}, kWall); }
  void write(ByteView bytes) {
    ASSERT_TRUE(disk_.make_directories("/etc"));
    ASSERT_TRUE(disk_.write_file("/etc/a.crl", bytes, 0644));
  }
  bool revoked(const TestNode& node) {
    return files_.lists() && files_.lists()->find(node.mark()) != nullptr;
  }

  static constexpr WallTime kEnd = kWall + std::chrono::hours(24);
  TestGroup group_;
  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  TestNode other_ = group_.node(Role::agent, "agent2.site.example");
  LogLines lines_;
  FakeDisk disk_;
  CertificateSettings settings_{.crl = {"/etc/a.crl"}};
  RevocationFiles files_{lines_.log};
};

TEST_F(RevocationFilesTest, AFileThatIsReplacedSaysWhatCounts) {
  write(list_of({agent_.certificate()}));
  EXPECT_TRUE(read());
  EXPECT_TRUE(revoked(agent_));
  EXPECT_FALSE(revoked(other_));
  EXPECT_FALSE(read()) << "nothing is new";
  write(list_of({agent_.certificate(), other_.certificate()}));
  EXPECT_TRUE(read());
  EXPECT_TRUE(revoked(other_));
  settings_.crl = {};
  EXPECT_TRUE(read());
  EXPECT_EQ(files_.lists(), nullptr);
}

TEST_F(RevocationFilesTest, ADamagedOrMissingFileBringsNobodyBackAndIsSaidOnce) {
  EXPECT_FALSE(read()) << "not there yet";
  EXPECT_EQ(lines_.count("a revocation list is not taken"), 1u);
  const Bytes whole = list_of({agent_.certificate()});
  write(whole);
  EXPECT_TRUE(read());
  write(std::span(whole).first(whole.size() / 2));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(read());
  EXPECT_EQ(lines_.count("what it said before goes on counting"), 1u);
  EXPECT_TRUE(revoked(agent_));
}

TEST_F(RevocationFilesTest, AStaleOneIsSaidOnceADay) {
  write(list_of({}));
  EXPECT_TRUE(read());
  EXPECT_EQ(files_.next_update(kWall), kEnd);
  files_.say_stale(kEnd);
  EXPECT_EQ(lines_.count("should have been replaced"), 0u);
  const WallTime after = kEnd + std::chrono::seconds(1);
  EXPECT_EQ(files_.next_update(after), WallTime::max());
  for (int hour = 0; hour < 24; ++hour) files_.say_stale(after + std::chrono::hours(hour));
  EXPECT_EQ(lines_.count("should have been replaced"), 1u);
  files_.say_stale(after + std::chrono::hours(24));
  EXPECT_EQ(lines_.count("it goes on counting as it is"), 2u);
  settings_.refuse_on_stale_crl = true;
  EXPECT_TRUE(read());
  EXPECT_TRUE(files_.lists()->objection(std::span(&agent_.certificate(), 1), after));
  EXPECT_FALSE(files_.lists()->objection(std::span(&agent_.certificate(), 1), kWall));
}

}  // namespace
}  // namespace postern::node
