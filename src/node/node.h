#pragma once

#include <array>
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
#include "node/certificate_hook.h"
#include "node/certificate_inbox.h"
#include "node/certificate_watch.h"
#include "node/event_feed.h"
#include "node/head_numbers.h"
#include "node/origin.h"
#include "node/renewal.h"
#include "node/revocation_files.h"
#include "node/sampler.h"
#include "node/self.h"
#include "node/trust.h"
#include "node/uplink.h"
#include "relay/credit.h"
#include "relay/relay.h"
#include "settings/settings.h"
#include "spool/spool_thread.h"

namespace postern::node {

inline constexpr std::uint32_t kHoleRequest = 2, kTraceRequest = 3, kConfirmRequest = 4,
                               kCertificateRequest = 5;  // channel.md#W52, W54, W55, W56
/// Ids of requests that the node itself asks have this bit; those it passes on for others do not.
inline constexpr std::uint64_t kOwnRequest = 1ull << 63;
/// Of the own requests those for a certificate.
inline constexpr std::uint64_t kOwnCertificate = kOwnRequest | 1ull << 62;

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
  /// Limits that a simulation makes tiny.
  relay::Relay::Limits relay_limits{};
  relay::CreditBook::Limits credit_limits{};
  std::uint64_t spool_segment_bytes = spool::Options{}.segment_bytes;
  EventFeeds* events = nullptr;    // null: nothing that is logged is read
  bool watch_certificate = false;  // take over what is put into the state folder
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
class Node final : Uplink::Owner, Origin::Holdings, EventFeed::Door {
 public:
  /// What a gateway does besides.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_attached() {}
    virtual void on_path_changed() {}
    /// A copy that was held here is gone: whoever gave it must hear that it is not stored any more.
    virtual void on_lost(const wire::StreamKey& stream) { (void)stream; }
    /// Our copy was refused above, or the answer shows another batch of that number: for whoever
    /// gave us ours.
    virtual void on_copy_refused(const wire::StreamKey& stream, const wire::pb::Answer& answer) {
      (void)stream, (void)answer;
    }
    /// A new generation (rule D10): children have to hear anew what is held.
    virtual void on_rewound() {}
    /// The spool is nearly full, or has room again.
    virtual void on_space(bool full) { (void)full; }
    /// A request for a node that is behind us.
    virtual void pass_down(const NodeId& target, const wire::pb::Request& request) {
      (void)target, (void)request;
    }
    virtual void on_settled(const wire::StreamKey& stream, SharedBytes message) {
      (void)stream, (void)message;
    }
    virtual void on_document(const wire::pb::Signed& document, const wire::pb::DocumentBody& body) {
      (void)document, (void)body;
    }
    virtual void on_reply(const wire::pb::Reply& reply) { (void)reply; }
    /// tls() shows another certificate from now on.
    virtual void on_certificate() {}
    virtual std::vector<Measurement> own_health() { return {}; }
  };

  static Result<std::unique_ptr<Node>> open(Surroundings around, NodeSettings settings, Role role,
                                            Listener& listener);
  ~Node() override;

  void start();  // dials and measures
  /// Why it delivers nothing now; empty when it delivers.
  std::string not_ready() const;
  /// What it says of itself.
  std::vector<Measurement> own_health();
  /// Takes over what may change at run time: parents, interval, certificate, anchors. Says what
  /// needs a restart.
  void reload(const NodeSettings& settings);
  /// Stops measuring and dialling; what is sealed stays on disk.
  void stop(const std::string& why);

  /// Writes a batch of somebody behind us. `done` is told when it is on stable storage, or why it
  /// is not; on the core loop, never inside this call.
  void store(relay::Held held, std::function<void(const Result<>&)> done);
  /// Header and signature of our copy of a batch; nothing when it is not here any more.
  void evidence_of(const wire::StreamKey& stream, std::uint64_t sequence,
                   std::function<void(const Bytes&)> done);

  std::string status_words() const;  // a few words for an operator
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

  void beat();
  void look_at_disk();
  bool disk_hangs() const;
  wire::Message head();

