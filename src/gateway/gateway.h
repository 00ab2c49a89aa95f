#pragma once

#include <map>
#include <memory>
#include <set>

#include "base/token_buckets.h"
#include "node/children.h"
#include "node/join.h"
#include "node/node.h"
#include "node/status.h"
#include "relay/intake.h"
#include "relay/ways.h"

namespace postern {

inline constexpr std::size_t kRequestsWaitingMax = 1024;  // channel.md#W50
inline constexpr std::size_t kHeadsKeptMax = 100'000;
inline constexpr double kCertificatesRate = 20;  // requests a second of one child, passed on
inline constexpr double kCertificatesBurst = 200;

/// A gateway: a node with children. Takes their batches, says *stored* when they are on disk, hands
/// them on, and passes down what the management server says. Never looks into a payload. Belongs to
/// the core loop.
class Gateway final : node::Node::Listener, node::Children::Owner {
 public:
  static Result<std::unique_ptr<Gateway>> open(node::Surroundings around, NodeSettings settings);
  ~Gateway() override;
  std::uint16_t port() const { return children_->port(); }

  void reload(const NodeSettings& settings);
  void stop(const std::string& why);
  node::Status status();
  std::string status_words() const;  // a few words

 private:
  explicit Gateway(node::Surroundings around);

  // node::Node::Listener: what comes from above
  void on_attached() override;
  void on_path_changed() override;
  void on_lost(const wire::StreamKey& stream) override;
  void on_copy_refused(const wire::StreamKey& stream, const wire::pb::Answer& answer) override;
  void on_rewound() override;
  void on_space(bool full) override;
  void pass_down(const NodeId& target, const wire::pb::Request& request) override;
  void on_settled(const wire::StreamKey& stream, SharedBytes message) override;
  void on_document(const wire::pb::Signed& document, const wire::pb::DocumentBody& body) override;
  void on_reply(const wire::pb::Reply& reply) override;
  void on_certificate() override;
  std::vector<Measurement> own_health() override;

  // node::Children::Owner: what comes from below
  void admit(const node::Candidate& candidate,
             std::function<void(node::Decision)> decided) override;
  std::vector<wire::pb::Hop> path() override;
  const TlsContext& tls() override { return *node_->tls(); }
  Duration head_interval() override { return node_->settings().interval; }
  Duration expiry_grace() override { return node_->settings().certificates.expiry_grace; }
  std::optional<node::Refusal> objection_to(const node::Neighbour& who) override;
  void on_child(node::Child& child, const node::Candidate& candidate) override;
  void on_child_gone(const node::Child& child, const std::string& why) override;
  void on_twin(const node::Child& child, const node::Candidate& twin) override;
  void on_batch(node::Child& child, const wire::Stamped& stamped, const wire::BatchView& batch,
                SharedBytes message) override;
  void on_offer(node::Child& child, const std::vector<wire::Coverage>& offers) override;
  void on_child_message(node::Child& child, const wire::Message& message) override;
  void on_http(HttpRequest request, Respond respond) override;

  void on_head(node::Child& child, const wire::Message& message);
  void on_presence(node::Child& child, wire::pb::Presence presence);
  void on_notice(node::Child& child, wire::pb::Notice notice);
  void on_shown(const wire::pb::Signed& document);
  void on_shown_settled(const wire::Message& message);
  void on_request(node::Child& child, wire::pb::Request request);
  // gateway_join.cc: machines without a certificate that is good, passed on
  void on_stranger(HttpRequest request, Respond respond);
  void on_join_request(node::Child& child, wire::pb::Request request);
  node::Refusal cannot_ask() const;  // there is no way to the management server
  std::optional<node::Decision> decide_here(const node::Candidate& candidate);
  void ask_upwards(const node::Candidate& candidate, std::function<void(node::Decision)> decided);
  Result<> room_for(const wire::Stamped& stamped, std::size_t bytes) const;
  void answer_with_coverage(const wire::StreamKey& stream);
  void answer_with_evidence(std::uint64_t channel, const wire::StreamKey& stream,
                            std::uint64_t sequence, const Digest& hash,
                            const relay::Intake& intake);
  void show_settled(node::Child& child, const wire::StreamKey& stream);
  void announce(const NodeId& id);
  void flush_answers();
  void send_stored(node::Child& child, std::span<const wire::Coverage> list);
  wire::pb::Hop hop_of(const node::Neighbour& who) const;
  std::vector<wire::pb::Signed> documents_for(const NodeId& id);

  struct Waiting {  // a request that went up
    std::function<void(const wire::pb::Reply&)> done;
    Loop::Timer timer;
  };
  bool send_request(wire::pb::Request request, std::function<void(const wire::pb::Reply&)> done);

  node::Surroundings around_;
  Loop& core_;
  const Log& log_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<node::Children> children_;
  std::map<std::uint64_t, Waiting> requests_;
  /// Requests for certificates that are passed on, by child (rule T7).
  TokenBuckets certificates_{{kCertificatesRate, kCertificatesBurst, node::kChildrenMax}};
  node::StrangerGate stranger_gate_;
  std::uint64_t next_request_ = 1;
  std::map<NodeId, std::pair<std::uint64_t, wire::Message>>
      heads_;  // newest of each node below: number, message
  std::map<NodeId, std::pair<NodeId, wire::pb::Presence>>
      presences_;  // by node: the child it came by, what it said
  relay::Ways ways_;
  std::set<wire::StreamKey> to_answer_;
  std::set<NodeId> awaiting_head_;  // children that attached and have not sent a head yet
  bool flush_posted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with late posts
  const WallTime started_;
  std::uint64_t batches_taken_ = 0, batches_refused_ = 0, heads_dropped_ = 0;
  std::uint64_t equivocations_ = 0;
};

}  // namespace postern
