#pragma once

// For net's tests: a core loop on the test's thread, two loops beside it, a port on 127.0.0.1, and
// certificates of a group. Waiting is for events, never for time.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>

#include "identity/test_certificates.h"
#include "net/channel.h"
#include "net/network.h"
#include "net/socket.h"

namespace postern::testing_support {

inline constexpr WallTime kNow{std::chrono::milliseconds(1'800'000'000'000)};
inline constexpr const char* kServer = "gw1.site.example";
inline constexpr const char* kClient = "agent1.site.example";

inline TlsCredential credential_of(Issued issued) {
  auto key = TlsKey::from_pem(private_key_pem(issued.key.get()));
  invariant(key.has_value(), "a test key can be read");
  return {std::move(*key), {std::move(issued.certificate)}};
}

inline Recipe leaf_recipe(const std::string& name) {
  Recipe recipe;
  recipe.common_name = name;
  recipe.dns_names = {name};
  return recipe;
}

/// Writes down what happens to channels, and tells the loop that something did.
class Recorder : public ChannelHandler, public PortHandler {
 public:
  explicit Recorder(std::function<void()> changed) : changed_(std::move(changed)) {}

  void on_channel(std::shared_ptr<Channel> channel) override {
    channel->set_handler(this);
    channels.push_back(std::move(channel));
    changed_();
  }
  void on_refused(const RefusedPeer& peer) override {
    turned_away.push_back(peer);
    changed_();
  }
  void on_http(HttpRequest request, Respond respond) override {
    requests.push_back(request);
    HttpResponse response;
    response.body = request.target == "/livez" ? "ok\n" : "not here\n";
    response.status = request.target == "/livez" ? 200 : 404;
    respond(response);
    changed_();
  }
  void on_message(Channel& channel, wire::Message message) override {
    messages.push_back(std::move(message));
    if (echo) channel.send(messages.back());
    changed_();
  }
  void on_drained(Channel&) override {
    ++drained;
    changed_();
  }
  void on_refused(Channel&, const RefusalNotice& notice) override {
    refusals.push_back(notice);
    changed_();
  }
  void on_closed(Channel&, const Error& why) override {
    closed.push_back(why);
    changed_();
  }

  std::vector<std::shared_ptr<Channel>> channels;
  std::vector<RefusedPeer> turned_away;
  std::vector<HttpRequest> requests;
  std::vector<wire::Message> messages;
  std::vector<RefusalNotice> refusals;
  std::vector<Error> closed;
  int drained = 0;
  bool echo = false;

 private:
  std::function<void()> changed_;
};

class World : public ::testing::Test {
 protected:
  ~World() override {
    dialer_.reset();
    port_.reset();
  }

  std::shared_ptr<const TlsContext> context(std::optional<TlsCredential> credential,
                                            bool canary = false) {
    TlsContext::Options options;
    options.now = [] { return kNow; };
    options.accept_any_certificate_for_canary_tests_only = canary;
    auto made = network_.make_tls(std::move(credential),
                                  *Anchors::from_certificates({root_.certificate}), options);
    invariant(made.has_value(), "a test context");
    return *made;
  }
  std::shared_ptr<const TlsContext> context(const Recipe& recipe, bool canary = false) {
    return context(credential_of(make(recipe, &root_)), canary);
  }

  void listen(PortOptions options = {}, std::shared_ptr<const TlsContext> tls = nullptr) {
    options.address = "127.0.0.1";
    options.port = 0;
    auto made = network_.listen(tls ? tls : context(leaf_recipe(kServer)), server_, options);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    port_ = std::move(*made);
  }

  void dial(std::shared_ptr<const TlsContext> tls, const std::string& name = kServer) {
    DialRequest request;
    request.host = "127.0.0.1";
    request.port = port_->port();
    request.name = name;
    request.tls = std::move(tls);
    dialer_->dial(std::move(request), [this](const DialResult& result) {
      if (result)
        client_.on_channel(*result);
      else
        failure_ = result.error();
      changed();
    });
  }

  /// Runs the core until the condition holds.
  void until(std::function<bool()> condition) {
    condition_ = std::move(condition);
    if (condition_()) return;
    bool timed_out = false;
    auto guard = core_.after(std::chrono::seconds(30), [&] {
      timed_out = true;
      core_.stop();
    });
    core_.run();
    ASSERT_FALSE(timed_out) << "what was waited for did not happen";
  }
  void changed() {
    if (condition_ && condition_()) core_.stop();
  }

  /// Both ends of an open channel: client_.channels[0], server_.channels[0].
  void connect() {
    dial(context(leaf_recipe(kClient)));
    until([this] { return !client_.channels.empty() && !server_.channels.empty(); });
  }

  Descriptor raw_connection() {
    Descriptor descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = SocketAddress::parse("127.0.0.1", port_->port());
    invariant(::connect(descriptor.number(), address->native(), address->size) == 0,
              "a connection");
    return descriptor;
  }
  /// Blocks until the other side hangs up; false when it still has not after a long time.
  static bool hangs_up(const Descriptor& descriptor) {
    const timeval limit{30, 0};
    ::setsockopt(descriptor.number(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char bytes[4096];
    ssize_t size;
    while ((size = ::recv(descriptor.number(), bytes, sizeof bytes, 0)) > 0) {
    }
    return size == 0 || errno == ECONNRESET;
  }

  const SystemClock clock_;
  const Log log_{Level::error};
  const Issued root_ = make(authority_recipe("Test root"));
  Loop core_{"core", clock_};
  Loops loops_{core_, 2, clock_};
  SocketNetwork network_{loops_, log_};
  Recorder server_{[this] { changed(); }};
  Recorder client_{[this] { changed(); }};
  std::optional<DialFailure> failure_;
  std::function<bool()> condition_;
  std::unique_ptr<Port> port_;
  std::unique_ptr<Dialer> dialer_ = network_.make_dialer();
};

}  // namespace postern::testing_support
