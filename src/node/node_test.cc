#include "node/node.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "node/test_world.h"

namespace postern::node {
namespace {

using testing_support::NodeWorld;
using testing_support::TestGroup;
using testing_support::TestNode;
using testing_support::TestParent;
using wire::Lane;

class NodeTest : public NodeWorld, public Node::Listener {
 protected:
  void SetUp() override { furnish(folder_ / agent_.self.name, agent_); }
  void TearDown() override {
    disk_.open_gate();
    close();
  }
  void open(std::vector<ParentSetting> parents) {
    auto opened =
        Node::open(around(), settings_for(agent_, std::move(parents)), Role::agent, *this);
    ASSERT_TRUE(opened) << opened.error().message;
    node_ = std::move(*opened);
  }
  void open() { open({parent_.setting()}); }
  void close() {
    if (node_) node_->stop("the test ends it");
    node_.reset();
    // What its threads had posted must not meet the next one.
    run_posted();
  }
  void on_settled(const wire::StreamKey&, SharedBytes) override { ++settled_; }
  void on_document(const wire::pb::Signed&, const wire::pb::DocumentBody&) override {
    ++documents_;
  }

  void until_batches(Lane lane, std::size_t n) {
    until([&, lane, n] { return parent_.batches_of(lane).size() >= n; }, "a batch");
  }
  /// Another round of measurements, and a head.
  void next_round() { clock_.jump(std::chrono::seconds(61)); }
  wire::Message settled_message(Bytes bytes) {
    return wire::make_message(wire::Type::settled, std::move(bytes));
  }
  /// "Applied up to this batch".
  wire::Coverage up_to(const TestParent::Batch& batch) {
    return {batch.header.stream, {{1, batch.header.sequence, batch.hash}}};
  }
  void say_stored(const TestParent::Batch& batch) {
    const std::vector<wire::Coverage> list{up_to(batch)};
    parent_.send(wire::make_message(wire::Type::stored, wire::encode_coverages(list)));
  }
  wire::Message answer(const TestParent::Batch& batch, std::uint32_t verdict,
                       std::uint32_t retry_ms = 0) {
    Writer key;
    batch.header.stream.write(key);
    wire::pb::Answer answer;
    answer.set_stream(field_of(key.written()));
    answer.set_sequence(batch.header.sequence);
    answer.set_hash(field_of(batch.hash));
    answer.set_verdict(verdict);
    answer.set_words("by the test");
    answer.set_retry_after_ms(retry_ms);
    return message_of(wire::Type::answer, answer);
  }

