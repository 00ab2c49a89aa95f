#include "identity/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/fake_disk.h"
#include "identity/group_file.h"
#include "identity/state_folder.h"
#include "identity/test_certificates.h"
#include "identity/test_folder.h"
#include "identity/test_pkcs12.h"

namespace postern {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing_support::authority_recipe;
using testing_support::DyingDisk;
using testing_support::Issued;
using testing_support::make;
using testing_support::pkcs12_of;
using testing_support::Recipe;
using testing_support::TemporaryFolder;

const WallTime kNow = wall_from_ms(1'800'000'000'000);

class Import : public testing::Test {
 protected:
  Import() : root_(make(authority_recipe("demo CA"))) {
    std::filesystem::create_directory(folder_ / "store");
    std::filesystem::permissions(folder_ / "store", std::filesystem::perms(0755));
    put_group("group.postern", group_root_.public_key());
  }

  void put(const std::string& file, std::string_view text, unsigned mode = 0600) {
    ASSERT_TRUE(disk_.write_file(folder_ / "store" / file, as_bytes(text), mode));
  }
  void put(const std::string& file, const Bytes& bytes, unsigned mode = 0600) {
    put(file, as_text(bytes), mode);
  }
  void put_group(const std::string& file, const PublicKey& root) {
    put(file, encode_group_file({"demo",
                                 {{"ms.home.example", "192.0.2.1:5723"}},
                                 root,
                                 *Anchors::from_certificates({root_.certificate})}));
  }
  void put_pair(const Issued& issued, const std::string& stem = "gw1") {
    put(stem + ".crt", issued.certificate.pem(), 0644);
    put(stem + ".key", private_key_pem(issued.key.get()));
  }
  void remove(const std::string& file) { std::filesystem::remove(folder_ / "store" / file); }

  Result<ImportReport> import() { return import_certificate(disk_, request()); }
  ImportRequest request() {
    return {.subject_name = "GW1.Site.Example",
            .store_folder = folder_ / "store",
            .state_folder = folder_ / "state",
            .now = kNow};
  }
  /// The reasons of all that failed.
  std::vector<Reason> reasons() {
    auto report = examine_certificate(disk_, request());
    std::vector<Reason> failed;
    if (!report) {
      ADD_FAILURE() << report.error().message;
      return failed;
    }
    for (const Finding& one : report->findings)
      if (!one.passed) failed.push_back(one.reason);
    return failed;
  }

  TemporaryFolder folder_;
  PosixDisk disk_;
  StateFolder state_{disk_, folder_ / "state"};
  Issued root_;
  PrivateKey group_root_ = PrivateKey::generate();
};

TEST_F(Import, InstallsCertificateKeyAnchorsAndRoot) {
  const Issued leaf = make({}, &root_);
  put_pair(leaf);
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->installed);
  EXPECT_TRUE(report->passed());
  EXPECT_EQ(report->subject_name, "gw1.site.example");
  auto installed = state_.tls();
  ASSERT_TRUE(installed) << installed.error().message;
  EXPECT_EQ(installed->chain, std::vector{leaf.certificate});
  EXPECT_EQ(state_.anchors()->certificates(), std::vector{root_.certificate});
  EXPECT_EQ(**state_.group_root(), group_root_.public_key());
}

// Nothing is asked of the system past the Disk: on another disk it finds what lies there.
TEST_F(Import, ReadsAndInstallsThroughItsDiskAlone) {
  put_pair(make({}, &root_));
  FakeDisk disk;
  ASSERT_TRUE(disk.make_directories("store"));
  for (const char* file : {"gw1.crt", "gw1.key", "group.postern"})
    disk.set_contents(std::filesystem::path("store") / file,
                      *disk_.read_file(folder_ / "store" / file, kStoreFileBytesMax));
  ImportRequest on_it = request();
  on_it.store_folder = "store";
  on_it.state_folder = "state";
  const auto report = import_certificate(disk, on_it);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->installed);
  EXPECT_TRUE(StateFolder(disk, "state").tls());
}

