#include "node/certificate_hook.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "identity/test_folder.h"
#include "node/hand_driven.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing_support::LogLines;
using testing_support::TestGroup;

class CertificateHookTest : public testing::Test {
 protected:
  CertificateHookTest() {
    EXPECT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    std::ofstream(folder_ / "hook")
        << "#!/bin/sh\necho \"$POSTERN_NAME until $POSTERN_NOT_AFTER\"\n";
    mode(0755);
    settings_.hook = {(folder_ / "hook").string()};
    settings_.folder = folder_ / "renewed";
    at(0.1);
  }
  void mode(unsigned bits) { EXPECT_EQ(::chmod((folder_ / "hook").c_str(), bits), 0); }
  void at(double part) {
    const auto life = leaf_.not_after() - leaf_.not_before();
    clock_.set_wall(leaf_.not_before() +
                    std::chrono::duration_cast<std::chrono::milliseconds>(life * part));
  }
  void keep() {
    keep_hook(hook_, core_, workers_, clock_, random_, lines_.log, settings_, "/state",
              "agent1.site.example", "agent", leaf_);
  }
  /// An hour goes by, which is the longest that nobody looks.
  void look() {
    clock_.advance(std::chrono::hours(1));
    core_.run_ready();
    while (workers_.run_one()) core_.run_ready();
    core_.run_ready();
  }

  TestGroup group_;
  Certificate leaf_ = group_.node(Role::agent, "agent1.site.example").certificate();
  testing_support::TemporaryFolder folder_;
  FakeClock clock_;
  SeededRandom random_{3};
  LogLines lines_;
  testing_support::HandDrivenWorkers workers_;
  Loop core_{"core", clock_};
  CertificateSettings settings_;
  std::unique_ptr<CertificateHook> hook_;
};

TEST_F(CertificateHookTest, ItRunsWhenWhatIsIssuedElsewhereIsHalfOver) {
  keep();
  hook_->issued_elsewhere();
  look();
  EXPECT_EQ(lines_.count("is run"), 0u);
  at(0.56);
  look();
  EXPECT_EQ(
      lines_.count("certificates.hook: agent1.site.example until " + to_rfc3339(leaf_.not_after())),
      1u);
  EXPECT_EQ(lines_.count("is done"), 1u);
}

TEST_F(CertificateHookTest, WithoutAWordFromTheGroupItRunsLaterAndWithRenewOffAtOnce) {
  keep();
  at(0.6);
  look();
  EXPECT_EQ(lines_.count("is run"), 0u);
  settings_.renew = false;
  keep();
  look();
  EXPECT_EQ(lines_.count("is run"), 1u);
}

TEST_F(CertificateHookTest, WhatOthersMayWriteIsSaidAtTheStartAndNotRun) {
  mode(0777);
  keep();
  EXPECT_EQ(lines_.count("has mode 0777"), 1u);
  at(0.8);
  look();
  EXPECT_EQ(lines_.count("has mode 0777"), 2u);
  EXPECT_EQ(lines_.count("until 2"), 1u) << "only our own line";
  mode(0755);
  at(0.95);
  look();
  EXPECT_EQ(lines_.count("is done"), 1u) << "it is asked again";
  EXPECT_FALSE(check_hook({.hook = {"/no/such/program"}}, folder_.path()));
  EXPECT_TRUE(check_hook(settings_, folder_.path()));
}

TEST_F(CertificateHookTest, AnotherCertificateAndOtherSettingsAreTakenOver) {
  keep();
  at(0.8);
  look();
  EXPECT_EQ(lines_.count("is run"), 1u);
  auto recipe = testing_support::recipe_for("agent1.site.example");
  recipe.not_before = clock_.wall();
  recipe.not_after = clock_.wall() + (leaf_.not_after() - leaf_.not_before());
  leaf_ = testing_support::make(recipe, &group_.authority).certificate;
  hook_->use(leaf_);
  at(0.3);
  look();
  EXPECT_EQ(lines_.count("is run"), 1u);
  settings_.hook.clear();
  keep();
  EXPECT_EQ(hook_, nullptr);
  EXPECT_EQ(workers_.started.size(), 1u);
}

}  // namespace
}  // namespace postern::node
