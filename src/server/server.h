#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "api/service.h"
#include "base/token_buckets.h"
#include "base/worker.h"
#include "net/unix_http.h"
#include "node/certificate_hook.h"
#include "node/certificate_inbox.h"
#include "node/certificate_watch.h"
#include "node/children.h"
#include "node/node.h"
#include "node/renewal.h"
#include "node/revocation_files.h"
#include "relay/ways.h"
#include "server/changes.h"
#include "server/hole_watch.h"
#include "server/ingest.h"
#include "server/join_desk.h"
#include "server/node_watch.h"
#include "server/numbers.h"
#include "server/registry.h"
#include "server/service.h"
#include "server/settler.h"
#include "server/sightings.h"

namespace postern {

inline constexpr std::size_t kApplyBatchesMax = 256;  // in one transaction
inline constexpr std::size_t kArrivedBytesMax =
    64u << 20;  // waiting for the store; more are answered "not yet"
inline constexpr std::size_t kOwnMax = 10'000;       // of our own batches, while the store fails
inline constexpr std::size_t kAdmissionsMax = 1024;  // asked of the store; more are refused "busy"
inline constexpr std::size_t kJoinsMax = 64;         // likewise, machines that come with a token
inline constexpr std::size_t kAdmissionsPerChildMax = 64;  // likewise, for one gateway's strangers
// What one child shows, under way to the store; more is dropped, it comes again:
inline constexpr std::size_t kPutOffMax = 1024;        // documents for a better clock
inline constexpr std::size_t kShownDocumentsMax = 64;  // and as many notices
inline constexpr std::size_t kShownSettledMax = 256;
inline constexpr std::size_t kRenewalsMax = 64;  // likewise, requests for certificates (W56)
inline constexpr Duration kRenewedEvery = std::chrono::seconds(1);  // one node
inline constexpr std::size_t kConfirmsMax = 64;         // questions of one child under way (W55)
inline constexpr std::size_t kAlertsCountedMax = 1000;  // open ones, for our own health
inline constexpr double kApiRate = 50;  // requests a second of one user, token or address
inline constexpr double kApiBurst = 200;
inline constexpr std::size_t kApiSourcesMax = 4096;
inline constexpr std::chrono::milliseconds kChangesEvery{250};  // what is noted is told together
inline constexpr std::chrono::seconds kListenersToldEvery{15};  // that we live
inline constexpr Duration kTickInterval = std::chrono::seconds(30);
inline constexpr Duration kLookInterval =
    std::chrono::seconds(5);  // for holes, and for what other servers decided

/// The management server. Two threads matter: the core loop with connections and timers, and the
/// store thread with everything that blocks (store, registry, ingest, API). They exchange values.
class Server final : node::Children::Owner {
 public:
  /// Without a `store`, the one that the settings name is opened. Without an api_socket in the
  /// settings, the API is reached by api() only.
  static Result<std::unique_ptr<Server>> open(node::Surroundings around, ServerSettings settings,
                                              std::unique_ptr<store::Store> store = nullptr);
  ~Server() override;

  void reload(const ServerSettings& settings);
  void stop(const std::string& why);
  std::string status_words() const;  // a few words

  /// One request of the API, on the core loop: answered there too, later, after what it decided has
  /// been sent to the children. A server that ends first does not answer.
  void api(HttpRequest request, const api::Caller& caller, Respond respond);

 private:
  Server(node::Surroundings around, ServerSettings settings, node::Identity identity,
         GroupFolder::Delegate delegate, std::unique_ptr<store::Store> store);
  Result<> start();

  // node::Children::Owner
  void admit(const node::Candidate& candidate,
             std::function<void(node::Decision)> decided) override;
  std::vector<wire::pb::Hop> path() override;
  const TlsContext& tls() override { return *tls_; }
  Duration head_interval() override { return settings_.interval; }
  void on_child(node::Child& child, const node::Candidate& candidate) override;
  void on_child_gone(const node::Child& child, const std::string& why) override;
  void on_twin(const node::Child& child, const node::Candidate& twin) override;
  void note_twin(const node::Neighbour& who, const std::string& first, const std::string& second,
                 const std::string& by);
  void on_batch(node::Child& child, const wire::Stamped& stamped, const wire::BatchView& batch,
                SharedBytes message) override;
  void on_offer(node::Child& child, const std::vector<wire::Coverage>& offers) override;
  void on_child_message(node::Child& child, const wire::Message& message) override;