TEST_F(Import, TwiceIsNoHarmAndSaysSo) {
  put_pair(make({}, &root_));
  ASSERT_TRUE(import());
  auto again = import();
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->installed);
  EXPECT_TRUE(again->already_installed);
  EXPECT_THAT(again->notes, Contains(HasSubstr("installed already")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "state" / "tls" / "previous"))
      << "the previous pair stays what it was";
}

TEST_F(Import, ReadsAnyMixOfFiles) {
  const Issued middle = make(authority_recipe("site CA"), &root_);
  const Issued leaf = make({}, &middle);
  put("leaf.cer", to_bytes(leaf.certificate.der()));
  put("chain.pem", root_.certificate.pem() + middle.certificate.pem());
  const BioPtr der = writing();
  i2d_PKCS8PrivateKey_bio(der.get(), leaf.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  put("leaf.der", written(der.get()));
  put("notes.txt", "remember the milk");
  put("empty", "");
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(state_.chain(), (std::vector{leaf.certificate, middle.certificate}));
  EXPECT_THAT(report->notes, Contains(HasSubstr("notes.txt")));
}

TEST_F(Import, ReadsACombinedFile) {
  const Issued leaf = make({}, &root_);
  put("all.pem",
      leaf.certificate.pem() + private_key_pem(leaf.key.get()) + root_.certificate.pem());
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->key_file, (folder_ / "store" / "all.pem").string());
}

TEST_F(Import, PrefersTheUsableOneWithTheLongestLife) {
  Recipe shorter, longer, longest;
  shorter.not_after = kNow + std::chrono::days(10);
  longer.not_after = kNow + std::chrono::days(20);
  longest.not_after = kNow + std::chrono::days(30);
  put_pair(make(shorter, &root_), "a");
  const Issued best = make(longer, &root_);
  put_pair(best, "b");
  put_pair(make(longest, &root_), "c");
  remove("c.key");  // lives longest, but cannot be used
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(state_.chain(), std::vector{best.certificate});
  EXPECT_THAT(report->notes, Contains(HasSubstr("3 certificates are for gw1.site.example")));
}

TEST_F(Import, SaysWhichCertificatesAreThereWhenNoneFits) {
  Recipe other;
  other.common_name = "gw2.site.example";
  other.dns_names = {"gw2.site.example"};
  put_pair(make(other, &root_));
  auto report = import();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::unavailable);
  EXPECT_THAT(report.error().message, HasSubstr("gw2.site.example"));
  ImportRequest wrong = request();
  wrong.store_folder = folder_ / "nowhere";
  EXPECT_THAT(import_certificate(disk_, wrong).error().message, HasSubstr("nowhere"));
  wrong = request();
  wrong.subject_name = "gw1";
  EXPECT_EQ(import_certificate(disk_, wrong).error().code, Errc::invalid);
}

TEST_F(Import, ACommonNameAloneIsFoundAndRefusedWithWhatToAskFor) {
  Recipe recipe;
  recipe.dns_names = {};
  put_pair(make(recipe, &root_));
  EXPECT_EQ(reasons(), std::vector{Reason::wrong_name});
  EXPECT_THAT(import().error().message,
              HasSubstr("subjectAltName has the dNSName gw1.site.example"));
}

TEST_F(Import, NeedsThePrivateKeyOfThatCertificate) {
  const Issued leaf = make({}, &root_);
  put_pair(leaf);
  put("gw1.key", private_key_pem(testing_support::key_of("P-256").get()));
  EXPECT_EQ(reasons(), std::vector{Reason::no_private_key});
  remove("gw1.key");
  EXPECT_EQ(reasons(), std::vector{Reason::no_private_key});
}

