#include "server/changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A client that keeps what it hears, until it is gone.
class Client final : public HttpStream {
 public:
  bool push(std::string text) override {
    if (!gone && text != ":\n\n") heard.push_back(std::move(text));
    return !gone;
  }
  std::string last_id() const {
    const std::string& last = heard.back();
    return last.substr(4, last.find('\n') - 4);
  }
  std::vector<std::string> heard;
  bool gone = false;
};

class ChangesTest : public testing::Test {
 protected:
  std::shared_ptr<Client> join(std::set<std::string> kinds = {}, const std::string& last = "") {
    auto client = std::make_shared<Client>();
    changes_.listen(client, std::move(kinds), last);
    return client;
  }
  void change(const char* kind, const char* subject) {
    changes_.note(kind, subject);
    changes_.flush();
  }
  Changes changes_{7};
};

TEST_F(ChangesTest, SayWhatChangedOnceHoweverOftenItDid) {
  const auto client = join();
  changes_.note("node", "a1.example");
  changes_.note("node", "a1.example");
  changes_.note("alert", "3");
  EXPECT_TRUE(client->heard.empty());
  changes_.flush();
  changes_.flush();
  EXPECT_THAT(
      client->heard,
      ElementsAre("id: 0000000000000007-1\nevent: alert\ndata: {\"id\":\"3\"}\n\n",
                  "id: 0000000000000007-2\nevent: node\ndata: {\"node\":\"a1.example\"}\n\n"));
}

TEST_F(ChangesTest, AListenerHearsOnlyTheKindsItWants) {
  const auto all = join(), values = join({"values"});
  change("values", "a1.example");
  change("node", "a1.example");
  EXPECT_THAT(all->heard, ElementsAre(HasSubstr("event: node")))
      << "values come often: by wish only";
  EXPECT_THAT(values->heard, ElementsAre(HasSubstr("event: values")));
}

TEST_F(ChangesTest, WhoWasAwayForAMomentMissesNothing) {
  const auto first = join();
  change("node", "a1.example");
  const std::string last = first->last_id();
  change("node", "a2.example");
  EXPECT_THAT(join({}, last)->heard, ElementsAre(HasSubstr("a2.example")));
  EXPECT_TRUE(join()->heard.empty()) << "a new one hears from now on";
}

TEST_F(ChangesTest, WhoWasAwayForTooLongIsToldThatAllMayHaveChanged) {
  const auto first = join();
  change("node", "a0.example");
  const std::string last = first->last_id();
  for (std::size_t i = 0; i < kChangesKept; ++i) change("node", std::to_string(i).c_str());
  EXPECT_THAT(join({}, last)->heard.size(), kChangesKept);
  change("node", "one-more.example");
  for (const std::string& id : {last, std::string("0000000000000008-1"), std::string("nonsense"),
                                std::string("0000000000000007-99999999")})
    EXPECT_THAT(join({}, id)->heard, ElementsAre(HasSubstr("event: reset"))) << id;
}

TEST_F(ChangesTest, WhoIsGoneIsForgotten) {
  const auto client = join();
  client->gone = true;
  changes_.say_alive();
  EXPECT_EQ(changes_.listeners(), 0u);
}

}  // namespace
}  // namespace postern