  // server_http.cc: who asks, and the answer
  void on_http(HttpRequest request, Respond respond) override;
  using WhoAsks = std::function<api::Answer<api::Caller>()>;
  /// `caller` is asked on the store thread.
  void answer(HttpRequest request, WhoAsks caller, Respond respond);
  /// By this token, on the store thread.
  WhoAsks token_of(const HttpRequest& request);
  bool over_rate(const std::string& who, const Respond& respond);
  std::string not_ready() const;
  std::vector<Measurement> own_health();
  void listen_to_changes(std::shared_ptr<HttpStream> stream, const api::ChangeQuery& query);
  void tell_listeners();
  void changed(std::string kind, std::string subject);

  void on_head(node::Child& child, const wire::Message& message);
  void on_presence(node::Child& child, const wire::Message& message);
  void on_request(node::Child& child, const wire::Message& message);
  void apply_next();
  void on_ingested(Ingested ingested);
  void settle(wire::Coverage coverage, std::uint32_t generation);
  void sign_due();
  Bytes signed_settled(const wire::Coverage& coverage, std::uint32_t generation) const;
  void spread(std::vector<wire::pb::Signed> documents);
  // server_shown.cc: what children show, and what follows from it
  void on_document(node::Child& child, const wire::Message& message);
  void adopt_shown();
  void on_settled(node::Child& child, const wire::Message& message);
  void on_notice(node::Child& child, const wire::Message& message);
  void on_generation(std::uint32_t generation);
  // server_holes.cc: what is missing, and who is asked
  void look();
  void ask_for(const store::Hole& hole);
  void send_down(const NodeId& target, std::uint32_t kind, const wire::pb::Signed& body);
  void on_confirm(node::Child& child, const wire::pb::Request& request);
  // server_certificates.cc: what nodes are called by, and what we show ourselves
  Duration expiry_grace() override { return settings_.certificates.expiry_grace; }
  std::optional<node::Refusal> objection_to(const node::Neighbour& who) override;
  void on_credential(node::Child& child) override;
  void on_certificate_request(node::Child& child, const wire::pb::Request& request);
  /// `done` is told on the core loop.
  void renew(wire::pb::Signed request, std::function<void(wire::pb::Reply)> done);
  // On the store thread:
  std::expected<std::vector<Certificate>, node::Refusal> sign_next(
      const wire::pb::Signed& request, const CertificateSettings& policy);
  std::optional<node::Refusal> against_late(const store::Node& node, const Certificate& current,
                                            Duration allowed_late);
  // server_anchors.cc: whom we trust, by what the group has said last
  void take_anchors();
  void on_anchors(const node::Trust::KeptAnchors& taken, const Result<Anchors>& anchors);
  // server_join.cc: who comes without a certificate that is good
  void on_join(std::string_view request, JoinDesk::From from,
               std::function<void(std::optional<std::string>)> answered);
  void on_stranger(HttpRequest request, Respond respond);
  void on_join_request(node::Child& child, const wire::pb::Request& request);
  void look_at_certificate();
  void look_into_inbox();  // as the settings say now
  /// What stands in the state folder now.
  void take_certificate();
  void use(const TlsCredential& credential, const Anchors& anchors);
  void tick();
  void trim();
  void trim_some();
  void note(Sighting sighting);
  void note_next();
  void answer_offers(std::uint64_t channel);
  void on_sample(node::Sampler::Sample sample);
  void put(SharedBytes message);
  void put_next();
  void on_own(const Verdict& verdict);
  Result<> open_outbox();

  // On the store thread:
  Noting noting() {
    return {*store_, *registry_, identity_.self, log_, around_.clock, *node_watch_};
  }
  NodeWatch::Own own_facts() const;
  /// server_alerts.cc: raises and closes what the looks at holes and nodes have found. What is to
  /// be told to listeners.
  std::vector<std::pair<std::string, std::string>> update_alerts(const HoleWatch::Round& holes);
  /// What is settled of the nodes that were removed since the last call.
  Ingested closed_streams();
  node::Decision decide(const node::Candidate& candidate, const std::vector<std::string>& path,
                        std::vector<wire::pb::Signed>& documents);