TEST_F(Import, FindsTheKeyInTheStateFolderWhenOnlyTheCertificateWasRenewed) {
  const Issued leaf = make({}, &root_);
  put_pair(leaf);
  ASSERT_TRUE(import());
  remove("gw1.key");
  Recipe recipe;
  recipe.not_after += std::chrono::days(5);
  EVP_PKEY_up_ref(leaf.key.get());
  const Issued renewed = make(recipe, &root_, KeyPtr(leaf.key.get()));
  put("gw1.crt", renewed.certificate.pem());
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(state_.chain(), std::vector{renewed.certificate});
}

TEST_F(Import, RefusesAKeyOrAFolderThatOthersReach) {
  put_pair(make({}, &root_));
  ASSERT_EQ(chmod((folder_ / "store" / "gw1.key").c_str(), 0644), 0);
  EXPECT_EQ(reasons(), std::vector{Reason::unsafe_permissions});
  EXPECT_THAT(import().error().message, HasSubstr("chmod 600"));
  ASSERT_EQ(chmod((folder_ / "store" / "gw1.key").c_str(), 0600), 0);
  ASSERT_EQ(chmod((folder_ / "store").c_str(), 0777), 0);
  EXPECT_EQ(reasons(), std::vector{Reason::unsafe_permissions});
}

TEST_F(Import, ReportsEveryFailureAtOnceAndChangesNothing) {
  Recipe recipe;
  recipe.not_after = kNow - std::chrono::days(1);
  recipe.extended_key_usage = "serverAuth";
  const Issued other = make(authority_recipe("other CA"));
  put_pair(make(recipe, &other));
  EXPECT_EQ(reasons(), (std::vector{Reason::expired, Reason::unknown_ca, Reason::wrong_usage}));
  auto report = import();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::invalid);
  for (const char* part : {"expired at", "other CA", "clientAuth", "nothing is changed"})
    EXPECT_THAT(report.error().message, HasSubstr(part));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "state"));
}

// PKCS#12 password: right, wrong, none needed; a requirement with a line of its own.
TEST_F(Import, TakesANamedPkcs12FileWithItsPassword) {
  const Issued leaf = make({}, &root_);
  const auto outside = folder_ / "gw1.pfx";
  const Bytes bytes = pkcs12_of(leaf, "secret");
  ASSERT_TRUE(disk_.write_file(outside, bytes, 0644));
  ImportRequest named = request();
  named.pkcs12 = outside;
  for (const char* password : {"Secret", ""}) {
    named.password = password;
    const auto refused = import_certificate(disk_, named);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("PKCS#12 password: "));
    EXPECT_THAT(refused.error().message, HasSubstr("(wrong_password)"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "state"));
  }
  named.password = "secret";
  const auto done = import_certificate(disk_, named);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->findings.front().requirement, "PKCS#12 password");
  EXPECT_EQ(state_.tls()->chain, std::vector{leaf.certificate});
  EXPECT_EQ(state_.anchors()->certificates(), std::vector{root_.certificate})
      << "of the group file in the store folder";
}

TEST_F(Import, ANamedPkcs12FileNeedsNoStoreFolderAndMustBeOne) {
  put_pair(make({}, &root_));
  ASSERT_TRUE(import());
  const Issued renewed = make({}, &root_);
  ImportRequest named = request();
  named.store_folder = folder_ / "nowhere";
  named.pkcs12 = folder_ / "gw1.p12";
  named.password = "secret";
  ASSERT_TRUE(disk_.write_file(*named.pkcs12, as_bytes(renewed.certificate.pem()), 0600));
  auto done = import_certificate(disk_, named);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("is no PKCS#12 file"));
  ASSERT_TRUE(disk_.write_file(*named.pkcs12, pkcs12_of(renewed, "secret"), 0600));
  done = import_certificate(disk_, named);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(state_.tls()->chain.front(), renewed.certificate);
}

TEST_F(Import, OpensPkcs12FilesOfTheFolderThatNeedNoPassword) {
  const Issued leaf = make({}, &root_);
  put("gw1.p12", pkcs12_of(leaf, ""));
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->findings.front().words,
            (folder_ / "store/gw1.p12").string() + " opens without one");
  // Without a password its mode is all that keeps the key.
  put("gw1.p12", pkcs12_of(leaf, ""), 0644);
  EXPECT_EQ(reasons(), std::vector{Reason::unsafe_permissions});
}

