#include "node/setup.h"

#include <gmock/gmock.h>

#include "base/fake_disk.h"
#include "identity/authority.h"
#include "identity/state_folder.h"
#include "node/test_group.h"

namespace postern::node {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_support::kWall;
using testing_support::TestGroup;

/// `setup` on a machine with a disk and a network that the test plays.
class SetupTest : public testing::Test {
 protected:
  SetupTest() {
    token_.group = group_.name;
    token_.root_sha256 = group_.root.public_key().fingerprint();
    token_.anchors_sha256 = {authority_.certificate().fingerprint()};
    token_.role = Role::agent;
    token_.expires = kWall + hours(24);
    token_.addresses = {"gw1.dmz.example", "gw2.dmz.example=192.0.2.2:5724"};
    random_.fill(token_.seed);
    request_.token = join_token_text(token_);
    request_.config = "/etc/postern/agent.yaml";
    request_.state_dir = "/state";
  }
  Result<SetupDone> run() {
    node::Setup setup({disk_, clock_, random_,
                       [&](const Endpoint& dial, const HttpRequest& request) {
                         dialled_.push_back(to_string(dial));
                         return post_(request);
                       },
                       [&](Duration pause) { clock_.advance(pause); },
                       [] { return "web.dmz.example"; },
                       [&](const std::string& words) { said_.push_back(words); }});
    return setup.run(request_);
  }
  /// As the management server would.
  Result<HttpResponse> approve(const HttpRequest& request) {
    const auto ask = read_join_request(request.body);
    if (!ask) return std::unexpected(ask.error());
    identities_.push_back(ask->identity.node_id());
    csrs_.push_back(ask->csr);
    wire::pb::JoinReply reply;
    reply.set_ask_sha256(field_of(ask->sha256));
    reply.set_outcome(static_cast<std::uint32_t>(JoinOutcome::approved));
    reply.set_time_ms(to_ms(clock_.wall()));
    reply.add_chain(field_of(
        authority_.sign(as_bytes(ask->csr), {.now = clock_.wall()}, random_).value().der()));
    reply.add_anchors(field_of(authority_.certificate().der()));
    return answered(reply);
  }
  Result<HttpResponse> refuse(const HttpRequest& request, JoinReason reason,
                              const std::string& words, seconds retry) {
    wire::pb::JoinReply reply;
    reply.set_ask_sha256(field_of(read_join_request(request.body)->sha256));
    reply.set_outcome(static_cast<std::uint32_t>(JoinOutcome::refused));
    reply.set_reason(static_cast<std::uint32_t>(reason));
    reply.set_words(words);
    reply.set_retry_after_ms(static_cast<std::uint32_t>(retry.count() * 1000));
    return answered(reply);
  }
  HttpResponse answered(const wire::pb::JoinReply& reply) {
    return {.status = 200,
            .content_type = "application/octet-stream",
            .body = join_answer(reply, group_.root.public_key(), {group_.delegation()},
                                group_.delegate, 1),
            .headers = {}};
  }
  std::string text(const char* file) {
    return std::string(as_text(*disk_.read_file(file, 1 << 16)));
  }

  SeededRandom random_{1};
  FakeClock clock_;
  FakeDisk disk_;
  TestGroup group_;
  CertificateAuthority authority_ =
      std::move(CertificateAuthority::create("demo", kWall - hours(1), random_).value());
  JoinToken token_;
  SetupRequest request_;
  std::function<Result<HttpResponse>(const HttpRequest&)> post_ = [this](const HttpRequest& r) {
    return approve(r);
  };
  std::vector<std::string> dialled_, said_, csrs_;
  std::vector<NodeId> identities_;
};

TEST_F(SetupTest, LeavesAFolderAndAConfigurationThatTheProgramRunsWith) {
  const auto done = run();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(done->approved);
  EXPECT_EQ(done->name, "web.dmz.example");
  EXPECT_EQ(done->over, "gw1.dmz.example");
  EXPECT_TRUE(done->config_written);
  StateFolder folder(disk_, "/state");
  EXPECT_TRUE(folder.tls());
  EXPECT_TRUE(folder.anchors());
  EXPECT_EQ(**folder.group_root(), group_.root.public_key());
  EXPECT_FALSE(*disk_.exists("/state/join.key"));
  const auto settings = load_node_settings(disk_, "/etc/postern/agent.yaml", NodeRole::agent);
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->group, "demo");
  EXPECT_EQ(settings->state_dir, "/state");
  ASSERT_EQ(settings->parents.size(), 2u);
  EXPECT_EQ(settings->parents[1], (ParentSetting{"gw2.dmz.example", {"192.0.2.2", 5724}}));
}

TEST_F(SetupTest, IsRunAgainWithoutAskingWhenItIsDone) {
  ASSERT_TRUE(run());
  dialled_.clear();
  const auto again = run();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->was_member);
  EXPECT_FALSE(again->config_written);
  EXPECT_TRUE(dialled_.empty());
}

