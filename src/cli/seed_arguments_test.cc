#include "cli/seed_arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::cli {
namespace {

using testing::HasSubstr;

constexpr const char* kServer = "/ManagementServerName=ms1.home.example";
constexpr const char* kGateway = "/GatewayName=GW1.dmz.example";

TEST(ApprovalArguments, AreReadInAnyCaseAndOrderAndNamesStayAsGiven) {
  const auto parsed = parse_approval_arguments(
      {"/action=CREATE", "/GATEWAYNAME=GW1.dmz.example", "/managementservername=ms1.home.example"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, (ApprovalArguments{"ms1.home.example", "GW1.dmz.example", SeedAction::create,
                                        false, "", false}));
}

TEST(ApprovalArguments, DeleteAndSiteNameAreUnderstood) {
  const auto parsed =
      parse_approval_arguments({kServer, kGateway, "/Action=Delete", "/SiteName=North Wing"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->action, SeedAction::remove);
  EXPECT_EQ(parsed->site, "North Wing");
}

TEST(ApprovalArguments, TheDirectionSwitchMeansTrueUnlessItSaysFalse) {
  const auto initiates = [](const char* text) {
    const auto parsed = parse_approval_arguments({kServer, kGateway, "/Action=Create", text});
    return parsed ? std::optional(parsed->server_initiates) : std::nullopt;
  };
  EXPECT_EQ(initiates("/ManagementServerInitiatesConnection"), true);
  EXPECT_EQ(initiates("/managementserverinitiatesconnection=true"), true);
  EXPECT_EQ(initiates("/ManagementServerInitiatesConnection=False"), false);
  EXPECT_EQ(initiates("/ManagementServerInitiatesConnection="), std::nullopt);
  EXPECT_EQ(initiates("/ManagementServerInitiatesConnection=maybe"), std::nullopt);
}

TEST(ApprovalArguments, EachMistakeIsNamed) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{}, "/ManagementServerName"},
      {{kServer, "/Action=Create"}, "/GatewayName"},
      {{kGateway, "/Action=Create"}, "/ManagementServerName"},
      {{kServer, kGateway}, "/Action"},
      {{kServer, kGateway, "/Action="}, "/Action"},
      {{kServer, kGateway, "/Action"}, "/Action"},
      {{kServer, "/GatewayName", "/Action=Create"}, "/GatewayName"},
      {{kServer, kGateway, kGateway, "/Action=Create"}, "twice"},
      {{kServer, kGateway, "/Action=Create", "/Colour=red"}, "/Colour=red"},
      {{kServer, kGateway, "/Action=Create", "gw1"}, "'gw1'"},
      {{"-ManagementServerName=ms1.home.example", kGateway, "/Action=Create"}, "not known"},
  };
  for (const auto& [arguments, words] : cases) {
    const auto parsed = parse_approval_arguments(arguments);
    ASSERT_FALSE(parsed) << words;
    EXPECT_FALSE(parsed.error().wrong_action);
    EXPECT_THAT(parsed.error().message, HasSubstr(words));
  }
}

TEST(ApprovalArguments, AWrongActionIsAMistakeOfItsOwn) {
  const auto parsed = parse_approval_arguments({kServer, kGateway, "/Action=Update"});
  ASSERT_FALSE(parsed);
  EXPECT_TRUE(parsed.error().wrong_action);
  EXPECT_THAT(parsed.error().message, HasSubstr("'Update'"));
}

TEST(ApprovalArguments, HelpIsAskedForInEveryUsualWay) {
  for (const char* word : {"/?", "/HELP", "--help", "-h"}) {
    const auto parsed = parse_approval_arguments({kServer, word});
    ASSERT_TRUE(parsed) << word;
    EXPECT_TRUE(parsed->help) << word;
  }
}

TEST(ImportArguments, TakeTheNameBehindABlankOrAnEqualsSign) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"/SubjectName", "gw1.dmz.example"},
        {"/subjectname=gw1.dmz.example"},
        {"/SUBJECTNAME", "CN=gw1.dmz.example"}}) {
    const auto parsed = parse_import_arguments(arguments);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->subject_name, "gw1.dmz.example");
    EXPECT_FALSE(parsed->role);
  }
}

TEST(ImportArguments, TakeARoleOrAStateFolderButNotBoth) {
  EXPECT_EQ(parse_import_arguments({"/SubjectName=a.example", "--role", "agent"})->role, "agent");
  EXPECT_EQ(parse_import_arguments({"/SubjectName=a.example", "--state=/srv/a"})->state, "/srv/a");
  EXPECT_FALSE(
      parse_import_arguments({"/SubjectName=a.example", "--state=/srv/a", "--role=agent"}));
}

TEST(ImportArguments, TakeAFileByItsEndingAndWhatOpensIt) {
  const auto parsed = parse_import_arguments(
      {"/root/GW1.PFX", "/SubjectName", "gw1.dmz.example", "--password-file", "/root/word"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->file, "/root/GW1.PFX");
  EXPECT_EQ(parsed->password_file, "/root/word");
  EXPECT_FALSE(parse_import_arguments({"/SubjectName=a.example", "--password-file=word"}));
  EXPECT_FALSE(parse_import_arguments({"a.p12", "b.p12", "/SubjectName=a.example"}));
}

TEST(ImportArguments, EachMistakeIsNamed) {
  EXPECT_THAT(parse_import_arguments({}).error().message, HasSubstr("/SubjectName"));
  EXPECT_THAT(parse_import_arguments({"/SubjectName"}).error().message, HasSubstr("/SubjectName"));
  EXPECT_THAT(parse_import_arguments({"/SubjectName="}).error().message, HasSubstr("/SubjectName"));
  EXPECT_THAT(parse_import_arguments({"/SubjectName=a.example", "x"}).error().message,
              HasSubstr("'x'"));
  EXPECT_THAT(
      parse_import_arguments({"/SubjectName=a.example", "/SubjectName=b.example"}).error().message,
      HasSubstr("twice"));
}

}  // namespace
}  // namespace postern::cli
