#include "sim/wires.h"

#include <gtest/gtest.h>

#include "identity/certificate.h"
#include "sim/certificates.h"

namespace postern::sim {
namespace {

class TestHost final : public Host, public PortHandler, public ChannelHandler {
 public:
  TestHost(std::string label, std::size_t index, Events& events)
      : label_(std::move(label)), index_(index), clock_(events) {
    static Certificates certificates;
    const auto& pair = certificates.of(label_ + ".sim.example");
    tls_ = TlsContext::without_sockets(
        TlsCredential{*TlsKey::from_pem(pair.key_pem), *certificates_from_pem(pair.chain_pem)},
        *Anchors::from_pem(certificates.anchors_pem()), {.now = [this] { return clock_.wall(); }});
  }
  const std::string& label() const override { return label_; }
  std::size_t index() const override { return index_; }
  std::uint64_t life() const override { return life_; }
  bool running() const override { return running_; }
  bool powered() const override { return powered_; }
  void enter(std::uint64_t life, Events::What what) override {
    if (running_ && life == life_) what();
  }
  void on_channel(std::shared_ptr<Channel> opened) override {
    channel = std::move(opened);
    channel->set_handler(this);
  }
  void on_refused(const RefusedPeer&) override {}
  void on_http(HttpRequest, Respond) override {}
  void on_message(Channel&, wire::Message message) override {
    got += static_cast<char>(message.bytes()[0]);
  }
  void on_refused(Channel&, const RefusalNotice& notice) override { refused = notice.words; }
  void on_closed(Channel&, const Error& why) override { closed = why.message; }

  void send(char what) { channel->send(wire::make_message(wire::Type::head, {std::byte(what)})); }
  void end(bool with_power) {
    running_ = false;
    powered_ = !with_power;
    ++life_;
  }

  std::shared_ptr<Channel> channel;
  std::shared_ptr<const TlsContext> tls_;
  std::string got, refused, closed;
  bool running_ = true, powered_ = true;

 private:
  const std::string label_;
  const std::size_t index_;
  MachineClock clock_;
  std::uint64_t life_ = 1;
};

class WiresTest : public testing::Test {
 protected:
  WiresTest() {
    server_port_ = *server_network_->listen(server_.tls_, server_, {});
    dialer_ = client_network_->make_dialer();
  }
  void dial(std::string name = "ms1.sim.example") {
    DialRequest request;
    request.host = "ms1";
    request.name = std::move(name);
    request.tls = client_.tls_;
    dialer_->dial(request, [this](const DialResult& result) {
      if (result)
        client_.on_channel(*result);
      else
        failure_ = result.error().words;
    });
    run(std::chrono::seconds(1));
    if (server_.channel && server_port_) server_port_->authenticated(*server_.channel);
  }
  void run(Duration time) {
    const TimePoint end = events_.now() + time;
    while (events_.step(end)) {
    }
  }
  Joint& joint() { return *wires_.joints().front(); }

  Events events_;
  SeededRandom random_{1};
  Trace trace_{Trace::Wanted::digest};
  Coverage coverage_;
  Wires wires_{events_, random_, trace_, coverage_};
  TestHost client_{"a1", 0, events_}, server_{"ms1", 1, events_};
  std::unique_ptr<Network> client_network_ = wires_.network_of(client_),
                           server_network_ = wires_.network_of(server_);
  std::unique_ptr<Port> server_port_;
  std::unique_ptr<Dialer> dialer_;
  std::string failure_;
};

TEST_F(WiresTest, CarriesMessagesInOrderAndTellsOfTheEnd) {
  dial();
  ASSERT_NE(client_.channel, nullptr);
  for (const char what : {'a', 'b', 'c'}) client_.send(what);
  client_.channel->close("enough");
  run(std::chrono::seconds(1));
  EXPECT_EQ(server_.got, "abc");
  EXPECT_EQ(client_.closed, "enough");
  EXPECT_NE(server_.closed, "");
  EXPECT_TRUE(wires_.joints().empty());
}

TEST_F(WiresTest, RefusesWhoDoesNotListenAndWhoIsSomebodyElse) {
  dial("ms2.sim.example");
  EXPECT_NE(failure_.find("ms2"), std::string::npos);
  server_port_.reset();
  dial();
  EXPECT_EQ(failure_, "connect to ms1: connection refused");
}

TEST_F(WiresTest, NothingArrivesBehindWhatVanished) {
  dial();
  joint().vanish_from(0);
  client_.send('a');
  server_.send('b');
  run(std::chrono::minutes(10));
  EXPECT_EQ(server_.got, "");
  EXPECT_EQ(client_.got, "b");
  EXPECT_EQ(client_.closed + server_.closed, "");
}

TEST_F(WiresTest, AStallDelaysAndLosesNothing) {
  dial();
  joint().stall_from(0, events_.now() + std::chrono::seconds(30));
  client_.send('a');
  client_.send('b');
  run(std::chrono::seconds(29));
  EXPECT_EQ(server_.got, "");
  run(std::chrono::seconds(2));
  EXPECT_EQ(server_.got, "ab");
}

TEST_F(WiresTest, ASlowLinkServesTheMoreImportantLaneFirst) {
  dial();
  wires_.link(client_, server_).bytes_per_second = 100;
  const auto send = [&](char what, std::uint8_t lane) {
    client_.channel->send(wire::make_message(wire::Type::head, Bytes(100, std::byte(what)), lane));
  };
  send('x', 3);
  send('m', 3);
  send('s', 1);
  EXPECT_EQ(client_.channel->queued_bytes(), 300u);
  run(std::chrono::seconds(60));
  EXPECT_EQ(server_.got, "xsm");
  EXPECT_EQ(client_.channel->queued_bytes(), 0u);
}

TEST_F(WiresTest, AKilledProcessIsHeardOfAndOneWithoutPowerOnlyWhenItIsBack) {
  dial();
  server_.end(false);
  wires_.host_ended(server_);
  run(std::chrono::seconds(1));
  EXPECT_EQ(client_.closed, "connection reset by peer");

  server_.running_ = true;
  server_port_ = *server_network_->listen(server_.tls_, server_, {});
  client_.closed.clear();
  dial();
  server_.end(true);
  wires_.host_ended(server_);
  client_.send('a');
  run(std::chrono::minutes(1));
  EXPECT_EQ(client_.closed, "");
  server_.powered_ = server_.running_ = true;
  client_.send('b');
  run(std::chrono::seconds(1));
  EXPECT_EQ(client_.closed, "connection reset by peer");
  EXPECT_EQ(server_.got, "");
}

}  // namespace
}  // namespace postern::sim
