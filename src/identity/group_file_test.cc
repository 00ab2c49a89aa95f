#include "identity/group_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/authority.h"

namespace postern {
namespace {

using testing::HasSubstr;

class GroupFileTest : public testing::Test {
 protected:
  std::string replaced(const std::string& what, const std::string& with) {
    std::string text = text_;
    const auto at = text.find(what);
    if (at == std::string::npos) {
      ADD_FAILURE() << what << " is not there";
    } else {
      text.replace(at, what.size(), with);
    }
    return text;
  }
  static std::string refusal(const std::string& text) {
    auto group = parse_group_file(text);
    return group ? "taken" : group.error().message;
  }

  SeededRandom random_{7};
  CertificateAuthority authority_ =
      std::move(*CertificateAuthority::create("demo", wall_from_ms(1'800'000'000'000), random_));
  GroupFile group_{
      "demo",
      {{"ms.home.example", "192.0.2.1:5723"}, {"ms2.home.example", "[2001:db8::2]:99"}},
      PrivateKey::generate().public_key(),
      *Anchors::from_certificates({authority_.certificate()})};
  std::string text_ = encode_group_file(group_);
};

TEST_F(GroupFileTest, ReadsBackWhatItWrote) {
  EXPECT_TRUE(is_group_file(text_));
  auto group = parse_group_file(text_);
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_EQ(group->name, "demo");
  EXPECT_EQ(group->servers, group_.servers);
  EXPECT_EQ(group->root, group_.root);
  EXPECT_EQ(group->anchors.certificates(), group_.anchors.certificates());
  EXPECT_THAT(text_, HasSubstr(root_fingerprint(group_.root)));
}

TEST_F(GroupFileTest, BearsCommentsEmptyLinesAndForeignLineEnds) {
  std::string text = "# for site B\n\n" + text_;
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\r\n");
  EXPECT_TRUE(is_group_file(text));
  auto group = parse_group_file(text);
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_EQ(group->servers, group_.servers);
}

TEST_F(GroupFileTest, NamesTheLineAndWhatIsWrongWithIt) {
  EXPECT_THAT(refusal(replaced("postern-group: 1", "postern-group: 2")),
              HasSubstr("line 1: version '2'"));
  EXPECT_THAT(refusal(replaced("postern-group: 1\n", "")), HasSubstr("first line"));
  EXPECT_THAT(refusal(replaced("name: demo\n", "")), HasSubstr("'name: ...'"));
  EXPECT_THAT(refusal(replaced("name: demo", "name: demo\nname: other")), HasSubstr("twice"));
  EXPECT_THAT(refusal(replaced("name: demo", "name:")), HasSubstr("line 2"));
  EXPECT_THAT(refusal(replaced("name: demo", "group: demo")), HasSubstr("'group' is not known"));
  EXPECT_THAT(refusal(replaced("name: demo", "nonsense")), HasSubstr("line 2"));
  EXPECT_THAT(refusal(replaced("ms.home.example", "ms")), HasSubstr("line 3"));
  EXPECT_THAT(refusal(replaced("192.0.2.1:5723", "192.0.2.1")), HasSubstr("HOST:PORT"));
  EXPECT_THAT(refusal(replaced("192.0.2.1:5723", "192.0.2.1:70000")), HasSubstr("65535"));
  EXPECT_THAT(refusal(replaced("[2001:db8::2]:99", "2001:db8::2:99")), HasSubstr("brackets"));
  EXPECT_THAT(refusal(replaced("demo", "de\x1bmo")), HasSubstr("printable"));
}

TEST_F(GroupFileTest, NeedsOneRootAndAnAnchorAndNothingElse) {
  const std::string root = group_.root.to_pem();
  const std::string anchor = authority_.certificate().pem();
  EXPECT_THAT(refusal(replaced(root, "")), HasSubstr("0 PUBLIC KEY"));
  EXPECT_THAT(refusal(replaced(root, root + root)), HasSubstr("2 PUBLIC KEY"));
  EXPECT_THAT(refusal(replaced(anchor, "")), HasSubstr("no CERTIFICATE"));
  EXPECT_THAT(refusal(text_ + authority_.key_pem()), HasSubstr("neither PUBLIC KEY nor"));
}

TEST_F(GroupFileTest, HasALimit) {
  EXPECT_THAT(refusal(text_ + std::string(kGroupFileBytesMax, '\n')), HasSubstr("65536"));
  std::string many = "postern-group: 1\nname: demo\n";
  for (std::size_t i = 0; i <= kGroupServersMax; ++i) many += "server: a.b 192.0.2.1:1\n";
  EXPECT_THAT(refusal(many), HasSubstr("more than 16 servers"));
}

TEST_F(GroupFileTest, EveryTornFileIsRefused) {
  for (std::size_t size = 0; size + 1 < text_.size(); ++size)
    ASSERT_FALSE(parse_group_file(text_.substr(0, size))) << size;
}

}  // namespace
}  // namespace postern
