#pragma once

// For the tests of nodes and gateways over real loopback connections: the core loop on the test's
// thread, a clock that jumps, a management group, and a parent that only writes down what comes.
// Waiting is for events, never for time.

#include <gtest/gtest.h>

#include <atomic>

#include "identity/state_folder.h"
#include "identity/test_folder.h"
#include "node/children.h"
#include "node/gated_disk.h"
#include "node/host_sampler.h"
#include "node/node.h"
#include "node/test_group.h"

namespace postern::testing_support {

/// The machine's clock, and as much later as a test says. Wall time begins at kWall.
class JumpingClock final : public Clock {
 public:
  TimePoint now() const override { return system_.now() + Duration(ahead_.load()); }
  WallTime wall() const override {
    return kWall + std::chrono::duration_cast<std::chrono::milliseconds>(now() - start_);
  }
  void jump(Duration by) { ahead_ += by.count(); }
  TimePoint real_now() const { return system_.now(); }

 private:
  SystemClock system_;
  std::atomic<std::int64_t> ahead_ = 0;
  const TimePoint start_ = system_.now();
};

/// The side of a gateway or server that a node dials: admits everybody, answers nothing by itself.
class TestParent final : public node::Children::Owner {
 public:
  TestParent(Loops& loops, const Log& log, const TestGroup& group, const std::string& name,
             std::function<void()> changed)
      : node(group.node(node::Role::server, name)),
        tls_(
            *TlsContext::create(node.credential(), group.anchors(), {.now = [] { return kWall; }})),
        changed_(std::move(changed)),
        network_(loops, log),
        children_(loops, log, node.self, *this) {
    documents = {group.delegation()};
    PortOptions options;
    options.address = "127.0.0.1";
    options.port = 0;
    auto listening = children_.listen(network_, tls_, options);
    invariant(listening.has_value(), "a test's port");
  }

  ParentSetting setting() const { return {node.self.name, {"127.0.0.1", children_.port()}}; }
  node::Children& children() { return children_; }
  node::Child* child() { return children_.size() == 0 ? nullptr : children_.find(last_child); }
  void send(wire::Message message) { child()->send(std::move(message)); }

  // node::Children::Owner
  void admit(const node::Candidate& candidate,
             std::function<void(node::Decision)> decided) override {
    hellos.push_back(candidate.hello);
    decided(node::Admitted{std::nullopt, documents});
  }
  std::vector<wire::pb::Hop> path() override {
    wire::pb::Hop own;
    own.set_name(node.self.name);
    own.set_node_id(node::field_of(node.self.id.bytes));
    return {own};
  }
  const TlsContext& tls() override { return *tls_; }
  Duration head_interval() override { return std::chrono::seconds(60); }
  void on_child(node::Child& child, const node::Candidate&) override {
    last_child = child.who().id;
    ++attached;
    changed_();
  }
  void on_child_gone(const node::Child&, const std::string&) override {
    ++gone;
    changed_();
  }
  void on_batch(node::Child& child, const wire::Stamped& stamped, const wire::BatchView& batch,
                SharedBytes message) override {
    child.taken(batch.header.stream.lane, message->size());
    batches.push_back({batch.header, sha256(batch.signed_part), stamped.stamps, message});
    changed_();
  }
  void on_offer(node::Child& child, const std::vector<wire::Coverage>& list) override {
    offers.insert(offers.end(), list.begin(), list.end());
    if (answer_offers) {
      std::vector<wire::Coverage> nothing;
      for (const wire::Coverage& offer : list) nothing.push_back({offer.stream, {}});
      child.send(wire::make_message(wire::Type::stored, wire::encode_coverages(nothing)));
    }
    changed_();
  }
  void on_child_message(node::Child&, const wire::Message& message) override {
    messages.push_back(message);
    changed_();
  }
  void on_http(HttpRequest, Respond respond) override { respond({}); }