  // node_own.cc: what we make
  void on_sample(Sampler::Sample sample);
  std::optional<WallTime> oldest_own() const;  // of our batches that are not settled
  double oldest_own_s() const;
  void on_set_back(const wire::Coverage& coverage);
  void on_evidence(const wire::StreamKey& stream, ByteView evidence);
  void on_rewound();
  void on_hole(const Origin::Hole& hole);
  void on_trace(const wire::pb::TraceQuestion& trace);
  void confirm_older_epochs();
  /// Does what the origin wants done; after anything it was told.
  void drive();
  void write_file(Bytes bytes);
  void write_own(wire::Lane lane);
  void read_again(wire::Lane lane, const Origin::Wanted& wanted);
  void finish(const Origin::Done& done);
  // Origin::Holdings
  std::vector<Origin::Range> held(const wire::StreamKey& stream) const override;
  std::vector<Origin::Range> settled(const wire::StreamKey& stream) const override;
  std::vector<wire::ReleaseRecord> released(const wire::StreamKey& stream,
                                            Origin::Range range) const override;
  std::vector<Origin::Range> lost_above(const wire::StreamKey& stream,
                                        Origin::Range range) const override;
  std::optional<Digest> hash(const wire::StreamKey& stream, std::uint64_t sequence) const override;

  // EventFeed::Door
  bool takes_events() const override { return !full_ && !disk_ails_; }
  std::optional<events::BatchNumber> reserve_event() override;
  void seal_event(const Payload& payload) override;
  bool was_sealed(const events::BatchNumber& batch) const override;

  // node_space.cc: room on the disk
  void look_at_space();
  void make_room(std::uint64_t bytes);
  void on_unreadable(const wire::StreamKey& stream, std::uint64_t sequence);
  void notify(const wire::StreamKey& stream, relay::Range range, std::uint32_t reason,
              const std::string& words);

  // node_certificate.cc: what we show
  void look_at_certificate();
  void look_into_inbox();  // as the settings say now
  void ask_for_certificate();
  /// Of a certificate that has ended, the parents in turn: over HTTP, where none is asked for.
  void ask_without_certificate(const std::string& body, std::size_t parent);
  void on_certificate(const wire::pb::Reply& reply);
  void on_chain(std::string_view reply);
  void not_renewed(const std::string& words);
  void install(TlsCredential credential);
  /// What stands in the state folder now.
  void take_certificate();
  void use(const TlsCredential& credential, const Anchors& anchors);

  // node_anchors.cc: whom we trust
  /// What the group's newest word about it says: on disk, then in use.
  void take_anchors();
  void on_anchors(const Trust::KeptAnchors& taken, const Result<Anchors>& anchors);

  // Uplink::Owner
  Duration expiry_grace() override { return settings_.certificates.expiry_grace; }
  std::optional<Refusal> objection_to(const Neighbour& parent) override;
  std::optional<wire::pb::Signed> own_approval() override;
  void on_attached(const wire::pb::Welcome& welcome) override;
  void on_detached(const std::string& why) override;
  void on_parent_message(const wire::Message& message) override;
  void read_from_spool(const relay::Held& held) override;
  void on_refused(const std::string& parent, wire::Refusal reason,
                  const std::string& words) override;

  void on_stored(const wire::Message& message);
  void show_settled(const wire::StreamKey& stream);
  void on_settled(const wire::Message& message);
  void take_settled(SharedBytes message);
  void on_confirmed(const wire::pb::Reply& reply);
  void on_answer(const wire::Message& message);
  void on_contradicted(const wire::StreamKey& stream, const wire::pb::Answer& answer);
  void on_request(const wire::pb::Request& request);
  void take(const wire::pb::Signed& document);
  void show_newer(const wire::pb::DocumentBody& tick);

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
  std::optional<Origin> origin_;
  const WallTime started_;
  Uplink uplink_;
  std::unique_ptr<Sampler> sampler_;
  std::unique_ptr<EventFeed> events_;
  std::uint64_t own_batches_ = 0;

  std::array<Loop::Timer, 3> write_retries_, read_retries_;  // by lane
  Loop::Timer file_retry_, space_timer_;
  bool disk_ails_ = false;
  bool full_ = false;
  std::uint64_t promised_ = 0;  // bytes that come free when records about them are on disk
  HeadNumbers head_numbers_;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // shared with the spool's posts that may come late
  Loop::Timer beat_timer_, disk_timer_, certificate_timer_;
  Renewal renewal_;
  RevocationFiles revocation_files_;
  std::optional<CertificateWatch> watch_;
  std::optional<CertificateInbox> inbox_;
  std::unique_ptr<CertificateHook> hook_;
  bool key_wanted_ = false;              // and being made
  std::uint64_t certificate_asked_ = 0;  // id of the newest request; 0: answered
  std::uint64_t certificates_asked_ = 0;
  Edition anchors_in_force_{};  // the word that they are by; zeros: only the file's
  bool anchors_under_way_ = false;
  bool stranded_ = false;  // since the last parent, one of us did not know the other's authority
  Loop::Timer anchors_timer_;
  std::string last_certificate_words_;   // so that the same is not said at each question
  std::optional<TimePoint> disk_asked_;  // and has not answered yet
  bool disk_hung_ = false;               // and that was said
};

}  // namespace postern::node