  node::Surroundings around_;
  Loop& core_;
  const Log& log_;
  ServerSettings settings_;
  node::Identity identity_;
  GroupFolder folder_;
  GroupFolder::Delegate delegate_;
  std::shared_ptr<const TlsContext> tls_;
  node::Trust trust_;
  std::unique_ptr<node::Children> children_;
  std::unique_ptr<UnixHttpServer> api_;
  std::optional<node::Outbox> outbox_;
  std::unique_ptr<node::Sampler> sampler_;

  std::vector<Arrived> arrived_;
  std::size_t arrived_bytes_ = 0;
  bool applying_ = false;
  Sightings sightings_;
  bool noting_ = false, trimming_ = false;
  std::uint64_t sightings_ignored_ = 0;
  /// What the store is asked for one child: streams that it offered, one request at a time, and
  /// admissions.
  struct Asked {
    std::set<wire::StreamKey> offered;  // bounded by node::kStreamsPerChildMax
    bool answering = false;
    std::size_t admissions = 0, documents = 0, settled = 0, notices = 0, confirms = 0,
                certificates = 0;
    bool idle() const {
      return !answering &&
             admissions + documents + settled + notices + confirms + certificates == 0;
    }
  };
  /// One more of `what` is under way for this child; false at the limit. Every true is followed by
  /// an answered().
  bool asks(std::uint64_t channel, std::size_t Asked::*what, std::size_t max);
  void answered(std::uint64_t channel, std::size_t Asked::*what);
  void judge_shown(std::uint64_t channel, std::size_t Asked::*what,
                   std::function<Result<std::optional<std::uint32_t>>()> judge);
  std::map<std::uint64_t, Asked> asked_;  // by channel; while something is asked
  std::size_t admissions_ = 0;            // of all
  std::size_t joins_ = 0;                 // likewise
  node::StrangerGate stranger_gate_;
  struct Shown {
    std::uint64_t channel = 0;
    wire::pb::Signed document;
  };
  std::vector<Shown> shown_;  // in this turn; bounded by kShownDocumentsMax of each child
  std::deque<wire::pb::Signed> put_off_;  // not believed now: when a clock was wrong, later
  Settler settler_;
  Loop::Timer settle_timer_;
  relay::Ways ways_;
  std::map<NodeId, std::uint64_t> head_numbers_;  // of the heads that showed the ways
  Ticks ticks_;
  std::uint32_t generation_ = 1;
  std::uint64_t applied_ = 0, duplicates_ = 0;
  struct Health {  // as the store knew it at the last look
    std::size_t losses_open = 0, alerts_open = 0;
    std::uint64_t equivocations = 0;
  };
  Health health_;
  // Our own batches that the store has not, in order. One at a time is given to it: should we die,
  // no later one is there, and no number is missing (rule D1).
  std::deque<SharedBytes> own_;
  bool own_under_way_ = false;
  Loop::Timer certificate_timer_;
  node::Renewal renewal_;
  bool renewing_ = false;
  node::RevocationFiles revocation_files_{log_};
  std::optional<node::CertificateWatch> watch_;
  std::optional<node::CertificateInbox> inbox_;
  std::unique_ptr<node::CertificateHook> hook_;
  std::string last_certificate_words_;
  node::Edition anchors_in_force_{};  // the word that they are by; zeros: only the file's
  bool anchors_under_way_ = false;
  Loop::Timer anchors_timer_;
  Loop::Timer tick_timer_, trim_timer_, own_timer_, look_timer_, changes_timer_, listeners_timer_;
  Changes changes_;
  TokenBuckets api_rate_{{kApiRate, kApiBurst, kApiSourcesMax}};
  bool store_answers_ = true;
  const WallTime started_;
  bool looking_ = false;

  // The store thread's alone:
  std::unique_ptr<store::Store> store_;
  std::optional<Registry> registry_;
  std::optional<Ingest> ingest_;
  HoleWatch holes_;
  std::optional<NodeWatch> node_watch_;
  store::AlertChanges unsaved_;  // what the store did not take: before anything newer
  std::set<NodeId> closing_;  // removed, and their streams are not closed yet; of the store thread
  std::optional<JoinDesk> join_desk_;
  std::optional<ServerService> service_;
  std::map<NodeId, TimePoint> renewed_;  // when each node was signed for; for a second
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);       // shared with answers that come late; core's
  std::unique_ptr<Worker> store_thread_;  // ends before what it uses
};

}  // namespace postern