  struct Batch {
    wire::BatchHeader header;
    Digest hash{};
    std::vector<wire::Stamp> stamps;
    SharedBytes message;
  };
  std::vector<const Batch*> batches_of(wire::Lane lane) const {
    std::vector<const Batch*> found;
    for (const Batch& batch : batches)
      if (batch.header.stream.lane == lane) found.push_back(&batch);
    return found;
  }
  std::vector<wire::Message> of_type(wire::Type type) const {
    std::vector<wire::Message> found;
    for (const wire::Message& message : messages)
      if (message.type == type) found.push_back(message);
    return found;
  }

  TestNode node;
  std::vector<wire::pb::Signed> documents;  // in welcome
  bool answer_offers = true;
  std::vector<wire::pb::Hello> hellos;
  std::vector<Batch> batches;
  std::vector<wire::Coverage> offers;
  std::vector<wire::Message> messages;
  NodeId last_child;
  int attached = 0, gone = 0;

 private:
  std::shared_ptr<const TlsContext> tls_;
  std::function<void()> changed_;
  SocketNetwork network_;
  node::Children children_;
};

class NodeWorld : public ::testing::Test {
 protected:
  /// A state folder as an import leaves it.
  void furnish(const std::filesystem::path& state, const TestNode& node) {
    StateFolder folder(disk_, state);
    ASSERT_TRUE(folder.prepare());
    const std::string key = node.self.identity.to_pem();
    ASSERT_TRUE(disk_.write_file(state / "identity.key", as_bytes(key), 0600));
    ASSERT_TRUE(folder.install_tls(node.credential()));
    ASSERT_TRUE(folder.install_anchors(group_.anchors()));
    ASSERT_TRUE(folder.pin_group_root(group_.root.public_key()));
  }
  NodeSettings settings_for(const TestNode& node, std::vector<ParentSetting> parents) {
    NodeSettings settings;
    settings.group = group_.name;
    settings.name = node.self.name;
    settings.state_dir = folder_ / node.self.name;
    settings.listen = {"127.0.0.1", 0};
    settings.parents = std::move(parents);
    return settings;
  }
  node::Surroundings around() {
    return {loops_, lines_.log, clock_, random_, disk_, network_, workers_, samplers_};
  }

  /// Runs the core until the condition holds, which is asked again whenever something happens.
  void until(std::function<bool()> condition, const char* what) {
    condition_ = std::move(condition);
    const TimePoint limit = clock_.real_now() + std::chrono::seconds(30);
    bool timed_out = false;
    std::function<void()> look = [&] {
      timed_out = clock_.real_now() > limit;
      if (condition_() || timed_out)
        core_.stop();
      else
        timer_ = core_.after(std::chrono::milliseconds(5), look);
    };
    timer_ = core_.after(Duration(0), look);
    core_.run();
    timer_.cancel();
    condition_ = nullptr;
    ASSERT_FALSE(timed_out) << what << " did not happen";
  }
  void changed() {
    if (condition_ && condition_()) core_.stop();
  }
  /// Everything that was posted until now has run.
  void run_posted() {
    core_.post([this] { core_.stop(); });
    core_.run();
  }
  /// What the parent sent before has been read by its child, which does not know move.
  void fence(TestParent& parent) {
    const char* words = "move from the parent is not used";
    const std::size_t before = lines_.count(words);
    parent.send(wire::make_message(wire::Type::move, {}));
    until([&] { return lines_.count(words) > before; }, "a fence");
  }

  TemporaryFolder folder_;
  TestGroup group_;
  LogLines lines_;
  JumpingClock clock_;
  SeededRandom random_{1};
  GatedDisk disk_;
  Loop core_{"core", clock_};
  Loops loops_{core_, 0, clock_};
  SocketNetwork network_{loops_, lines_.log};
  ThreadWorkers workers_;
  node::HostSamplers samplers_{workers_};
  std::function<bool()> condition_;
  Loop::Timer timer_;
};

}  // namespace postern::testing_support