TEST_F(SetupTest, GoesOnWithTheSameIdentityAndKeyWhereverItWasBrokenOff) {
  // The link is cut before the answer, run after run; the machine is the same one throughout.
  post_ = [&](const HttpRequest& r) -> Result<HttpResponse> {
    (void)approve(r);
    return fail(Errc::unavailable, "the peer closed the connection");
  };
  request_.wait = seconds(3);
  for (int i = 0; i < 3; ++i) {
    const auto broken = run();
    ASSERT_FALSE(broken);
    EXPECT_THAT(broken.error().message, HasSubstr("run the same command again"));
  }
  post_ = [&](const HttpRequest& r) { return approve(r); };
  ASSERT_TRUE(run());
  ASSERT_GT(csrs_.size(), 4u);
  for (std::size_t i = 1; i < csrs_.size(); ++i) {
    EXPECT_EQ(identities_[i], identities_[0]);
    EXPECT_EQ(read_request(as_bytes(csrs_[i]))->spki_sha256,
              read_request(as_bytes(csrs_[0]))->spki_sha256);
  }
}

TEST_F(SetupTest, AsksTheNextOneWhenOneDoesNotAnswer) {
  int asked = 0;
  post_ = [&](const HttpRequest& r) -> Result<HttpResponse> {
    if (++asked == 1) return fail(Errc::unavailable, "connection refused");
    return approve(r);
  };
  const auto done = run();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->over, "gw2.dmz.example");
  EXPECT_THAT(dialled_, ElementsAre("gw1.dmz.example:5723", "192.0.2.2:5724"));
  EXPECT_THAT(said_, ElementsAre(HasSubstr("connection refused")));
}

TEST_F(SetupTest, StopsAtOnceWhenTheGroupSaysNo) {
  post_ = [&](const HttpRequest& r) {
    return refuse(r, JoinReason::used_up, "the token 00 is for 1 machine", seconds(0));
  };
  const auto done = run();
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("used_up"));
  EXPECT_THAT(done.error().message, HasSubstr("for 1 machine"));
  EXPECT_EQ(dialled_.size(), 1u);
  EXPECT_FALSE(*disk_.exists("/etc/postern/agent.yaml"));
}

TEST_F(SetupTest, TriesAgainWhenTheGroupSaysLater) {
  int asked = 0;
  post_ = [&](const HttpRequest& r) {
    return ++asked < 3 ? refuse(r, JoinReason::busy, "the store is busy", seconds(5)) : approve(r);
  };
  EXPECT_TRUE(run());
}

TEST_F(SetupTest, WordsOfAStrangerDoNotReachTheTerminalAsTheyAre) {
  request_.wait = seconds(0);
  post_ = [](const HttpRequest&) -> Result<HttpResponse> {
    return HttpResponse{.status = 503,
                        .content_type = "text/plain",
                        .body = "\x1b[2Jno\n" + std::string(5000, 'x'),
                        .headers = {}};
  };
  const auto done = run();
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, Not(HasSubstr("\x1b")));
  EXPECT_LT(done.error().message.size(), 1000u);
}

TEST_F(SetupTest, ChangesNothingWhereAnotherNodeIsSetUpAlready) {
  ASSERT_TRUE(run());
  const std::string config = text("/etc/postern/agent.yaml");
  request_.name = "other.dmz.example";
  const auto other_name = run();
  ASSERT_FALSE(other_name);
  EXPECT_THAT(other_name.error().message, HasSubstr("nothing was changed"));
  request_.name.reset();
  token_.group = "another";
  request_.token = join_token_text(token_);
  EXPECT_THAT(run().error().message, HasSubstr("nothing was changed"));
  request_.config = "/etc/postern/second.yaml";
  token_.root_sha256[0] ^= std::byte{1};
  request_.token = join_token_text(token_);
  EXPECT_THAT(run().error().message, HasSubstr("another management group"));
  EXPECT_EQ(text("/etc/postern/agent.yaml"), config);
}

TEST_F(SetupTest, SaysWhatIsWrongBeforeItAsksAnybody) {
  token_.role = Role::gateway;
  request_.token = join_token_text(token_);
  EXPECT_THAT(run().error().message, HasSubstr("postern-gateway setup"));
  token_.role = Role::agent;
  token_.addresses.clear();
  request_.token = join_token_text(token_);
  EXPECT_THAT(run().error().message, HasSubstr("--parent"));
  request_.parents = {"gw1"};
  EXPECT_FALSE(run());
  request_.parents = {"gw1.dmz.example:5723"};
  request_.name = "web";
  EXPECT_THAT(run().error().message, HasSubstr("--name"));
  EXPECT_TRUE(dialled_.empty());
}

}  // namespace
}  // namespace postern::node
