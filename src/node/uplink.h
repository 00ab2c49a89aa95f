#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "net/loop.h"
#include "net/network.h"
#include "node/self.h"
#include "relay/liveness.h"
#include "relay/parents.h"
#include "relay/relay.h"
#include "settings/settings.h"

namespace postern::node {

/// The connection to the parent: dials, says hello, keeps it alive, sends what the relay says, and
/// hands down what comes. Belongs to the core loop.
class Uplink final : ChannelHandler {
 public:
  /// What the uplink needs to know and tells; implemented by Node.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual std::shared_ptr<const TlsContext> tls() = 0;
    virtual std::optional<wire::pb::Signed> own_approval() = 0;
    virtual Duration expiry_grace() = 0;  // channel.md#W63
    /// To what the parent shows, which was verified: in welcome, or since; a refusal ends the
    /// connection.
    virtual std::optional<Refusal> objection_to(const Neighbour& parent) = 0;
    /// Welcome was verified; documents in it were not taken yet.
    virtual void on_attached(const wire::pb::Welcome& welcome) = 0;
    virtual void on_detached(const std::string& why) = 0;
    /// stored, settled, answer, document, reply, path, request, move: everything but life signs and
    /// credit.
    virtual void on_parent_message(const wire::Message& message) = 0;
    virtual void read_from_spool(const relay::Held& held) = 0;
    /// The refuser's words, for the state that `postern` and the log show.
    virtual void on_refused(const std::string& parent, wire::Refusal reason,
                            const std::string& words) = 0;
  };

  Uplink(Loops& loops, Network& network, const Log& log, Random& random, const Self& self,
         relay::Relay& relay, Owner& owner);
  ~Uplink() override;

  /// Begins to dial, or takes over a new list; a connection to a parent that is gone from the list
  /// ends.
  void set_parents(const std::vector<ParentSetting>& parents);
  void stop(const std::string& why);

  /// What the owner's tls() shows from now on, on the open channel too (W60).
  void show_credential();
  /// Ends the connection when the owner objects to the parent by now: the deny list is another.
  void refuse_denied();
  /// The relay has something new to offer or send. Cheap; may be called often.
  void pump();
  /// False when there is no parent: what matters is sent again at the next attach.
  bool send(wire::Message message);
  bool attached() const { return attached_; }
  /// Every hop from the parent to its server, nearest first; empty while detached.
  const std::vector<wire::pb::Hop>& path() const { return path_; }
  void set_path(std::vector<wire::pb::Hop> path) { path_ = std::move(path); }
  /// The parent's word for how often heads go up.
  Duration head_interval() const { return head_interval_; }
  std::string parent() const { return attached_ ? current_.name : std::string(); }
  /// Why the last connection ended or did not begin; empty once there is one.
  const std::string& last_failure() const { return last_failure_; }

 private:
  std::size_t index_of_current() const;  // parents_.size() when it is gone from the list
  void dial_when_due();
  void dial();
  void on_dialled(DialResult result);
  void say_hello();
  void on_welcome(Channel& channel, const wire::Message& message);
  void on_credit(const wire::Message& message);
  void on_credential(const wire::Message& message);
  void tick();
  void failed(const std::string& words, Duration retry_after);
  void end(const std::string& why);

  void on_message(Channel& channel, wire::Message message) override;
  void on_drained(Channel& channel) override;
  void on_refused(Channel& channel, const RefusalNotice& notice) override;
  void on_closed(Channel& channel, const Error& why) override;

  Loop& core_;
  const Log& log_;
  const Self& self_;
  relay::Relay& relay_;
  Owner& owner_;
  std::unique_ptr<Dialer> dialer_;
  relay::ParentOrder order_;
  std::vector<ParentSetting> parents_;
  ParentSetting current_;  // of the connection or dial under way; may be gone from the list
  TimePoint attached_at_{};
  bool proven_ = false;  // attached long enough to forget its failures
  bool dialling_ = false;
  bool stopping_ = false;
  std::shared_ptr<Channel> channel_;
  std::optional<Neighbour> neighbour_;  // once it was welcome
  std::optional<Certificate> shown_;    // by the parent, last
  bool attached_ = false;
  bool ended_ = true;       // refused or closed: the channel may still exist for its last words
  Duration refused_for_{};  // the refuser's word, for the dial after
  std::string last_words_;  // so that the same failure is not logged every few seconds
  unsigned same_words_ = 0;
  std::string last_failure_;
  relay::Liveness liveness_;
  std::vector<wire::pb::Hop> path_;
  Duration head_interval_ = std::chrono::seconds(60);
  Loop::Timer dial_timer_, tick_timer_, welcome_timer_, wake_timer_;
};

}  // namespace postern::node
