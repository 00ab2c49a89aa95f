// Rule C5: what strangers get, and what their mistakes cost.

#include "net/port.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "net/test_world.h"

namespace postern {
namespace {

using testing_support::kClient;
using testing_support::leaf_recipe;
using testing_support::World;

class PortTest : public World {
 protected:
  static PortOptions with_deadline(Duration deadline) {
    PortOptions options;
    options.deadline = deadline;
    return options;
  }
  static void say(const Descriptor& descriptor, std::string_view text) {
    ASSERT_EQ(::send(descriptor.number(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
};

/// A client of plain OpenSSL, so that the server is not only tested against ourselves. Blocking.
class PlainTlsClient {
 public:
  PlainTlsClient(Descriptor descriptor, std::string_view alpn,
                 const TlsCredential* credential = nullptr)
      : descriptor_(std::move(descriptor)), context_(SSL_CTX_new(TLS_client_method())) {
    if (credential != nullptr) {
      SSL_CTX_use_certificate(context_, credential->chain[0].native());
      SSL_CTX_use_PrivateKey(context_, credential->key.native());
    }
    SSL_CTX_set_ex_data(context_, 0, this);
    SSL_CTX_set_client_cert_cb(context_, [](SSL* ssl, X509**, EVP_PKEY**) {
      static_cast<PlainTlsClient*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0))->asked_ = true;
      return 0;
    });
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, descriptor_.number());
    const std::string list = static_cast<char>(alpn.size()) + std::string(alpn);
    if (!alpn.empty())
      SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(list.data()),
                          static_cast<unsigned>(list.size()));
  }
  ~PlainTlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  PlainTlsClient(const PlainTlsClient&) = delete;
  PlainTlsClient& operator=(const PlainTlsClient&) = delete;

  bool allow_at_most(int version) { return SSL_set_max_proto_version(ssl_, version) == 1; }
  bool connect() { return SSL_connect(ssl_) == 1; }
  bool asked_for_certificate() const { return asked_; }
  int alert() const { return ERR_GET_REASON(ERR_peek_last_error()) - SSL_AD_REASON_OFFSET; }
  void write(std::string_view text) { SSL_write(ssl_, text.data(), static_cast<int>(text.size())); }
  /// Until the text ends with `end` or the server hangs up.
  std::string read_until(std::string_view end) {
    std::string text;
    char bytes[4096];
    for (int size; !text.ends_with(end) && (size = SSL_read(ssl_, bytes, sizeof bytes)) > 0;)
      text.append(bytes, static_cast<std::size_t>(size));
    return text;
  }
  SSL* native() { return ssl_; }
  const Descriptor& descriptor() const { return descriptor_; }

