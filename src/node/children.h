#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/log.h"
#include "net/loop.h"
#include "net/network.h"
#include "node/credential.h"
#include "node/self.h"
#include "relay/credit.h"
#include "wire/coverage.h"

namespace postern::node {

inline constexpr std::size_t kChildrenMax = 20'000;
inline constexpr Duration kRefusalLoggedEvery =
    std::chrono::minutes(5);  // the same one, again and again
inline constexpr Duration kRepeatedEvery = std::chrono::minutes(1);  // to one child
inline constexpr std::size_t kRefusalsRememberedMax = 4096;
inline constexpr Duration kTwinAnswerMax = std::chrono::seconds(5);   // channel.md#W28
inline constexpr Duration kTwinToldEvery = std::chrono::minutes(10);  // of one node
inline constexpr std::size_t kStreamsPerChildMax = 100'000;  // its own and its descendants'

/// A connected child, once it was welcomed.
class Child {
 public:
  virtual ~Child() = default;
  virtual std::uint64_t channel_id() const = 0;
  virtual const Neighbour& who() const = 0;
  virtual const ChannelPeer& peer() const = 0;
  virtual const Certificate& certificate() const = 0;  // shown last: in TLS, or since (W60)
  virtual void send(wire::Message message) = 0;

  /// A batch of this size was taken off this child's hands: its credit may grow (rule C4).
  virtual void taken(wire::Lane lane, std::size_t message_bytes) = 0;
  /// It has more to send than came: where windows are small it gets a whole batch in its turn.
  virtual void wants(wire::Lane lane) = 0;
  /// The highest number of the stream that this child offered or sent here.
  virtual std::optional<std::uint64_t> highest(const wire::StreamKey& stream) const = 0;
  /// All that it offered or sent here.
  virtual std::vector<wire::StreamKey> offered() const = 0;
  /// Whether something that it should have known already may be sent to it again now (W37).
  virtual bool may_repeat(TimePoint now) = 0;
  virtual void answer(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash,
                      std::uint32_t verdict, const std::string& words,
                      std::chrono::milliseconds retry_after, ByteView evidence = {}) = 0;
};

inline constexpr std::uint32_t kCopyRefused = 1, kRefusedForGood = 2,
                               kNotYet = 3;  // channel.md#W32

/// One who asks to be our child: everything that can be verified here has been.
struct Candidate {
  wire::pb::Hello hello;
  Neighbour who;
  std::vector<Certificate> chain;
  std::string address;
  Exporter exporter{};
};

struct Admitted {
  std::optional<wire::pb::Signed> approval;
  std::vector<wire::pb::Signed> documents;
};
using Decision = std::expected<Admitted, Refusal>;

/// The side of a gateway or server that faces its children: hello, admission, credit, life signs,
/// supersession. Belongs to the core loop.
class Children final : public PortHandler {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// Decides on a candidate; calls `decided` once, on the core loop, perhaps inside this call.
    virtual void admit(const Candidate& candidate, std::function<void(Decision)> decided) = 0;
    virtual std::vector<wire::pb::Hop> path() = 0;  // ourselves first, our server last
    virtual const TlsContext& tls() = 0;
    virtual Duration head_interval() = 0;

    /// After the end of the certificate that a child showed last (channel.md#W63).
    virtual Duration expiry_grace() { return kExpiryGrace; }
    /// To a child that shows another certificate, which was verified, or by another deny list; a
    /// refusal ends the connection.
    virtual std::optional<Refusal> objection_to(const Neighbour& who) {
      (void)who;
      return std::nullopt;
    }
    /// And there was no objection.
    virtual void on_credential(Child& child) { (void)child; }

