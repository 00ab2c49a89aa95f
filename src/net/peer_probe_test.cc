#include "net/peer_probe.h"

#include <gmock/gmock.h>

#include <thread>

#include "net/resolver.h"
#include "net/test_world.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing_support::kClient;
using testing_support::kNow;
using testing_support::kServer;
using testing_support::leaf_recipe;
using testing_support::Recipe;
using testing_support::World;
using Trouble = PeerProbe::Trouble;

/// Something on a port that is no Postern: reads what comes first and answers with `words`.
class Stranger {
 public:
  explicit Stranger(std::string words, bool hangs_up = false)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    invariant(::bind(listener_.number(), generic, size) == 0 &&
                  ::listen(listener_.number(), 4) == 0 &&
                  ::getsockname(listener_.number(), generic, &size) == 0,
              "a listening socket");
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this, words = std::move(words), hangs_up] {
      char bytes[4096];
      for (;;) {
        Descriptor peer(::accept(listener_.number(), nullptr, nullptr));
        if (!peer) return;
        if (hangs_up) continue;
        (void)::recv(peer.number(), bytes, sizeof bytes, 0);
        (void)::send(peer.number(), words.data(), words.size(), MSG_NOSIGNAL);
        while (::recv(peer.number(), bytes, sizeof bytes, 0) > 0) {
        }
      }
    });
  }
  ~Stranger() { ::shutdown(listener_.number(), SHUT_RDWR); }  // accept() returns
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  Descriptor listener_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

class PeerProbeTest : public World {
 protected:
  ProbeRequest request(std::shared_ptr<const TlsContext> tls, std::uint16_t port) {
    ProbeRequest made;
    made.address = "127.0.0.1";
    made.port = port;
    made.name = kServer;
    made.tls = std::move(tls);
    made.quiet = std::chrono::milliseconds(200);
    return made;
  }
  /// While the loops of the port work.
  PeerProbe probe(const ProbeRequest& request) {
    PeerProbe result;
    bool done = false;
    std::jthread prober([&] {
      result = probe_peer(request);
      core_.post([&] {
        done = true;
        changed();
      });
    });
    until([&] { return done; });
    return result;
  }
  PeerProbe probe(const Recipe& recipe) { return probe(request(context(recipe), port_->port())); }
  PeerProbe probe_stranger(const Stranger& stranger) {
    ProbeRequest made = request(context(leaf_recipe(kClient)), stranger.port());
    made.timeout = std::chrono::seconds(1);
    return probe_peer(made);
  }
};

TEST_F(PeerProbeTest, SilenceOfAPeerThatTookOurCertificateIsConsent) {
  listen();
  const PeerProbe found = probe(leaf_recipe(kClient));
  EXPECT_EQ(found.trouble, Trouble::none) << found.words;
  EXPECT_TRUE(found.shaken);
  EXPECT_FALSE(found.finding.has_value());
  EXPECT_FALSE(found.refused.has_value());
  EXPECT_EQ(found.ended, "");
  ASSERT_EQ(found.peer.chain.size(), 1u);
  EXPECT_TRUE(name_matches(found.peer.chain.front(), kServer));
  EXPECT_EQ(found.where, fmt::format("127.0.0.1:{}", port_->port()));
}

TEST_F(PeerProbeTest, ThePeersWordAgainstOurCertificateIsHeard) {
  listen();
  Recipe late = leaf_recipe(kClient);
  late.not_after = kNow - std::chrono::hours(1);
  const PeerProbe found = probe(late);
  ASSERT_TRUE(found.refused.has_value());
  EXPECT_EQ(found.refused->reason, wire::Refusal::expired);
  EXPECT_EQ(found.refused->refuser, kServer);
  EXPECT_FALSE(found.finding.has_value());
  until([this] { return !server_.turned_away.empty(); });
}

TEST_F(PeerProbeTest, WhatIsWrongWithThePeerIsFoundAndToldToIt) {
  listen({}, context(leaf_recipe("gw2.site.example")));
  const PeerProbe found = probe(leaf_recipe(kClient));
  ASSERT_TRUE(found.finding.has_value());
  EXPECT_EQ(found.finding->reason, Reason::wrong_name);
  ASSERT_TRUE(found.objection.has_value());
  EXPECT_EQ(found.objection->reason, wire::Refusal::wrong_name);
  until([this] { return !server_.refusals.empty(); });
  EXPECT_EQ(server_.refusals[0].reason, wire::Refusal::wrong_name);
  EXPECT_FALSE(server_.refusals[0].by_us);
}