 private:
  Descriptor descriptor_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  bool asked_ = false;
};

TEST_F(PortTest, HangsUpOnWhatIsNotTls) {
  listen();
  const Descriptor garbage = raw_connection();
  say(garbage, "GET / HTTP/1.1\r\nHost: gw1\r\n\r\n");
  EXPECT_TRUE(hangs_up(garbage));
  EXPECT_EQ(port_->counters().not_tls, 1u);
  connect();  // and it harmed nobody
}

TEST_F(PortTest, HangsUpOnSilenceAtTheDeadline) {
  listen(with_deadline(std::chrono::milliseconds(50)));
  const TimePoint begin = clock_.now();
  const Descriptor silent = raw_connection();
  EXPECT_TRUE(hangs_up(silent));
  EXPECT_GE(clock_.now() - begin, std::chrono::milliseconds(50));
  EXPECT_EQ(port_->counters().silent, 1u);
  EXPECT_EQ(port_->counters().unauthenticated_now, 0u);
}

TEST_F(PortTest, HangsUpOnHalfAHandshakeAtTheDeadline) {
  listen(with_deadline(std::chrono::milliseconds(50)));
  const Descriptor half = raw_connection();
  say(half, std::string_view("\x16\x03\x01\x01\x00\x01\x00", 7));
  EXPECT_TRUE(hangs_up(half));
  EXPECT_EQ(port_->counters().half_handshake, 1u);
  EXPECT_EQ(port_->counters().handshakes_now, 0u);
}

TEST_F(PortTest, RefusesAChannelThatDoesNotSayHelloInTime) {
  listen();
  connect();
  port_->extend(*server_.channels[0], Duration(0));
  until([&] { return client_.closed.size() == 1 && server_.closed.size() == 1; });
  EXPECT_EQ(port_->counters().late, 1u);
  EXPECT_EQ(client_.refusals.at(0).reason, wire::Refusal::protocol);
  EXPECT_NE(client_.refusals.at(0).words.find("no valid hello"), std::string::npos);
}

TEST_F(PortTest, LeavesAnAuthenticatedChannelAlone) {
  listen();
  connect();
  port_->authenticated(*server_.channels[0]);
  port_->extend(*server_.channels[0], Duration(0));  // means nothing to it
  dial(context(leaf_recipe(kClient)));
  until([&] { return client_.channels.size() == 2 && server_.channels.size() == 2; });
  port_->extend(*server_.channels[1], Duration(0));
  until([&] { return client_.closed.size() == 1; });
  EXPECT_TRUE(client_.channels[0]->open());
  client_.channels[0]->send(wire::make_message(wire::Type::request, to_bytes("still here")));
  until([&] { return server_.messages.size() == 1; });
  EXPECT_EQ(port_->counters().authenticated, 1u);
  EXPECT_EQ(port_->counters().late, 1u);
}

TEST_F(PortTest, EvictsTheOldestSilentOneWhenThereAreTooMany) {
  PortOptions options;
  options.source_burst = 10'000;
  listen(options);
  connect();  // unauthenticated as well, but not silent
  std::vector<Descriptor> silent;
  for (std::size_t i = 0; i < options.unauthenticated_max - 1; ++i)
    silent.push_back(raw_connection());
  const Descriptor one_more = raw_connection();
  EXPECT_TRUE(hangs_up(silent[0]));
  EXPECT_EQ(port_->counters().evicted, 1u);
  EXPECT_EQ(port_->counters().unauthenticated_now, options.unauthenticated_max);
  char byte;
  EXPECT_EQ(::recv(silent[1].number(), &byte, 1, MSG_DONTWAIT), -1) << "the second oldest stays";
  client_.channels[0]->send(wire::make_message(wire::Type::request, to_bytes("still here")));
  until([&] { return server_.messages.size() == 1; });
}

TEST_F(PortTest, ClosesWhatComesFasterThanItsSourceMay) {
  PortOptions options;
  options.source_burst = 2;
  options.source_rate = 0.001;
  listen(options);
  const Descriptor first = raw_connection(), second = raw_connection(), third = raw_connection();
  EXPECT_TRUE(hangs_up(third));
  EXPECT_EQ(port_->counters().rate_limited, 1u);
  EXPECT_EQ(port_->counters().unauthenticated_now, 2u);
}

// Those who begin a handshake and leave it there must not keep the others out.
TEST_F(PortTest, TakesTheTurnFromStalledHandshakesWhenOthersWait) {
  PortOptions options;
  options.handshakes_max = 2;
  options.handshake_turn = std::chrono::milliseconds(50);
  listen(options);
  std::vector<Descriptor> stalled;
  for (int i = 0; i < 2; ++i) {
    stalled.push_back(raw_connection());
    say(stalled.back(), std::string_view("\x16\x03\x01\x01\x00\x01\x00", 7));
  }
  connect();
  EXPECT_GE(port_->counters().half_handshake, 1u);
}

TEST_F(PortTest, SpeaksOnlyTls13AndOnlyItsOwnProtocols) {
  listen();
  PlainTlsClient old(raw_connection(), "postern/1");
  ASSERT_TRUE(old.allow_at_most(TLS1_2_VERSION));
  EXPECT_FALSE(old.connect());
  EXPECT_TRUE(hangs_up(old.descriptor()));
  ERR_clear_error();
  PlainTlsClient other(raw_connection(), "h2");
  EXPECT_FALSE(other.connect());
  EXPECT_EQ(other.alert(), SSL_AD_NO_APPLICATION_PROTOCOL);
  EXPECT_TRUE(hangs_up(other.descriptor()));
  ERR_clear_error();
  PlainTlsClient none(raw_connection(), "");
  EXPECT_FALSE(none.connect());
  EXPECT_EQ(none.alert(), SSL_AD_NO_APPLICATION_PROTOCOL);
  EXPECT_TRUE(hangs_up(none.descriptor()));
  ERR_clear_error();
  EXPECT_EQ(port_->counters().no_protocol, 2u);
  EXPECT_EQ(port_->counters().handshakes_failed, 1u);
}

TEST_F(PortTest, AsksForACertificateOnTheChannelAndNotOnHttp) {
  listen();
  const TlsCredential credential =
      testing_support::credential_of(make(leaf_recipe(kClient), &root_));
  PlainTlsClient browser(raw_connection(), "http/1.1", &credential);
  ASSERT_TRUE(browser.connect());
  EXPECT_FALSE(browser.asked_for_certificate());
  PlainTlsClient node(raw_connection(), "postern/1");
  ASSERT_TRUE(node.connect());
  EXPECT_TRUE(node.asked_for_certificate());
}

TEST_F(PortTest, AnswersHttpOnTheSamePort) {
  listen();
  std::jthread browser([this] {
    PlainTlsClient client(raw_connection(), "http/1.1");
    EXPECT_TRUE(client.connect());
    client.write("GET /livez HTTP/1.1\r\nHost: gw1\r\nX-Word: Yes\r\n\r\n");
    const std::string answer = client.read_until("ok\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    EXPECT_NE(answer.find("\r\nDate: "), std::string::npos) << answer;
    client.write("GET /nowhere HTTP/1.1\r\nHost: gw1\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(client.read_until("\n\n").starts_with("HTTP/1.1 404 Not Found\r\n"));
    EXPECT_EQ(SSL_get_shutdown(client.native()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
  });
  until([&] { return server_.requests.size() == 2; });
  EXPECT_EQ(server_.requests[0].target, "/livez");
  EXPECT_TRUE(server_.requests[0].loopback);
  EXPECT_EQ(server_.requests[0].header("x-word"), "Yes");
  EXPECT_FALSE(server_.requests[0].unix_peer.has_value());
  EXPECT_EQ(port_->counters().http_requests, 2u);
}

TEST_F(PortTest, BoundsWhatHttpClientsSend) {
  listen();
  PlainTlsClient long_header(raw_connection(), "http/1.1");
  ASSERT_TRUE(long_header.connect());
  long_header.write("GET / HTTP/1.1\r\nX-Long: " + std::string(kHttpHeaderBytesMax, 'x') +
                    "\r\n\r\n");
  EXPECT_TRUE(long_header.read_until("never").starts_with("HTTP/1.1 431 "));
  PlainTlsClient large_body(raw_connection(), "http/1.1");
  ASSERT_TRUE(large_body.connect());
  large_body.write("POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n");
  EXPECT_TRUE(large_body.read_until("never").starts_with("HTTP/1.1 413 "));
  PlainTlsClient nonsense(raw_connection(), "http/1.1");
  ASSERT_TRUE(nonsense.connect());
  nonsense.write("what?\r\n\r\n");
  EXPECT_TRUE(nonsense.read_until("never").starts_with("HTTP/1.1 400 "));
}

TEST_F(PortTest, CallsFramesThatNoChannelHasGarbage) {
  listen();
  const TlsCredential credential =
      testing_support::credential_of(make(leaf_recipe(kClient), &root_));
  PlainTlsClient node(raw_connection(), "postern/1");
  // The asking callback above returns no certificate; this one shows it right away.
  SSL_use_certificate(node.native(), credential.chain[0].native());
  SSL_use_PrivateKey(node.native(), credential.key.native());
  ASSERT_TRUE(node.connect());
  node.write(std::string("\xff\xff\xff\xff\x01\x01\x00\x00", 8));
  until([&] { return server_.closed.size() == 1; });
  EXPECT_EQ(port_->counters().garbage, 1u);
  EXPECT_EQ(server_.refusals.at(0).reason, wire::Refusal::protocol);
  EXPECT_TRUE(server_.refusals.at(0).by_us);
  const std::string heard = node.read_until("never");
  ASSERT_GT(heard.size(), 8u);
  EXPECT_EQ(heard[4], static_cast<char>(wire::Type::refused));
  EXPECT_NE(heard.find("a frame of 4294967295 bytes"), std::string::npos);
}

TEST_F(PortTest, SaysWhyItCannotListen) {
  listen();
  PortOptions options;
  options.address = "127.0.0.1";
  options.port = port_->port();
  auto second = network_.listen(context(leaf_recipe(kClient)), server_, options);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Errc::unavailable);
  EXPECT_NE(second.error().message.find("another process has this port"), std::string::npos)
      << second.error().message;
  options.address = "gw1.site.example";
  EXPECT_EQ(network_.listen(context(leaf_recipe(kClient)), server_, options).error().code,
            Errc::invalid);
}

TEST_F(PortTest, EndsItsStrangersAndKeepsItsChannels) {
  listen();
  connect();
  port_->authenticated(*server_.channels[0]);
  const Descriptor silent = raw_connection();
  port_.reset();
  EXPECT_TRUE(hangs_up(silent));
  client_.channels[0]->send(wire::make_message(wire::Type::request, to_bytes("still here")));
  until([&] { return server_.messages.size() == 1; });
}

}  // namespace
}  // namespace postern