  TestNode agent_ = group_.node(Role::agent, "agent1.site.example");
  TestParent parent_{loops_, lines_.log, group_, "ms.home.example", [this] { changed(); }};
  std::unique_ptr<Node> node_;
  int settled_ = 0, documents_ = 0;
};

TEST_F(NodeTest, WhatIsSealedIsChainedSignedAndSaysWhatWasBefore) {
  open();
  node_->start();
  until_batches(Lane::metric, 1);
  until_batches(Lane::state, 2);  // the opening, the inventory
  next_round();
  until_batches(Lane::metric, 2);
  for (const Lane lane : {Lane::state, Lane::metric}) {
    Digest previous{};
    std::uint64_t sequence = 0;
    // What was there before the attach may come behind what is new (rule D8).
    auto batches = parent_.batches_of(lane);
    std::sort(batches.begin(), batches.end(),
              [](const auto* a, const auto* b) { return a->header.sequence < b->header.sequence; });
    if (lane == Lane::state) {
      EXPECT_EQ(batches[0]->header.kind, wire::PayloadKind::epoch_opening);
    }
    for (const auto* batch : batches) {
      auto view = wire::read_batch(wire::read_stamped(*batch->message)->body);
      EXPECT_EQ(batch->header.sequence, ++sequence);
      EXPECT_EQ(batch->header.previous, previous);
      EXPECT_EQ(batch->header.stream.node, agent_.self.id);
      EXPECT_TRUE(agent_.self.identity.public_key().verifies(wire::kBatchContext, view->signed_part,
                                                             batch->header.signature));
      previous = batch->hash;
    }
  }
}

TEST_F(NodeTest, ABatchIsOfferedOnlyAfterTheDiskHasIt) {
  disk_.close_gate();
  open();
  node_->start();
  until([&] { return parent_.attached == 1 && disk_.something_waits(); }, "a sync");
  until([&] { return !parent_.of_type(wire::Type::head).empty(); }, "a head");
  // Another head later, offers would have come: they travel on the same lane.
  next_round();
  until([&] { return parent_.of_type(wire::Type::head).size() >= 2; }, "a head");
  EXPECT_TRUE(parent_.offers.empty());
  EXPECT_TRUE(parent_.batches.empty());
  for (const wire::Message& message : parent_.of_type(wire::Type::head)) {
    wire::pb::Signed signed_head;
    const ByteView body = wire::read_stamped(message.bytes())->body;
    ASSERT_TRUE(signed_head.ParseFromArray(body.data(), static_cast<int>(body.size())));
    wire::pb::Head head;
    ASSERT_TRUE(head.ParseFromString(signed_head.body()));
    EXPECT_EQ(head.streams_size(), 0);  // nor does a head speak of it
  }
  disk_.open_gate();
  until_batches(Lane::metric, 1);
  EXPECT_FALSE(parent_.offers.empty());
}

TEST_F(NodeTest, NothingIsSentBeforeTheParentSaidWhatItHolds) {
  parent_.answer_offers = false;
  open();
  node_->start();
  until([&] { return !parent_.offers.empty(); }, "an offer");
  fence(parent_);
  EXPECT_TRUE(parent_.batches.empty());
}

TEST_F(NodeTest, ADiskThatFailsAndRecoversLeavesNoHole) {
  open();
  node_->start();
  until_batches(Lane::metric, 1);
  disk_.fail_syncs(true);
  next_round();
  until([&] { return disk_.failed() >= 1; }, "a failed sync");
  next_round();  // sealed meanwhile
  until([&] { return disk_.failed() >= 2; }, "another try");
  EXPECT_EQ(parent_.batches_of(Lane::metric).size(), 1u);
  disk_.fail_syncs(false);
  clock_.jump(std::chrono::seconds(3));
  until_batches(Lane::metric, 3);
  Digest previous{};
  std::uint64_t sequence = 0;
  for (const auto* batch : parent_.batches_of(Lane::metric)) {
    EXPECT_EQ(batch->header.sequence, ++sequence);
    EXPECT_EQ(batch->header.previous, previous);
    previous = batch->hash;
  }
  EXPECT_EQ(lines_.count("the spool takes batches again"), 1u);
}

// ---- settled

class SettledTest : public NodeTest {
 protected:
  void SetUp() override {
    NodeTest::SetUp();
    open();
    node_->start();
    until_batches(Lane::metric, 1);
    until_batches(Lane::state, 2);
    held_ = node_->relay().counts().held;
    ASSERT_EQ(held_, 3u);
  }
  const TestParent::Batch& metric() { return *parent_.batches_of(Lane::metric).back(); }
  std::uint64_t held_after(Bytes settled) {
    parent_.send(settled_message(std::move(settled)));
    fence(parent_);
    return node_->relay().counts().held;
  }
  std::uint64_t held_ = 0;
};

TEST_F(SettledTest, TheServersSignedWordReleases) {
  EXPECT_EQ(held_after(group_.settled(up_to(metric()))), held_ - 1);
  EXPECT_EQ(settled_, 1);
}

TEST_F(SettledTest, StoredReleasesNothing) {
  say_stored(metric());
  fence(parent_);
  EXPECT_EQ(node_->relay().counts().held, held_);
}

TEST_F(SettledTest, AWrongSignatureReleasesNothing) {
  const PrivateKey forger = PrivateKey::generate();
  EXPECT_EQ(held_after(TestGroup::sign(group_.settled_of(up_to(metric())), forger)), held_);
  EXPECT_EQ(settled_, 0);
}

TEST_F(SettledTest, AnUnknownDelegationReleasesNothing) {
  auto settled = group_.settled_of(up_to(metric()));
  settled.delegation = 77;
  EXPECT_EQ(held_after(TestGroup::sign(settled, group_.delegate)), held_);
  EXPECT_EQ(settled_, 0);
}

TEST_F(SettledTest, AnotherHashReleasesNothingAndShowsThatTheFolderWasSetBack) {  // rule D1
  const TestParent::Batch batch = metric();
  auto coverage = up_to(batch);
  coverage.intervals[0].hash = sha256(as_bytes("another batch"));
  held_after(group_.settled(coverage));
  EXPECT_EQ(node_->relay().counts().mismatches, 1u);
  until([&] { return metric().header.stream.epoch.ordinal == 2; }, "the batch in a new epoch");
  EXPECT_EQ(metric().header.kind, wire::PayloadKind::sealed_again);
  EXPECT_EQ(metric().header.payload_bytes, wire::kBatchHeaderBytes + batch.header.payload_bytes);
  const auto opening = parent_.batches_of(Lane::state).back()->header;
  EXPECT_EQ(opening.stream.epoch, metric().header.stream.epoch);
}

TEST_F(SettledTest, GarbageReleasesNothingAndHarmsNobody) {
  EXPECT_EQ(held_after(to_bytes("no settled")), held_);
  EXPECT_EQ(parent_.gone, 0);
}

TEST_F(SettledTest, ACopyThatIsRefusedStaysWithItsOriginAndIsSentAgain) {
  const TestParent::Batch batch = metric();
  parent_.send(answer(batch, kCopyRefused));
  fence(parent_);
  EXPECT_EQ(node_->relay().counts().held, held_);
  const std::size_t before = parent_.batches_of(Lane::metric).size();
  clock_.jump(std::chrono::seconds(61));
  until(
      [&] {
        const auto all = parent_.batches_of(Lane::metric);
        return std::count_if(all.begin() + static_cast<std::ptrdiff_t>(before), all.end(),
                             [&](const auto* b) { return b->hash == batch.hash; }) == 1;
      },
      "the batch again");
}

TEST_F(SettledTest, NotYetIsSentAgainWhenItIsTime) {
  const TestParent::Batch batch = metric();
  parent_.send(answer(batch, kNotYet, 5000));
  fence(parent_);
  clock_.jump(std::chrono::seconds(6));
  until_batches(Lane::metric, 2);
  EXPECT_EQ(parent_.batches_of(Lane::metric).back()->hash, batch.hash);
}

// ---- A parent that is revoked

TEST_F(NodeTest, AParentWhoseCertificateIsRevokedIsLeftAndNotTakenAgain) {
  open();
  node_->start();
  until([&] { return parent_.attached == 1; }, "the first attach");
  const int attached = parent_.attached;
  parent_.send(message_of(wire::Type::document, group_.deny_certificate(1, parent_.node.mark())));
  until([&] { return parent_.gone == attached; }, "the end");
  // It dials again and hears the welcome, and refuses to be its child.
  until(
      [&] {
        clock_.jump(std::chrono::seconds(1));
        return lines_.count("no parent: ") != 0 && lines_.count("was revoked (compromised)") >= 2;
      },
      "the refusal");
  EXPECT_EQ(node_->uplink().parent(), "");
}

// ---- Restart

TEST_F(SettledTest, AfterARestartItGoesOnAndOffersWhatIsNotSettled) {
  parent_.send(settled_message(group_.settled(up_to(metric()))));
  fence(parent_);
  const auto last = metric();
  close();
  until([&] { return parent_.gone == 1; }, "the end");
  open();
  EXPECT_EQ(node_->relay().counts().held, held_ - 1);
  node_->start();
  until_batches(Lane::metric, 2);
  EXPECT_EQ(metric().header.stream, last.header.stream);
  EXPECT_EQ(metric().header.sequence, last.header.sequence + 1);
  EXPECT_EQ(metric().header.previous, last.hash);
}

TEST_F(NodeTest, ANumberIsNeverGivenTwiceEvenIfTheDocumentsAreLost) {  // rule D1
  // Batch 1 of a lane is settled and gone; only the server's word for it is left in the spool, and
  // no delegation to believe it by.
  Outbox outbox(agent_.self.identity, {1, 7});
  const auto opening = outbox.seal_opening({}, testing_support::kWall);
  const auto metric = outbox.seal(Lane::metric, wire::PayloadKind::metrics,
                                  testing_support::payload_of("x"), testing_support::kWall);
  const auto later = outbox.seal(Lane::state, wire::PayloadKind::logs,
                                 testing_support::payload_of("y"), testing_support::kWall);
  {
    spool::Options options;
    options.segment_bytes = 1;  // each in its own
    auto spool =
        spool::Spool::open(disk_, lines_.log, folder_ / agent_.self.name / "spool", options);
    ASSERT_TRUE(spool);
    const auto append = [&](const Outbox::Sealed& sealed) {
      const spool::Spool::Append one{sealed.stream, sealed.sequence, sealed.hash, sealed.message};
      auto at = spool->spool->append(std::span(&one, 1));
      EXPECT_TRUE(at);
      return at->front();
    };
    append(opening);
    const auto location = append(metric);
    spool->spool->note_settled(
        metric.stream,
        std::make_shared<const Bytes>(group_.settled({metric.stream, {{1, 1, metric.hash}}})));
    append(later);
    spool->spool->release(std::span(&location, 1));
  }
  parent_.documents = {};
  open();
  node_->start();
  until_batches(Lane::metric, 1);
  const auto& next = *parent_.batches_of(Lane::metric).back();
  EXPECT_EQ(next.header.stream, metric.stream);
  EXPECT_EQ(next.header.sequence, 2u);
  EXPECT_EQ(next.header.previous, metric.hash);
}

// ---- Documents

TEST_F(SettledTest, ItsApprovalIsKeptAndShownAtTheNextHello) {
  EXPECT_FALSE(parent_.hellos.back().has_approval());
  wire::pb::Signed approval = group_.approval(agent_);
  parent_.send(message_of(wire::Type::document, approval));
  parent_.send(message_of(wire::Type::document, approval));
  fence(parent_);
  EXPECT_EQ(documents_, 2);  // the delegation and this one, each once
  close();
  until([&] { return parent_.gone == 1; }, "the end");
  open();
  node_->start();
  until([&] { return parent_.attached == 2; }, "an attach");
  ASSERT_TRUE(parent_.hellos.back().has_approval());
  EXPECT_EQ(parent_.hellos.back().approval().body(), approval.body());
  EXPECT_EQ(parent_.hellos.back().predecessor(), parent_.hellos.front().incarnation());
}

TEST_F(NodeTest, DelegationsAreTakenBeforeWhatIsSignedUnderThem) {
  parent_.documents = {group_.deny(1, {}), group_.approval(agent_), group_.delegation()};
  open();
  node_->start();
  until([&] { return parent_.attached == 1; }, "an attach");
  fence(parent_);
  EXPECT_EQ(documents_, 3);
}

// ---- Anchors

class AnchorsTest : public NodeTest {
 protected:
  AnchorList both() const {
    return {{{next_.certificate, false}, {group_.authority.certificate, retiring_}}, {}, {}};
  }
  void attach() {
    open();
    node_->start();
    until([&] { return parent_.attached >= 1; }, "an attach");
  }
  /// The number of the anchors that the node says are in force; 0: none.
  std::uint64_t in_force() const {
    std::uint64_t number = 0;
    for (const wire::Message& message : parent_.of_type(wire::Type::head)) {
      const auto stamped = wire::read_stamped(message.bytes());
      wire::pb::Signed whole;
      wire::pb::Head head;
      if (!stamped ||
          !whole.ParseFromArray(stamped->body.data(), static_cast<int>(stamped->body.size())) ||
          !head.ParseFromString(whole.body()))
        continue;
      for (const auto& known : head.documents())
        if (known.type() == static_cast<std::uint32_t>(DocumentType::anchors))
          number = known.number();
    }
    return number;
  }
  std::size_t asked() const {
    std::size_t n = 0;
    for (const wire::Message& message : parent_.of_type(wire::Type::request))
      if (testing_support::parsed<wire::pb::Request>(message).kind() == kCertificateRequest) ++n;
    return n;
  }

