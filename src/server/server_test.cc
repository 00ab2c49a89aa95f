// The server in one thread: what simulations stand on.

#include "server/server.h"

#include <gtest/gtest.h>

#include "base/fake_disk.h"
#include "identity/test_folder.h"
#include "node/hand_driven.h"
#include "node/test_group.h"
#include "server/group.h"

namespace postern {
namespace {

using testing_support::HandDrivenNetwork;
using testing_support::HandDrivenSamplers;
using testing_support::HandDrivenWorkers;
using testing_support::LogLines;
using testing_support::TemporaryFolder;

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    InitRequest request;
    request.group = "demo";
    request.name = "ms.home.example";
    request.state_dir = "/state";
    request.config = "/server.yaml";
    request.store = "sqlite:" + (folder_ / "store.db").string();
    auto made = init_group(request, disk_, clock_, random_);
    ASSERT_TRUE(made) << made.error().message;
    auto store = store::open_sqlite((folder_ / "store.db").string());
    ASSERT_TRUE(store) << store.error().message;
    ServerSettings settings;
    settings.group = request.group;
    settings.name = request.name;
    settings.state_dir = request.state_dir;
    auto opened =
        Server::open({loops_, lines_.log, clock_, random_, disk_, network_, workers_, samplers_},
                     settings, std::move(*store));
    ASSERT_TRUE(opened) << opened.error().message;
    server_ = std::move(*opened);
  }
  void settle_down() {
    do loop_.run_ready();
    while (workers_.run_one());
  }
  HttpResponse ask(const std::string& method, const std::string& target, const std::string& body) {
    HttpRequest request;
    request.method = method;
    request.target = target;
    request.body = body;
    request.headers = {{"content-type", "application/json"}};
    std::optional<HttpResponse> answer;
    server_->api(std::move(request), {0, 0, "tester", true},
                 [&](HttpResponse response) { answer = std::move(response); });
    EXPECT_FALSE(answer) << "never inside the call";
    settle_down();
    EXPECT_TRUE(answer);
    return answer.value_or(HttpResponse{});
  }

  TemporaryFolder folder_;
  LogLines lines_;
  FakeClock clock_;
  SeededRandom random_{1};
  FakeDisk disk_;
  Loop loop_{"core", clock_};
  Loops loops_{loop_, 0, clock_};
  HandDrivenNetwork network_;
  HandDrivenWorkers workers_;
  HandDrivenSamplers samplers_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersTheApiWithoutASocketOnAStoreThatIsHandedIn) {
  const HttpResponse pending = ask("GET", "/api/v1/pending", "");
  EXPECT_EQ(pending.status, 200u) << pending.body;
  EXPECT_EQ(ask("GET", "/api/v1/no-such-thing", "").status, 404u);
}

TEST_F(ServerTest, SealsAndAppliesWhatAnotherSamplerHandsOver) {
  const auto applied = [&] {
    for (const Measurement& measurement : samplers_.own_health())
      if (measurement.name == "postern.server.batches.applied")
        return std::get<std::int64_t>(measurement.value);
    return std::int64_t{-1};
  };
  Measurement measurement;
  measurement.name = "test";
  measurement.unit = "1";
  measurement.value = std::int64_t{1};
  measurement.time = clock_.wall();
  auto payload = encode_metrics(Resource{}, std::span(&measurement, 1));
  ASSERT_TRUE(payload);
  node::Sampler::Sample sample;
  sample.metrics.push_back(*payload);
  samplers_.hand_over(sample);
  EXPECT_EQ(applied(), 0) << "not before the store has worked";
  settle_down();
  EXPECT_EQ(applied(), 2) << "behind the opening of the epoch";
  samplers_.hand_over(sample);
  settle_down();
  EXPECT_EQ(applied(), 3);
}

}  // namespace
}  // namespace postern
