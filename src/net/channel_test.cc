#include "net/channel.h"

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "net/test_world.h"

namespace postern {
namespace {

using testing_support::kServer;
using testing_support::World;

wire::Message control(std::string_view text) {
  return wire::make_message(wire::Type::request, to_bytes(text));
}

wire::Message batch(std::size_t size, std::uint8_t lane, std::uint64_t seed) {
  Bytes body(size);
  SeededRandom(seed).fill(body);
  return wire::make_message(wire::Type::batch, std::move(body), lane);
}

class ChannelTest : public World {
 protected:
  /// What products do: both sides raise the limit with welcome, and only then batches are sent.
  void welcome() {
    connect();
    client_.channels[0]->raise_limit();
    server_.channels[0]->raise_limit();
    client_.channels[0]->send(wire::make_message(wire::Type::hello, {}));
    server_.channels[0]->send(wire::make_message(wire::Type::welcome, {}));
    until([this] { return client_.messages.size() == 1 && server_.messages.size() == 1; });
    client_.messages.clear();
    server_.messages.clear();
  }
};

TEST_F(ChannelTest, CarriesMessagesBothWays) {
  listen();
  server_.echo = true;
  connect();
  Channel& channel = *client_.channels[0];
  channel.send(control("hello"));
  channel.send(control(""));
  until([&] { return client_.messages.size() == 2; });
  EXPECT_EQ(as_text(client_.messages[0].bytes()), "hello");
  EXPECT_TRUE(client_.messages[1].bytes().empty());
  EXPECT_EQ(channel.queued_bytes(), 0u);
}

TEST_F(ChannelTest, KnowsBothCertificatesAndTheSameExporterOnBothSides) {
  listen();
  connect();
  const ChannelPeer& seen_by_client = client_.channels[0]->peer();
  const ChannelPeer& seen_by_server = server_.channels[0]->peer();
  EXPECT_EQ(seen_by_client.exporter, seen_by_server.exporter);
  EXPECT_NE(seen_by_client.exporter, (std::array<std::byte, 32>{}));
  ASSERT_EQ(seen_by_client.chain.size(), 1u);
  ASSERT_EQ(seen_by_server.chain.size(), 1u);
  EXPECT_EQ(seen_by_client.chain[0].dns_names()[0], kServer);
  EXPECT_EQ(seen_by_server.chain[0].dns_names()[0], testing_support::kClient);
  EXPECT_TRUE(seen_by_client.dialled);
  EXPECT_FALSE(seen_by_server.dialled);
  EXPECT_EQ(seen_by_client.dialled_name, kServer);
  EXPECT_TRUE(seen_by_server.address.starts_with("127.0.0.1:")) << seen_by_server.address;
}

TEST_F(ChannelTest, CarriesTheLargestBatchWhole) {
  listen();
  welcome();
  const wire::Message sent = batch(1u << 20, 3, 1);
  client_.channels[0]->send(sent);
  until([&] { return server_.messages.size() == 1; });
  EXPECT_TRUE(*server_.messages[0].body == *sent.body);
  EXPECT_EQ(server_.messages[0].lane, 3);
}

TEST_F(ChannelTest, RefusesALargeMessageBeforeTheLimitIsRaised) {
  listen();
  connect();
  client_.channels[0]->send(batch(1u << 20, 3, 1));
  until([&] { return server_.closed.size() == 1 && client_.closed.size() == 1; });
  ASSERT_EQ(client_.refusals.size(), 1u);
  EXPECT_EQ(client_.refusals[0].reason, wire::Refusal::protocol);
  EXPECT_EQ(server_.refusals.at(0).words, client_.refusals[0].words);
  EXPECT_EQ(port_->counters().garbage, 1u);
}

// A batch of 1 MiB is many frames: what is more important overtakes it although it was sent later.
TEST_F(ChannelTest, ServesImportantLanesFirst) {
  listen();
  welcome();
  for (std::uint64_t i = 0; i < 8; ++i) client_.channels[0]->send(batch(1u << 20, 3, i));
  client_.channels[0]->send(batch(100, 1, 99));
  client_.channels[0]->send(control("ping"));
  until([&] { return server_.messages.size() == 10; });
  EXPECT_EQ(server_.messages[0].lane, 0);
  EXPECT_EQ(server_.messages[1].lane, 1);
  EXPECT_EQ(server_.messages[9].lane, 3);
}

TEST_F(ChannelTest, SaysWhenItHasDrained) {
  listen();
  welcome();
  client_.channels[0]->send(batch(1u << 20, 2, 1));
  EXPECT_EQ(client_.channels[0]->queued_bytes(), 1u << 20);
  until([&] { return client_.drained == 1; });
  EXPECT_LT(client_.channels[0]->queued_bytes(), kDrainedBelowBytes);
}

// More than kUndeliveredBytesMax is under way while the core stands still: it must all arrive, by
// stopping and going on, in order.
TEST_F(ChannelTest, DeliversEverythingToACoreThatIsSlow) {
  listen();
  welcome();
  constexpr std::uint64_t kCount = 48;
  for (std::uint64_t i = 0; i < kCount; ++i) client_.channels[0]->send(batch(1u << 20, 2, i));
  until([&] { return server_.messages.size() == kCount; });
  for (std::uint64_t i = 0; i < kCount; ++i)
    ASSERT_TRUE(*server_.messages[i].body == *batch(1u << 20, 2, i).body) << i;
}

TEST_F(ChannelTest, KeepsOrderWhileItMovesToAnotherLoop) {
  listen();
  server_.echo = true;
  for (std::uint64_t hash = 0; hash < 4; ++hash) {  // both loops are a target for both ends
    client_.channels.clear();
    server_.channels.clear();
    client_.messages.clear();
    connect();
    constexpr std::uint64_t kCount = 300;
    for (std::uint64_t i = 0; i < kCount; ++i) {
      client_.channels[0]->send(control(std::to_string(i)));
      if (i == 100) client_.channels[0]->settle_on(hash);
      if (i == 200) server_.channels[0]->settle_on(hash / 2);
    }
    until([&] { return client_.messages.size() == kCount; });
    for (std::uint64_t i = 0; i < kCount; ++i)
      ASSERT_EQ(as_text(client_.messages[i].bytes()), std::to_string(i));
  }
}

TEST_F(ChannelTest, SendsWhatIsQueuedBeforeItCloses) {
  listen();
  welcome();
  const wire::Message last = batch(1u << 20, 3, 7);
  client_.channels[0]->send(last);
  client_.channels[0]->close("we are done");
  EXPECT_FALSE(client_.channels[0]->open());
  until([&] { return server_.closed.size() == 1 && client_.closed.size() == 1; });
  ASSERT_EQ(server_.messages.size(), 1u);
  EXPECT_TRUE(*server_.messages[0].body == *last.body);
  EXPECT_EQ(client_.closed[0].message, "we are done");
  EXPECT_EQ(server_.closed[0].message, "the peer closed the connection");
}

TEST_F(ChannelTest, CarriesAProductsRefusalWithAllItsWords) {
  listen();
  connect();
  client_.channels[0]->send(control("hello"));
  until([&] { return server_.messages.size() == 1; });
  server_.channels[0]->refuse(wire::Refusal::pending_approval, "approve it first",
                              std::chrono::seconds(7));
  until([&] { return server_.closed.size() == 1 && client_.closed.size() == 1; });
  ASSERT_EQ(client_.refusals.size(), 1u);
  const RefusalNotice& notice = client_.refusals[0];
  EXPECT_EQ(notice.reason, wire::Refusal::pending_approval);
  EXPECT_EQ(notice.words, "approve it first");
  EXPECT_EQ(notice.retry_after, std::chrono::seconds(7));
  EXPECT_EQ(notice.time, testing_support::kNow);
  EXPECT_EQ(notice.refuser, kServer);
  EXPECT_FALSE(notice.by_us);
  EXPECT_EQ(client_.closed[0].code, Errc::denied);
}

// `refused` must not wait behind batches, and must not be lost because they were under way.
TEST_F(ChannelTest, RefusesAheadOfQueuedBatches) {
  listen();
  welcome();
  for (std::uint64_t i = 0; i < 16; ++i) server_.channels[0]->send(batch(1u << 20, 3, i));
  server_.channels[0]->refuse(wire::Refusal::removed, "it was removed");
  until([&] { return client_.closed.size() == 1; });
  ASSERT_EQ(client_.refusals.size(), 1u);
  EXPECT_EQ(client_.refusals[0].reason, wire::Refusal::removed);
  EXPECT_TRUE(client_.messages.empty());
}

TEST_F(ChannelTest, TellsOfAClosedPeerOnceAndThenIsDeaf) {
  listen();
  connect();
  client_.channels[0]->close("bye");
  until([&] { return server_.closed.size() == 1 && client_.closed.size() == 1; });
  server_.channels[0]->send(control("into the void"));
  server_.channels[0]->close("again");
  client_.channels[0]->refuse(wire::Refusal::busy, "again");
  bool turned = false;
  core_.post([&] {
    turned = true;
    changed();
  });
  until([&] { return turned; });
  EXPECT_EQ(server_.closed.size(), 1u);
  EXPECT_EQ(client_.closed.size(), 1u);
}

}  // namespace
}  // namespace postern