TEST_F(Import, SkipsWhatNeedsAPasswordAndSaysHowToConvertIt) {
  const Issued leaf = make({}, &root_);
  put("gw1.pfx", pkcs12_of(leaf, "secret"));
  auto report = import();
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("gw1.pfx --password-file FILE"));

  char password[] = "secret";
  const BioPtr out = writing();
  PEM_write_bio_PKCS8PrivateKey(out.get(), leaf.key.get(), EVP_aes_128_cbc(), password, 6, nullptr,
                                nullptr);
  put("gw1.key", written(out.get()));
  put("gw1.crt", leaf.certificate.pem());
  auto examined = examine_certificate(disk_, request());
  ASSERT_TRUE(examined);
  EXPECT_THAT(examined->notes, Contains(HasSubstr("-nocrypt")));
  EXPECT_EQ(reasons(), std::vector{Reason::no_private_key});
}

TEST_F(Import, WithoutAGroupFileTheInstalledAnchorsCount) {
  put_pair(make({}, &root_));
  remove("group.postern");
  EXPECT_EQ(reasons(), std::vector{Reason::unknown_ca});
  ASSERT_TRUE(state_.install_anchors(*Anchors::from_certificates({root_.certificate})));
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_THAT(report->notes, Contains(HasSubstr("unpinned")));
}

TEST_F(Import, NeverChangesThePinnedRoot) {
  put_pair(make({}, &root_));
  ASSERT_TRUE(import());
  put_group("group.postern", PrivateKey::generate().public_key());
  EXPECT_EQ(reasons(), std::vector{Reason::other_group});
  EXPECT_THAT(import().error().message, HasSubstr("is pinned to root"));
  EXPECT_EQ(**state_.group_root(), group_root_.public_key());
}

TEST_F(Import, RefusesTwoGroupsAndADamagedGroupFile) {
  put_pair(make({}, &root_));
  put_group("other.postern", PrivateKey::generate().public_key());
  EXPECT_THAT(reasons(), Contains(Reason::other_group));
  put("other.postern", "postern-group: 1\nname: demo\n");
  EXPECT_THAT(reasons(), Contains(Reason::malformed));
}

TEST_F(Import, ACrashAtAnyMomentLeavesTheOldOrTheNewPairAndCanBeRepeated) {
  const Issued old_leaf = make({}, &root_);
  const Issued new_leaf = make({}, &root_);
  for (int changes = 0; changes < 60; ++changes) {
    std::filesystem::remove_all(folder_ / "state");
    put_pair(old_leaf);
    ASSERT_TRUE(import());
    put_pair(new_leaf);
    DyingDisk dying(changes);
    const bool done = import_certificate(dying, request()).has_value();
    auto chain = state_.chain();
    ASSERT_TRUE(chain) << changes << ": " << chain.error().message;
    ASSERT_TRUE(chain->front() == old_leaf.certificate || chain->front() == new_leaf.certificate);
    ASSERT_TRUE(import()) << "the second attempt goes through";
    ASSERT_EQ(state_.chain()->front(), new_leaf.certificate);
    if (done) {
      EXPECT_GT(changes, 3) << "the disk never died: this test shows nothing";
      return;
    }
  }
  FAIL() << "the import never finished";
}

TEST_F(Import, ATooLargeFileAndTooManyFilesHaveTheirLimits) {
  put_pair(make({}, &root_));
  put("huge.bin", std::string(kStoreFileBytesMax + 1, 'x'));
  auto report = import();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_THAT(report->notes, Contains(HasSubstr("huge.bin")));
  for (std::size_t i = 0; i < kStoreFilesMax; ++i)
    std::filesystem::create_directory(folder_ / "store" / std::to_string(i));
  EXPECT_THAT(import().error().message, HasSubstr("the limit is 256"));
}

}  // namespace
}  // namespace postern