    virtual void on_child(Child& child, const Candidate& candidate) = 0;
    virtual void on_child_gone(const Child& child, const std::string& why) = 0;
    /// Another process shows the identity of `child`, which is there and answers: two machines have
    /// one state folder (rule T3). `twin` was turned away. At most once in kTwinToldEvery of a
    /// node.
    virtual void on_twin(const Child& child, const Candidate& twin) {
      (void)child;
      (void)twin;
    }
    /// A batch as the child sent it; `batch` points into `message`.
    virtual void on_batch(Child& child, const wire::Stamped& stamped, const wire::BatchView& batch,
                          SharedBytes message) = 0;
    virtual void on_offer(Child& child, const std::vector<wire::Coverage>& offers) = 0;
    /// head, request, reply, notice, presence, settled (W34), document (W35).
    virtual void on_child_message(Child& child, const wire::Message& message) = 0;
    /// A request over the one port: of a stranger, or of this machine.
    virtual void on_http(HttpRequest request, Respond respond) = 0;
  };

  Children(Loops& loops, const Log& log, const Self& self, Owner& owner,
           relay::CreditBook::Limits credit = {});
  ~Children() override;

  /// Without it, channels come only by on_channel(): so tests do without sockets.
  Result<> listen(Network& network, std::shared_ptr<const TlsContext> tls,
                  const PortOptions& options);
  /// For handshakes from now on, and shown to every child (W60).
  void set_tls(std::shared_ptr<const TlsContext> tls);
  std::uint16_t port() const { return port_->port(); }
  PortCounters counters() const { return port_->counters(); }

  // PortHandler
  void on_channel(std::shared_ptr<Channel> channel) override;
  void on_refused(const RefusedPeer& peer) override;
  void on_http(HttpRequest request, Respond respond) override;

  Child* find(const NodeId& id);                // its newest connection
  Child* by_channel(std::uint64_t channel_id);  // nullptr when that connection is gone
  /// Every welcomed connection, also those that a newer one is about to take over from.
  void for_each(const std::function<void(Child&)>& visit);
  /// Children that offered or sent this stream: where its answers go.
  void for_each_of(const wire::StreamKey& stream, const std::function<void(Child&)>& visit);
  std::size_t size() const { return attached_.size(); }
  std::uint64_t refused() const {
    return refused_;
  }  // since the start, before or after the certificate
  /// Ends every connection that the owner objects to by now: the deny list is another one.
  void refuse_denied();
  /// The spool is full, or has room again: credit follows (rule C4).
  void set_full(bool full);
  /// Tells every child why, closes the port.
  void stop(const std::string& why);

 private:
  class Session;
  /// Counts it; logs it unless the same was logged a short while ago (a pending node asks every few
  /// seconds).
  void note_refusal(const std::string& address, const std::string& name,
                    const RefusalNotice& notice, const std::string& detail = {});
  void attached(Session& session);
  void closed(Session& session, const std::string& why);
  Session* session_of(std::optional<std::uint64_t> channel);
  Session* still_attached(std::optional<std::uint64_t> channel);
  void end_superseded(Session& newer);
  // Two processes of one identity (W28):
  bool ask_for_twin(Session& newer, const Admitted& admitted);
  void on_pong(Session& session, ByteView bytes);
  void no_twin(std::uint64_t newer);
  void send_grants();
  void sweep();

  Loop& core_;
  const Log& log_;
  const Self& self_;
  Owner& owner_;
  std::unique_ptr<Port> port_;
  std::optional<Certificate> shown_;  // by us, to all
  relay::CreditBook credit_;
  std::map<std::uint64_t, std::unique_ptr<Session>> sessions_;     // by channel id
  std::map<NodeId, Session*> attached_;                            // the newest of each node
  std::map<wire::StreamKey, std::vector<std::uint64_t>> offered_;  // by stream: channel ids
  std::map<std::tuple<std::string, wire::Refusal, bool>, TimePoint>
      refusals_logged_;  // the last: by us
  std::uint64_t refused_ = 0;
  /// Waits for what the connection before it says to a ping.
  struct Twin {
    std::uint64_t other = 0;  // channel
    Admitted admitted;
    Loop::Timer timer;
  };
  std::map<std::uint64_t, Twin> twins_;     // by the newer one's channel
  std::map<NodeId, TimePoint> twins_told_;  // when
  Loop::Timer sweep_timer_;
  bool stopping_ = false;
};

}  // namespace postern::node