TEST_F(PeerProbeTest, WhoShowsNoCertificateIsToldSo) {
  listen();
  const PeerProbe found = probe(request(context(std::nullopt), port_->port()));
  ASSERT_TRUE(found.refused.has_value());
  EXPECT_EQ(found.refused->reason, wire::Refusal::no_certificate);
}

TEST_F(PeerProbeTest, FirstWordsAreSaidAndTheAnswerComesBack) {
  server_.echo = true;
  listen();
  ProbeRequest made = request(context(leaf_recipe(kClient)), port_->port());
  made.first_words = [](const ChannelPeer& peer) {
    EXPECT_FALSE(peer.chain.empty());
    return wire::make_message(wire::Type::hello, to_bytes("hello, gateway"));
  };
  const PeerProbe found = probe(made);
  ASSERT_TRUE(found.answer.has_value());
  EXPECT_EQ(as_text(found.answer->bytes()), "hello, gateway");
}

TEST_F(PeerProbeTest, NothingIsSaidToAPeerThatWeObjectTo) {
  listen({}, context(leaf_recipe("gw2.site.example")));
  ProbeRequest made = request(context(leaf_recipe(kClient)), port_->port());
  bool asked = false;
  made.first_words = [&](const ChannelPeer&) {
    asked = true;
    return std::nullopt;
  };
  EXPECT_TRUE(probe(made).finding.has_value());
  EXPECT_FALSE(asked);
}

TEST_F(PeerProbeTest, APortThatNobodyListensOnRefuses) {
  listen();
  const std::uint16_t port = port_->port();
  port_.reset();
  EXPECT_EQ(probe_peer(request(context(leaf_recipe(kClient)), port)).trouble, Trouble::refused);
}

TEST_F(PeerProbeTest, EachStrangerOnThePortIsToldApart) {
  EXPECT_EQ(probe_stranger(Stranger("HTTP/1.1 400 Bad Request\r\n\r\n")).trouble, Trouble::http);
  EXPECT_EQ(probe_stranger(Stranger("SSH-2.0-OpenSSH_9.2p1\r\n")).trouble, Trouble::not_tls);
  EXPECT_EQ(probe_stranger(Stranger("")).trouble, Trouble::silent);
  EXPECT_EQ(probe_stranger(Stranger("", true)).trouble, Trouble::hung_up);
  // TLS alerts: protocol_version, no_application_protocol.
  EXPECT_EQ(probe_stranger(Stranger(std::string("\x15\x03\x03\0\x02\x02\x46", 7))).trouble,
            Trouble::tls_version);
  EXPECT_EQ(probe_stranger(Stranger(std::string("\x15\x03\x03\0\x02\x02\x78", 7))).trouble,
            Trouble::no_protocol);
}

TEST_F(PeerProbeTest, TlsWithoutTheChannelShowsItsCertificateAllTheSame) {
  listen();
  TlsContext::Options options;
  options.now = [] { return kNow; };
  options.dials_http = true;
  const auto http =
      *TlsContext::create(std::nullopt, *Anchors::from_certificates({root_.certificate}), options);
  const PeerProbe found = probe(request(http, port_->port()));
  EXPECT_EQ(found.trouble, Trouble::no_protocol);
  EXPECT_TRUE(found.shaken);
  EXPECT_EQ(found.peer.chain.size(), 1u);
}

TEST(SomebodyListens, IsKnownWithoutSayingAWord) {
  EXPECT_EQ(somebody_listens("/nowhere/status.sock"), std::optional(false));
  EXPECT_EQ(somebody_listens("/" + std::string(200, 'x')), std::nullopt);
}

TEST(Resolver, AnAddressIsItsOwnAnswer) {
  const auto found = addresses_of("192.0.2.1", std::chrono::seconds(1));
  ASSERT_TRUE(found.has_value());
  EXPECT_THAT(*found, testing::ElementsAre("192.0.2.1"));
}

TEST(Resolver, ANameThatThereIsNotIsInvalid) {
  // The top-level domain that is reserved for this (RFC 6761); without a name server it is
  // `unavailable`.
  const auto found = addresses_of("gw1.invalid", std::chrono::seconds(5));
  ASSERT_FALSE(found.has_value());
  EXPECT_THAT(found.error().message, HasSubstr("resolve gw1.invalid"));
}

}  // namespace
}  // namespace postern
