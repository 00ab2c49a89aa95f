#include "net/unix_http.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "net/http_client.h"
#include "net/socket.h"

namespace postern {
namespace {

class UnixHttpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "postern-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ / "socket";
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void listen() {
    auto made =
        UnixHttpServer::listen(core_, log_, path_, [this](HttpRequest request, Respond respond) {
          seen_.push_back(request);
          HttpResponse response;
          response.status = request.method == "POST" ? 201 : 200;
          response.content_type = "application/json";
          response.body = request.body + "!";
          response.headers = {{"X-Evil", "a\r\nb"}, {"X-Good", "yes"}};
          respond(response);
          respond(HttpResponse{});  // a second answer meets nobody
        });
    ASSERT_TRUE(made.has_value()) << made.error().message;
    server_ = std::move(*made);
  }
  /// The blocking client beside the core.
  Result<HttpResponse> ask(const HttpRequest& request) {
    Result<HttpResponse> answer = fail(Errc::invalid, "none yet");
    std::jthread client([&] {
      answer = http_over_unix(path_, request);
      core_.stop();
    });
    core_.run();
    return answer;
  }

  const SystemClock clock_;
  const Log log_{Level::error};
  Loop core_{"core", clock_};
  std::filesystem::path folder_, path_;
  std::unique_ptr<UnixHttpServer> server_;
  std::vector<HttpRequest> seen_;
};

TEST_F(UnixHttpTest, AnswersAndKnowsWhoAsked) {
  listen();
  HttpRequest request;
  request.method = "POST";
  request.target = "/api/v1/pending?limit=3";
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::string(40'000, 'b');
  const auto response = ask(request);
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->status, 201u);
  EXPECT_EQ(response->content_type, "application/json");
  EXPECT_EQ(response->body, request.body + "!");
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_EQ(seen_[0].target, request.target);
  EXPECT_EQ(seen_[0].header("content-type"), "application/json");
  ASSERT_TRUE(seen_[0].unix_peer.has_value());
  EXPECT_EQ(seen_[0].unix_peer->uid, ::getuid());
  EXPECT_EQ(seen_[0].unix_peer->gid, ::getgid());
  EXPECT_EQ(seen_[0].unix_peer->pid, ::getpid());
  for (const auto& [name, value] : response->headers) EXPECT_NE(name, "X-Evil") << value;
}

TEST_F(UnixHttpTest, AResponseThatGoesOnIsSentAsItComesAndEndsWhenItsProducerLetsGo) {
  std::shared_ptr<HttpStream> stream;
  server_ = std::move(
      *UnixHttpServer::listen(core_, log_, path_, [&](const HttpRequest&, const Respond& respond) {
        HttpResponse response;
        response.body = "first,";
        response.go_on = [&](std::shared_ptr<HttpStream> made) {
          stream = std::move(made);
          EXPECT_TRUE(stream->push(std::string(300'000, 'x')));  // more than a socket takes at once
          core_.post([&] {
            EXPECT_TRUE(stream->push(",last"));
            stream.reset();
          });
        };
        respond(std::move(response));
      }));
  const auto response = ask({});
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_TRUE(response->body == "first," + std::string(300'000, 'x') + ",last")
      << response->body.size();
}

TEST_F(UnixHttpTest, AProducerLearnsThatItsClientIsTooSlowOrGone) {
  std::shared_ptr<HttpStream> stream;
  server_ = std::move(
      *UnixHttpServer::listen(core_, log_, path_, [&](const HttpRequest&, const Respond& respond) {
        HttpResponse response;
        response.go_on = [&](std::shared_ptr<HttpStream> made) {
          stream = std::move(made);
          core_.stop();
        };
        respond(std::move(response));
      }));
  const auto address = unix_address(path_);
  const auto connect = [&] {
    Descriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(
        ::connect(client.number(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address),
        0);
    constexpr std::string_view kAsk = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    EXPECT_EQ(::write(client.number(), kAsk.data(), kAsk.size()), ssize_t{kAsk.size()});
    core_.run();
    return client;
  };
  {
    const Descriptor slow = connect();
    std::size_t pushed = 0;
    while (stream->push(std::string(100'000, 'x'))) pushed += 100'000;
    EXPECT_LE(pushed, kHttpStreamBehindMax);
    EXPECT_FALSE(stream->push("x")) << "from now on";
  }
  { const Descriptor gone = connect(); }
  std::function<void()> look = [&] {
    if (stream->push("x"))
      core_.post(look);
    else
      core_.stop();
  };
  core_.post(look);
  core_.run();  // ends: the hang-up is noticed
}

// A library's parser aborts over some of these: whoever reaches the port could end the program.
TEST_F(UnixHttpTest, ABodyInChunksIsRefusedBeforeItIsLookedAt) {
  listen();
  const auto address = unix_address(path_);
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::vector<std::string>& pieces :
       {std::vector<std::string>{head + "0\r\n"},
        {head, "0\r\n", "\r"},
        {head + "3\r\nabc\r\n0\r\n\r\n"},
        {head.substr(0, 30), head.substr(30) + "0\r\n\r"}}) {
    std::string answer;
    std::jthread client([&] {
      const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&*address),
                    sizeof *address) == 0)
        for (const std::string& piece : pieces)
          (void)::send(socket.number(), piece.data(), piece.size(), MSG_NOSIGNAL);
      ::shutdown(socket.number(), SHUT_WR);
      char buffer[4096];
      for (ssize_t n = 0; (n = ::recv(socket.number(), buffer, sizeof buffer, 0)) > 0;)
        answer.append(buffer, static_cast<std::size_t>(n));
      core_.stop();
    });
    core_.run();
    client.join();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 411 ")) << answer;
  }
  EXPECT_TRUE(seen_.empty());
}

TEST_F(UnixHttpTest, IsOpenToOwnerAndGroupOnly) {
  listen();
  struct stat found {};
  ASSERT_EQ(::stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777u, 0660u);
}

TEST_F(UnixHttpTest, ReplacesALeftOverButNotALiveServerNorAFile) {
  listen();
  auto second = UnixHttpServer::listen(core_, log_, path_, nullptr);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Errc::unavailable);
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));

  const auto address = unix_address(path_);
  {
    const Descriptor crashed(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(
        ::bind(crashed.number(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address), 0);
  }
  EXPECT_TRUE(std::filesystem::exists(path_));
  listen();
  ASSERT_TRUE(ask({}).has_value());

  const Descriptor file(::creat((folder_ / "file").c_str(), 0600));
  EXPECT_EQ(UnixHttpServer::listen(core_, log_, folder_ / "file", nullptr).error().code,
            Errc::invalid);
}

TEST_F(UnixHttpTest, TheClientSaysThatNobodyListens) {
  const auto response = http_over_unix(path_, {});
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, Errc::unavailable);
  EXPECT_NE(response.error().message.find("nobody listens"), std::string::npos);
}

TEST_F(UnixHttpTest, TheClientDoesNotWaitForEver) {
  const auto address = unix_address(path_);
  const Descriptor mute(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(mute.number(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address),
            0);
  ASSERT_EQ(::listen(mute.number(), 1), 0);
  const auto response = http_over_unix(path_, {}, std::chrono::milliseconds(30));
  ASSERT_FALSE(response.has_value());
  EXPECT_NE(response.error().message.find("does not answer in time"), std::string::npos);
}

TEST_F(UnixHttpTest, MoreClientsThanItsLimitAreServedOneAfterTheOther) {
  listen();
  constexpr std::size_t kClients = 2 * kUnixConnectionsMax;
  std::atomic<std::size_t> left = kClients, good = 0;
  std::vector<std::jthread> clients;
  for (std::size_t i = 0; i < kClients; ++i)
    clients.emplace_back([&] {
      const auto response = http_over_unix(path_, {});
      if (response && response->body == "!") ++good;
      if (--left == 0) core_.stop();
    });
  core_.run();
  EXPECT_EQ(good, kClients);
}

}  // namespace
}  // namespace postern
