#include "server/authority_tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/fake_disk.h"
#include "server/group.h"

namespace postern {
namespace {

using testing::HasSubstr;

class AuthorityTool : public testing::Test {
 protected:
  AuthorityTool() {
    clock_.set_wall(kNow);
    EXPECT_TRUE(disk_.make_directories("/state"));
    put("/phrase", "correct horse battery\n", 0600);
    put("/state/ca.key", root_.key_pem(), 0600);
    put("/state/ca.pem", root_.certificate().pem(), 0644);
  }
  void put(const char* path, const std::string& text, unsigned mode) {
    EXPECT_TRUE(disk_.write_file(path, as_bytes(text), mode));
  }
  Certificate leaf() {
    const TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
    return *folder_.authority()->sign(as_bytes(*make_request(key, "gw1.site.example")),
                                      {.now = kNow}, random_);
  }
  Result<std::string> issue(std::optional<std::filesystem::path> file = std::nullopt) {
    AuthorityRequest request = request_;
    request.file = std::move(file);
    return issue_intermediate(request, disk_, clock_, random_);
  }

  const WallTime kNow = wall_from_ms(1'800'000'000'000);
  FakeDisk disk_;
  FakeClock clock_;
  SeededRandom random_{7};
  CertificateAuthority root_ = std::move(*CertificateAuthority::create("demo", kNow, random_));
  GroupFolder folder_{disk_, "/state"};
  AuthorityRequest request_{"/state", "/safe.pem", "/phrase", false};
};

TEST_F(AuthorityTool, AGroupMadeBeforeIsSignedForByItsRootUntilItGetsAnIssuingOne) {
  const Certificate old = leaf();
  EXPECT_EQ(folder_.authority()->certificate(), root_.certificate());
  EXPECT_THAT(*show_authority(request_, disk_, clock_), HasSubstr("the root itself"));
  ASSERT_TRUE(issue());
  EXPECT_NE(folder_.authority()->certificate(), root_.certificate());
  EXPECT_TRUE(folder_.authority()->issued(old));
  EXPECT_TRUE(folder_.authority()->issued(leaf()));
}

TEST_F(AuthorityTool, TheRootKeyLeavesTheServerOnlyWhenItCanComeBack) {
  request_.remove = true;
  EXPECT_THAT(export_authority(request_, disk_).error().message, HasSubstr("issue-intermediate"));
  EXPECT_TRUE(*folder_.has_root_key());
  EXPECT_FALSE(*disk_.exists("/safe.pem"));
  ASSERT_TRUE(issue());
  const auto done = export_authority(request_, disk_);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_FALSE(*folder_.has_root_key());
  EXPECT_THAT(*show_authority(request_, disk_, clock_), HasSubstr("not on this server"));
  const Certificate of_first = leaf();

  // The next issuing one comes from the file; what the one before it signed stays known.
  EXPECT_THAT(issue().error().message, HasSubstr("ca export"));
  const auto next = issue("/safe.pem");
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_TRUE(folder_.authority()->issued(of_first));
  EXPECT_TRUE(folder_.authority()->issued(leaf()));
  EXPECT_THAT(*show_authority(request_, disk_, clock_), HasSubstr("before"));

  EXPECT_FALSE(export_authority(request_, disk_)) << "there is no key to be exported";
  ASSERT_TRUE(import_authority(request_, disk_));
  EXPECT_EQ(folder_.root()->key_pem(), root_.key_pem());
  EXPECT_THAT(export_authority(request_, disk_).error().message, HasSubstr("there already"));
}

TEST_F(AuthorityTool, AnotherGroupsRootAndAnotherPassphraseAreRefused) {
  ASSERT_TRUE(issue());
  const auto before = *disk_.read_file("/state/issuing.pem");
  const auto other = CertificateAuthority::create("demo", kNow, random_);
  put("/other.pem", *other->export_with("correct horse battery"), 0600);
  EXPECT_EQ(issue("/other.pem").error().code, Errc::denied);
  ASSERT_TRUE(export_authority(request_, disk_));
  put("/phrase", "wrong horse battery\n", 0600);
  EXPECT_EQ(issue("/safe.pem").error().code, Errc::denied);
  EXPECT_EQ(import_authority(request_, disk_).error().code, Errc::denied);
  EXPECT_EQ(*disk_.read_file("/state/issuing.pem"), before);
}

}  // namespace
}  // namespace postern
