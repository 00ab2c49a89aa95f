#include "node/anchor_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fake_disk.h"
#include "identity/state_folder.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::authority_recipe;
using testing_support::Issued;
using testing_support::kWall;
using testing_support::long_lived;
using testing_support::make;
using testing_support::recipe_for;

class AnchorListTest : public testing::Test {
 protected:
  static Anchors anchors(std::vector<Certificate> certificates) {
    return *Anchors::from_certificates(std::move(certificates));
  }
  static AnchorList list(std::vector<AnchorList::Anchor> some, std::vector<Digest> withdrawn = {}) {
    return {std::move(some), std::move(withdrawn), std::chrono::seconds(7)};
  }

  Issued old_ = make(long_lived(authority_recipe("Old root")));
  Issued new_ = make(long_lived(authority_recipe("New root")));
  Issued foreign_ = make(long_lived(authority_recipe("Foreign root")));
  Issued leaf_ = make(recipe_for("gw1.site.example"), &old_);
};

TEST_F(AnchorListTest, IsReadAsItWasWritten) {
  const AnchorList whole = list({{new_.certificate, false}, {old_.certificate, true}},
                                {foreign_.certificate.fingerprint()});
  const auto read = AnchorList::from_payload(as_bytes(whole.payload()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, whole);
}

TEST_F(AnchorListTest, WhatIsNoListOfAuthoritiesIsNotRead) {
  const auto objection = [](const AnchorList& bad) {
    auto read = AnchorList::from_payload(as_bytes(bad.payload()));
    return read ? "" : read.error().message;
  };
  EXPECT_THAT(objection(list({})), HasSubstr("0 anchors"));
  EXPECT_THAT(objection(list({{leaf_.certificate, false}})), HasSubstr("is no CA"));
  EXPECT_THAT(
      objection(list(std::vector(kAnchorsMax + 1, AnchorList::Anchor{new_.certificate, false}))),
      HasSubstr("33 anchors"));
  EXPECT_THAT(objection(list({{new_.certificate, false}}, std::vector<Digest>(kWithdrawnMax + 1))),
              HasSubstr("65 withdrawn"));
  EXPECT_FALSE(AnchorList::from_payload(as_bytes("garbage")));
  std::string torn = list({{new_.certificate, false}}).payload();
  torn.resize(torn.size() / 2);
  EXPECT_FALSE(AnchorList::from_payload(as_bytes(torn)));
}

TEST_F(AnchorListTest, AddsItsOwnAndTakesAwayWhatWasWithdrawnAndNothingElse) {
  const AnchorList both = list({{old_.certificate, false}, {new_.certificate, false}});
  const auto overlap = both.applied_to(anchors({foreign_.certificate, old_.certificate}));
  ASSERT_TRUE(overlap);
  EXPECT_THAT(overlap->certificates(),
              ElementsAre(foreign_.certificate, old_.certificate, new_.certificate));
  const AnchorList after = list({{new_.certificate, false}}, {old_.certificate.fingerprint()});
  EXPECT_THAT(after.applied_to(*overlap)->certificates(),
              ElementsAre(foreign_.certificate, new_.certificate));
  EXPECT_THAT(after.applied_to(anchors({old_.certificate}))->certificates(),
              ElementsAre(new_.certificate))
      << "also for one that was away in between";
}

TEST_F(AnchorListTest, NobodyIsLeftWithoutAnyAnchor) {
  const AnchorList nothing = list({{old_.certificate, false}}, {old_.certificate.fingerprint()});
  EXPECT_EQ(nothing.applied_to(anchors({old_.certificate})).error().code, Errc::denied);
}

TEST_F(AnchorListTest, KnowsWhichChainsLeadToARetiringOneAlone) {
  const AnchorList changing = list({{new_.certificate, false}, {old_.certificate, true}});
  const Issued of_new = make(recipe_for("gw1.site.example"), &new_);
  const Issued of_foreign = make(recipe_for("gw1.site.example"), &foreign_);
  EXPECT_TRUE(changing.leaves({leaf_.certificate}, kWall));
  EXPECT_FALSE(changing.leaves({of_new.certificate}, kWall));
  EXPECT_FALSE(changing.leaves({of_foreign.certificate}, kWall)) << "it is renewed by hand";
  EXPECT_FALSE(changing.leaves({}, kWall));
  EXPECT_FALSE(list({{old_.certificate, false}}).leaves({leaf_.certificate}, kWall));
}

// Whatever fails, what stands there afterwards are whole anchors: those before, or those after.
TEST_F(AnchorListTest, IsInstalledWholeOrNotAtAll) {
  const Anchors before = anchors({old_.certificate});
  const AnchorList both = list({{old_.certificate, false}, {new_.certificate, false}});
  for (std::uint64_t nth = 1;; ++nth) {
    FakeDisk disk;
    StateFolder folder(disk, "/state");
    ASSERT_TRUE(folder.prepare());
    ASSERT_TRUE(folder.install_anchors(before));
    disk.fail_at(nth);
    const auto installed = install_anchors(both, disk, "/state");
    const bool failed = disk.failed();
    disk.heal();
    const auto there = folder.anchors();
    ASSERT_TRUE(there) << nth;
    if (installed)
      EXPECT_EQ(there->certificates(), installed->certificates()) << nth;
    else
      EXPECT_THAT(there->certificates().size(), testing::AnyOf(1u, 2u)) << nth;
    EXPECT_TRUE(install_anchors(both, disk, "/state")) << "again, after " << nth;
    if (!failed) break;
  }
}

}  // namespace
}  // namespace postern::node
