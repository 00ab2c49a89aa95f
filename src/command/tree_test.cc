#include "command/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace postern::command {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A program with one group, a hidden verb and each kind of option.
class Program : public testing::Test {
 protected:
  Program() {
    app_.add_option("--output", text_, "how it's printed")->type_name("table|json");
    CLI::App* group = app_.add_subcommand("gateway", "gateways: all of them");
    CLI::App* approve = group->add_subcommand("approve", "let it in");
    approve->footer("Example:\n  tool gateway approve gw1 --parent ms1\nMore words.");
    approve->add_option("NAME", text_, "its name")->type_name("")->required();
    approve->add_option("--parent", list_, "its parents")->type_name("FQDN")->delimiter(',');
    approve->add_flag("--quiet,-q", flag_, "say nothing");
    approve->add_option("--server", text_, "where")->type_name("unix:PATH|https://NAME");
    approve->add_option("--watch", seconds_, "again")->type_name("SECONDS")->expected(0, 1);
    app_.add_subcommand("secret", "not for people")->group("");
  }
  CLI::App app_{"What it is for", "tool"};
  std::string text_;
  std::vector<std::string> list_;
  bool flag_ = false;
  unsigned seconds_ = 0;
};

TEST_F(Program, IsDescribedAsItsParserKnowsIt) {
  const Command program = describe(app_);
  EXPECT_EQ(program.name, "tool");
  EXPECT_EQ(program.what, "What it is for");
  ASSERT_EQ(program.verbs.size(), 1u) << "what is hidden is not described";
  const Command& approve = program.verbs[0].verbs.at(0);
  EXPECT_EQ(approve.example, "tool gateway approve gw1 --parent ms1");
  ASSERT_EQ(approve.options.size(), 6u);
  EXPECT_EQ(approve.options[1], (Option{{"NAME"}, "", "its name", true, true, true, false, false}));
  EXPECT_EQ(approve.options[2].repeated, true);
  EXPECT_EQ(approve.options[3], (Option{{"-q", "--quiet"}, "", "say nothing"}));
  EXPECT_TRUE(approve.options[5].takes_value && approve.options[5].value_optional);
}

TEST_F(Program, TheDescriptionIsOneLineOfJson) {
  app_.description("say \"hello\"\n\\");
  const std::string json = answer_hidden(app_, {"--describe"});
  EXPECT_THAT(json, HasSubstr(R"("what":"say \"hello\"\u000a\\")"));
  EXPECT_EQ(json.find('\n'), json.size() - 1);
}

TEST_F(Program, OnlyTheHiddenQuestionsAreAnswered) {
  EXPECT_EQ(answer_hidden(app_, {}), "");
  EXPECT_EQ(answer_hidden(app_, {"gateway"}), "");
  EXPECT_EQ(answer_hidden(app_, {"--completion", "fish"}), "");
  EXPECT_THAT(answer_hidden(app_, {"--completion", "bash"}), HasSubstr("complete -F _tool tool"));
  EXPECT_THAT(answer_hidden(app_, {"--completion", "zsh"}), HasSubstr("#compdef tool"));
}

TEST_F(Program, CompletionKnowsVerbsOptionsAndWhereValuesComeFrom) {
  const std::string bash = completion_script(describe(app_), Shell::bash);
  EXPECT_THAT(bash, HasSubstr("'tool gateway approve ') kind='names gateway' ;;"));
  EXPECT_THAT(bash, HasSubstr("'tool gateway approve --parent') kind='names parent' ;;"));
  EXPECT_THAT(bash, HasSubstr("'tool gateway approve --output') kind='words table json' ;;"))
      << "options of the program stand behind its verbs too";
  EXPECT_THAT(bash, HasSubstr("'tool gateway approve --server') kind='nothing' ;;"))
      << "that is what a value looks like, no list of values";
  EXPECT_THAT(bash, Not(HasSubstr("--watch')"))) << "its value is optional: the next word is free";
  EXPECT_THAT(bash, Not(HasSubstr("secret")));
  const std::string zsh = completion_script(describe(app_), Shell::zsh);
  EXPECT_THAT(zsh, HasSubstr(R"('gateway:gateways\: all of them')"));
  EXPECT_THAT(zsh, HasSubstr(R"('--output:how it'\''s printed')"));
}

}  // namespace
}  // namespace postern::command
