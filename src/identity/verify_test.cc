#include "identity/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/test_certificates.h"
#include "identity/test_folder.h"

namespace postern {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing_support::authority_recipe;
using testing_support::Issued;
using testing_support::key_of;
using testing_support::make;
using testing_support::Recipe;

const WallTime kNow = wall_from_ms(1'800'000'000'000);
constexpr const char* kName = "gw1.site.example";

class Verify : public testing::Test {
 protected:
  Verify() : root_(make(authority_recipe("demo CA"))) {
    put("ca.pem", root_.certificate.pem());
    request_.files = {folder_ / "leaf.pem"};
    request_.anchors = folder_ / "ca.pem";
    request_.now = kNow;
  }

  void put(const std::string& file, const std::string& text, unsigned mode = 0644) {
    const auto written = disk_.write_file(folder_ / file, as_bytes(text), mode);
    ASSERT_TRUE(written) << written.error().message;
  }

  /// The leaf is in leaf.pem, its key beside it.
  Certificate leaf(const Recipe& recipe, unsigned key_mode = 0600) {
    const Issued issued = make(recipe, &root_);
    put("leaf.pem", issued.certificate.pem());
    put("leaf.key", private_key_pem(issued.key.get()), key_mode);
    return issued.certificate;
  }

  VerifyReport report() {
    auto made = verify_certificate(disk_, request_);
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : VerifyReport{};
  }

  Finding failure() { return first_failure(report().findings).value_or(Finding{}); }

  testing_support::TemporaryFolder folder_;
  PosixDisk disk_;
  Issued root_;
  VerifyRequest request_;
};

TEST_F(Verify, AGoodCertificateWithItsKeyPassesEveryRequirement) {
  const Certificate shown = leaf({});
  request_.key = folder_ / "leaf.key";
  request_.name = "GW1.site.example";
  const VerifyReport made = report();
  EXPECT_TRUE(made.passed());
  EXPECT_EQ(made.findings.size(), 11u);  // nine of a handshake, two of the key
  EXPECT_EQ(made.certificate, shown);
  EXPECT_TRUE(made.notes.empty());
}

// What the machines will say is what is found here, because it is the same check.
TEST_F(Verify, ItFindsWhatAHandshakeFinds) {
  Recipe expired;
  expired.not_after = kNow - std::chrono::hours(1);
  Recipe server_only;
  server_only.extended_key_usage = "serverAuth";
  Recipe weak;
  weak.digest = "SHA1";
  const auto anchors = Anchors::from_certificates({root_.certificate});
  for (const Recipe& recipe : {expired, server_only, weak}) {
    const std::vector<Certificate> chain = {leaf(recipe)};
    const auto refused = why_refused(chain, *anchors, {.now = kNow, .name = kName});
    ASSERT_TRUE(refused);
    const Finding found = failure();
    EXPECT_EQ(found.reason, refused->reason);
    EXPECT_EQ(found.words, refused->words);
  }
}

TEST_F(Verify, IntermediatesComeFromTheSameFileOrFurtherOnes) {
  const Issued middle = make(authority_recipe("site CA"), &root_);
  const Certificate shown = make({}, &middle).certificate;
  put("leaf.pem", shown.pem());
  EXPECT_EQ(failure().reason, Reason::unknown_ca);
  put("leaf.pem", shown.pem() + middle.certificate.pem());
  EXPECT_EQ(failure().reason, Reason::ok);
  put("leaf.pem", shown.pem());
  put("middle.pem", middle.certificate.pem());
  request_.files.push_back(folder_ / "middle.pem");
  EXPECT_EQ(failure().reason, Reason::ok);
}

TEST_F(Verify, WithoutANameItGoesByItsOwnAndSaysSo) {
  leaf({});
  const VerifyReport made = report();
  EXPECT_TRUE(made.passed());
  EXPECT_THAT(made.notes, Contains(HasSubstr("--name")));
  EXPECT_THAT(made.notes, Contains(HasSubstr("--key")));
}

TEST_F(Verify, ACommonNameAloneIsToldWhatToAskFor) {
  Recipe recipe;
  recipe.dns_names = {};
  leaf(recipe);
  const Finding found = failure();
  EXPECT_EQ(found.reason, Reason::wrong_name);
  EXPECT_THAT(found.words, HasSubstr("subjectAltName has the dNSName gw1.site.example"));
}

TEST_F(Verify, AnotherKeyIsNotItsOwn) {
  leaf({});
  put("leaf.key", private_key_pem(key_of("P-256").get()), 0600);
  request_.key = folder_ / "leaf.key";
  EXPECT_EQ(failure().reason, Reason::no_private_key);
}

TEST_F(Verify, AKeyThatOthersCanReadIsUnsafe) {
  leaf({}, 0644);
  request_.key = folder_ / "leaf.key";
  EXPECT_EQ(failure().reason, Reason::unsafe_permissions);
}

TEST_F(Verify, TheKeyMayBelongToTheUserThatAServiceRunsAs) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  leaf({});
  request_.key = folder_ / "leaf.key";
  ASSERT_EQ(::chown(request_.key->c_str(), 12345, 12345), 0);
  EXPECT_EQ(failure().reason, Reason::unsafe_permissions);
  request_.also_owner = 12345;
  EXPECT_EQ(failure().reason, Reason::ok);
}

TEST_F(Verify, WhatCannotBeReadAsACertificateIsMalformed) {
  put("leaf.pem", "-----BEGIN CERTIFICATE-----\nMAUwAwIBAQ==\n-----END CERTIFICATE-----\n");
  const VerifyReport made = report();
  EXPECT_EQ(first_failure(made.findings)->reason, Reason::malformed);
  EXPECT_FALSE(made.certificate);
}

TEST_F(Verify, AnAgentNeedsNoServerUsage) {
  Recipe recipe;
  recipe.extended_key_usage = "clientAuth";
  leaf(recipe);
  EXPECT_EQ(failure().reason, Reason::wrong_usage);
  request_.as_server = false;
  EXPECT_EQ(failure().reason, Reason::ok);
}

TEST_F(Verify, AMissingFileAFileWithoutACertificateAndABadNameAreErrors) {
  EXPECT_EQ(verify_certificate(disk_, request_).error().code, Errc::unavailable);
  put("leaf.pem", "no certificate\n");
  EXPECT_EQ(verify_certificate(disk_, request_).error().code, Errc::invalid);
  leaf({});
  request_.name = "*.site.example";
  EXPECT_EQ(verify_certificate(disk_, request_).error().code, Errc::invalid);
  request_.name.reset();
  request_.anchors = folder_ / "leaf.pem";
  const auto made = verify_certificate(disk_, request_);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("is not the certificate of a CA"));
}

}  // namespace
}  // namespace postern
