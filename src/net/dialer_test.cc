#include "net/dialer.h"

#include "net/test_world.h"

namespace postern {
namespace {

using testing_support::kClient;
using testing_support::kServer;
using testing_support::leaf_recipe;

class DialerTest : public testing_support::World {
 protected:
  void dial_to(std::string host, std::uint16_t port, Duration timeout = std::chrono::seconds(10)) {
    dialer_->dial({std::move(host), port, kServer, context(leaf_recipe(kClient)), timeout},
                  [this](const DialResult& result) {
                    if (result)
                      client_.on_channel(*result);
                    else
                      failure_ = result.error();
                    changed();
                  });
    until([this] { return failure_ || !client_.channels.empty(); });
  }
  /// A port that is bound by us, so nobody else can answer there; with or without listening.
  std::pair<Descriptor, std::uint16_t> a_port(bool listening) {
    Descriptor descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress address = *SocketAddress::parse("127.0.0.1", 0);
    ::bind(descriptor.number(), address.native(), address.size);
    if (listening) ::listen(descriptor.number(), 8);
    ::getsockname(descriptor.number(), reinterpret_cast<sockaddr*>(&address.storage),
                  &address.size);
    return {std::move(descriptor), address.port()};
  }
};

TEST_F(DialerTest, NamesWhoWhereAndWhatWhenNobodyListens) {
  const auto [bound, port] = a_port(false);
  dial_to("127.0.0.1", port);
  ASSERT_TRUE(failure_.has_value());
  EXPECT_EQ(failure_->stage, DialFailure::Stage::connect);
  EXPECT_EQ(failure_->words,
            fmt::format("connect to {} (127.0.0.1:{}): connection refused", kServer, port));
}

TEST_F(DialerTest, ResolvesNames) {
  listen();
  dial_to("localhost", port_->port());
  EXPECT_EQ(client_.channels.size(), 1u) << (failure_ ? failure_->words : "");
}

TEST_F(DialerTest, SaysThatANameHasNoAddress) {
  dial_to("no such host", 5723);
  ASSERT_TRUE(failure_.has_value());
  EXPECT_EQ(failure_->stage, DialFailure::Stage::resolve);
  EXPECT_TRUE(failure_->words.starts_with("resolve no such host: ")) << failure_->words;
}

TEST_F(DialerTest, GivesUpOnAServerThatSaysNothing) {
  const auto [bound, port] = a_port(true);
  dial_to("127.0.0.1", port, std::chrono::milliseconds(50));
  ASSERT_TRUE(failure_.has_value());
  EXPECT_EQ(failure_->stage, DialFailure::Stage::tls);
  EXPECT_NE(failure_->words.find("no answer in time"), std::string::npos) << failure_->words;
}

TEST_F(DialerTest, SaysThatWhatAnswersIsNotTls) {
  const auto [listener, port] = a_port(true);
  std::jthread other_program([number = listener.number()] {
    const Descriptor accepted(::accept(number, nullptr, nullptr));
    ::send(accepted.number(), "220 mail.example ready\r\n", 24, MSG_NOSIGNAL);
    hangs_up(accepted);
  });
  dial_to("127.0.0.1", port);
  ASSERT_TRUE(failure_.has_value());
  EXPECT_EQ(failure_->stage, DialFailure::Stage::tls);
  EXPECT_NE(failure_->words.find("does not speak TLS"), std::string::npos) << failure_->words;
}

TEST_F(DialerTest, ForgetsItsDialsWhenItEnds) {
  const auto [bound, port] = a_port(true);
  bool called = false;
  dialer_->dial({"127.0.0.1", port, kServer, context(leaf_recipe(kClient))},
                [&](const DialResult&) { called = true; });
  dialer_->dial({"localhost", port, kServer, context(leaf_recipe(kClient))},
                [&](const DialResult&) { called = true; });
  dialer_.reset();
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace postern
