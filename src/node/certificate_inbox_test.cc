#include "node/certificate_inbox.h"

#include <gmock/gmock.h>

#include "identity/authority.h"
#include "identity/state_folder.h"
#include "identity/test_folder.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using std::chrono::days;
using testing::HasSubstr;
using testing_support::kWall;

class CertificateInboxTest : public testing::Test {
 protected:
  void SetUp() override {
    StateFolder state(disk_, places_.state);
    ASSERT_TRUE(state.prepare());
    ASSERT_TRUE(state.install_anchors(*Anchors::from_certificates({authority_.certificate()})));
    ASSERT_TRUE(disk_.make_directories(places_.folder));
  }
  /// Somebody leaves key and certificate.
  Certificate leave(const std::string& file, days life,
                    const std::string& name = "gw1.dmz.example") {
    const TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
    const auto certificate =
        authority_
            .sign(as_bytes(*make_request(key, name)), {.lifetime = life, .now = kWall}, random_)
            .value();
    EXPECT_TRUE(disk_.write_file(places_.folder / (file + ".key"), as_bytes(key.to_pem()), 0600));
    EXPECT_TRUE(
        disk_.write_file(places_.folder / (file + ".pem"), as_bytes(certificate.pem()), 0644));
    return certificate;
  }
  Result<std::optional<ImportReport>> look() { return take_from_inbox(disk_, places_, kWall); }
  std::string installed() {
    const auto chain = StateFolder(disk_, places_.state).chain();
    return chain ? chain->front().serial() : "";
  }

  testing_support::TemporaryFolder folder_;
  PosixDisk disk_;
  SeededRandom random_{1};
  CertificateAuthority authority_ = std::move(
      CertificateAuthority::create("demo", kWall - std::chrono::hours(1), random_).value());
  CertificateInbox::Places places_{folder_.path() / "inbox", folder_.path() / "state",
                                   "gw1.dmz.example"};
};

TEST_F(CertificateInboxTest, InstallsWhatLivesLongerAndNothingElse) {
  const Certificate first = leave("first", days(30));
  auto taken = look();
  ASSERT_TRUE(taken && *taken) << taken.error().message;
  EXPECT_EQ(installed(), first.serial());
  EXPECT_FALSE(*look()) << "it is installed";
  leave("shorter", days(10));
  EXPECT_FALSE(*look());
  EXPECT_EQ(installed(), first.serial());
  const Certificate longer = leave("longer", days(60));
  EXPECT_TRUE(*look());
  EXPECT_EQ(installed(), longer.serial());
}

TEST_F(CertificateInboxTest, SaysWhyWhatIsThereCannotBeUsed) {
  EXPECT_FALSE(look()) << "nothing is there";
  leave("other", days(30), "gw2.dmz.example");
  EXPECT_FALSE(look());
  leave("open", days(30));
  ASSERT_TRUE(disk_.set_mode(places_.folder / "open.key", 0644));
  const auto refused = look();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("chmod"));
  EXPECT_EQ(installed(), "");
}

}  // namespace
}  // namespace postern::node
