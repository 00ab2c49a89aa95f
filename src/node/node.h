#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/log.h"
#include "base/random.h"
#include "base/worker.h"
#include "identity/state_folder.h"
#include "net/loop.h"
#include "net/network.h"
#include "node/outbox.h"
#include "node/sampler.h"
#include "node/self.h"
#include "node/trust.h"
#include "node/uplink.h"
#include "relay/relay.h"
#include "settings/settings.h"
#include "spool/spool_thread.h"

namespace postern::node {

/// What a program gives to the node it runs: every door to the outside. All outlive it.
struct Surroundings {
  Loops& loops;
  const Log& log;
  const Clock& clock;
  Random& random;
  Disk& disk;
  Network& network;
  Workers& workers;
  Samplers& samplers;
};

/// Who we are and whom we trust, as read from a state folder at the start.
struct Identity {
  Self self;
  TlsCredential credential;
  Anchors anchors;
  std::optional<PublicKey> root;
};
/// Reads (and at the very first start makes) what stands in the state folder. Errors say what is
/// missing and which command puts it there.
Result<Identity> open_identity(const Surroundings& around, const std::filesystem::path& state,
                               Role role, const std::string& group, const std::string& name);

/// The engine of an agent and of a gateway: seals what it observes, keeps it and what its children
/// sent on disk, hands it on, and forgets it when the management server has settled it. Belongs to
/// the core loop.
class Node final : Uplink::Owner {
 public:
  /// What a gateway does besides.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_attached() {}
    virtual void on_path_changed() {}
    /// A copy that was held here is gone: whoever gave it must hear that it is not stored any more.
    virtual void on_lost(const wire::StreamKey& stream) { (void)stream; }
    virtual void on_settled(const wire::StreamKey& stream, SharedBytes message) {
      (void)stream, (void)message;
    }
    virtual void on_document(const wire::pb::Signed& document, const wire::pb::DocumentBody& body) {
      (void)document, (void)body;
    }
    virtual void on_reply(const wire::pb::Reply& reply) { (void)reply; }
    virtual std::vector<Measurement> own_health() { return {}; }
  };

  static Result<std::unique_ptr<Node>> open(Surroundings around, NodeSettings settings, Role role,
                                            Listener& listener);
  ~Node() override;

  void start();  // dials and measures
  /// Takes over what may change at run time: parents, interval, certificate, anchors. Says what
  /// needs a restart.
  void reload(const NodeSettings& settings);
  /// Stops measuring and dialling; what is sealed stays on disk.
  void stop(const std::string& why);

  const Self& self() const { return identity_.self; }
  relay::Relay& relay() { return relay_; }
  Trust& trust() { return trust_; }
  Uplink& uplink() { return uplink_; }
  spool::SpoolThread& spool() { return *spool_; }
  std::shared_ptr<const TlsContext> tls() override { return tls_; }
  const NodeSettings& settings() const { return settings_; }

 private:
  Node(Surroundings around, NodeSettings settings, Identity identity, Listener& listener);
  Result<> open_spool();
  Result<std::shared_ptr<const TlsContext>> make_tls(const TlsCredential& credential,
                                                     const Anchors& anchors);

  void on_sample(Sampler::Sample sample);
  void queue(Outbox::Sealed sealed);
  void write_next(wire::Lane lane);
  void beat();
  wire::Message head();
  std::vector<Measurement> own_health();

  // Uplink::Owner
  std::optional<wire::pb::Signed> own_approval() override;
  void on_attached(const wire::pb::Welcome& welcome) override;
  void on_detached(const std::string& why) override;
  void on_parent_message(const wire::Message& message) override;
  void read_from_spool(const relay::Held& held) override;
  void on_refused(const std::string& parent, wire::Refusal reason,
                  const std::string& words) override;

  void on_stored(const wire::Message& message);
  void on_settled(const wire::Message& message);
  void on_answer(const wire::Message& message);
  void take(const wire::pb::Signed& document);

  Surroundings around_;
  Loop& core_;
  const Log& log_;
  NodeSettings settings_;
  Identity identity_;
  Listener& listener_;
  std::unique_ptr<Worker> files_;  // documents are written here
  Trust trust_;
  relay::Relay relay_;
  std::shared_ptr<const TlsContext> tls_;
  std::unique_ptr<spool::SpoolThread> spool_;
  std::optional<Outbox> outbox_;
  Uplink uplink_;
  std::unique_ptr<Sampler> sampler_;

  struct Queue {  // one a lane: metrics that find no room must not hold up state
    std::deque<Outbox::Sealed> sealed;  // not on disk yet, in order; the first may be under way
    bool writing = false;
    Loop::Timer retry;
  };
  std::array<Queue, 3> queues_;
  bool disk_ails_ = false;
  std::uint64_t samples_dropped_ = 0;
  std::uint64_t head_number_ = 0;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // shared with the spool's posts that may come late
  Loop::Timer beat_timer_;
};

}  // namespace postern::node