  testing_support::Issued next_ = testing_support::make(
      testing_support::long_lived(testing_support::authority_recipe("Next root")));
  bool retiring_ = false;
};

TEST_F(AnchorsTest, AreSaidToBeInForceWhenTheyAre) {
  attach();
  EXPECT_EQ(in_force(), 0u);
  parent_.send(message_of(wire::Type::document, group_.anchors_document(3, both())));
  until([&] { return in_force() == 3; }, "a head that says so");
  EXPECT_EQ(node_->tls()->anchors().certificates().size(), 2u);
  EXPECT_EQ(StateFolder(disk_, folder_ / agent_.self.name).anchors()->certificates().size(), 2u);
  fence(parent_);
  EXPECT_EQ(asked(), 0u) << "nothing retires";
  close();
  parent_.messages.clear();
  until([&] { return parent_.gone == 1; }, "the end");
  attach();
  until([&] { return in_force() == 3; }, "the same after a restart");
}

TEST_F(AnchorsTest, ACertificateOfARetiringOneIsRenewedAtOnce) {
  attach();
  retiring_ = true;
  parent_.send(message_of(wire::Type::document, group_.anchors_document(3, both())));
  until(
      [&] {
        clock_.jump(std::chrono::milliseconds(100));
        return asked() == 1;
      },
      "a request");
}

TEST_F(AnchorsTest, WhatADiskDoesNotTakeIsNotInForceAndTriedAgain) {
  attach();
  const auto file = folder_ / agent_.self.name / "anchors.pem";
  const auto text = disk_.read_file(file, kPemBytesMax);
  ASSERT_TRUE(text);
  ASSERT_TRUE(disk_.remove(file));
  parent_.send(message_of(wire::Type::document, group_.anchors_document(3, both())));
  until([&] { return lines_.count("the group's anchors are not taken over, trying again") == 1; },
        "the error");
  EXPECT_EQ(in_force(), 0u);
  ASSERT_TRUE(disk_.write_file(file, *text, 0644));
  until(
      [&] {
        clock_.jump(std::chrono::seconds(1));
        return in_force() == 3;
      },
      "the next attempt");
}

// ---- Parents

TEST_F(NodeTest, AParentThatLeftTheListIsLeft) {
  TestParent second{loops_, lines_.log, group_, "ms2.home.example", [this] { changed(); }};
  const ParentSetting nobody{"nobody.home.example", {"127.0.0.1", 1}};
  open({nobody, parent_.setting()});
  node_->start();
  until([&] { return parent_.attached == 1; }, "an attach");
  fence(parent_);
  node_->reload(settings_for(agent_, {second.setting()}));  // a shorter list
  until([&] { return second.attached == 1 && parent_.gone == 1; }, "a move");
  EXPECT_EQ(node_->uplink().parent(), "");  // until welcome is read
  fence(second);
  EXPECT_EQ(node_->uplink().parent(), "ms2.home.example");
  // Everything is offered again to the new one.
  until([&] { return !second.batches_of(Lane::state).empty(); }, "a batch");
}

TEST_F(NodeTest, AListThatChangesDuringADialIsFollowed) {
  const ParentSetting nobody{"nobody.home.example", {"127.0.0.1", 1}};
  TestParent second{loops_, lines_.log, group_, "ms2.home.example", [this] { changed(); }};
  open({nobody, parent_.setting()});
  node_->start();
  // The dial of the second is under way when the list gets shorter.
  until([&] { return lines_.count("nobody.home.example") > 0; }, "a failed dial");
  run_posted();
  node_->reload(settings_for(agent_, {second.setting()}));
  until([&] { return second.attached == 1; }, "an attach");
  EXPECT_EQ(parent_.children().size(), 0u);
}

}  // namespace
}  // namespace postern::node
