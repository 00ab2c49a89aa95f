#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "net/channel.h"
#include "net/network.h"
#include "sim/host.h"
#include "sim/trace.h"

namespace postern::sim {

class Wires;

/// How one pair of hosts is joined now. What is set holds for connections that exist, too.
struct Link {
  Duration latency = std::chrono::milliseconds(1);
  Duration jitter = std::chrono::milliseconds(1);
  std::uint64_t bytes_per_second = 0;  // 0: no limit
  bool down = false;                   // dials wait for their timeout, nothing arrives
};

/// Looks at every message, and may change the world: the oracle listens, a captured gateway lies.
class WireTap {
 public:
  virtual ~WireTap() = default;
  /// On its way out of `from`, before any delay. False: it never leaves. May change it.
  virtual bool leaving(Channel& channel, const Host& from, const Host& to,
                       wire::Message& message) = 0;
  /// On its arrival. False: `to` never sees it.
  virtual bool arriving(Channel& channel, const Host& from, const Host& to,
                        wire::Message& message) = 0;
};

/// One connection, seen from above: both ends and the two ways between them.
///
/// Order is kept in each direction, as TCP does; across the lanes as the channel does (W13) while
/// something waits for a slow link.
class Joint {
 public:
  Joint(Wires& wires, std::uint64_t id, Host& dialler, Host& acceptor);

  /// Both hear of it: somebody on the way resets the connection.
  void cut(const std::string& why);
  /// Only one side hears of it; the other waits until its pings give up (0: the dialler hears).
  void cut_one_side(int side, const std::string& why);
  /// From now on nothing that `side` sends arrives, and nobody hears of it.
  void vanish_from(int side);
  /// What `side` sends arrives when the time has come, all of it.
  void stall_from(int side, TimePoint until);

  const Host& host(int side) const { return *ends_[side].host; }
  bool open() const { return !ends_[0].gone || !ends_[1].gone; }
  /// Both ends believe in it, and the acceptor has welcomed the dialler.
  bool attached() const { return welcomed_ && !ends_[0].gone && !ends_[1].gone; }
  std::uint64_t id() const { return id_; }
  /// Puts a message on the way as if `side` had sent it; for captured gateways.
  void inject(int side, wire::Message message);
  /// Gives a message to `side` as if the other one had sent it.
  void inject_into(int side, wire::Message message);

 private:
  friend class Wires;
  friend class SimChannel;
  struct Item {
    enum class Kind { message, refused, end } kind = Kind::message;
    wire::Message message;
    RefusalNotice notice;
    std::string why;
    bool tapped = false;
  };
  struct End {
    Host* host = nullptr;
    std::uint64_t life = 0;
    std::shared_ptr<Channel> channel;  // shared with the product; null when all is over
    ChannelHandler* handler = nullptr;
    bool closing = false;  // it began to close, or it heard of the end
    bool gone = false;     // on_closed was said, or there is nobody to say it to
    TimePoint last_received{};
    // What it sends:
    std::deque<wire::Message> waiting[4];
    std::size_t waiting_bytes = 0;
    bool transmitting = false;
    std::deque<Item> under_way;
    TimePoint last_arrival{};
    TimePoint stalled_until{};
    bool vanished = false;
  };

  void send(int side, wire::Message message);
  void transmit(int side);
  void put(int side, Item item);
  void arrive(int side);  // the first item that `side` sent reaches the other
  void end(int side, Error why);
  void leave(int side, const std::string& why, std::optional<RefusalNotice> notice);
  bool here(int side) const;  // its process is still the one that has this end
  void let_go() { ends_[0].channel = ends_[1].channel = nullptr; }  // they hold us

  Wires& wires_;
  const std::uint64_t id_;
  End ends_[2];
  bool welcomed_ = false;
};

/// The network between all machines.
class Wires {
 public:
  Wires(Events& events, Random& random, Trace& trace, Coverage& coverage)
      : events_(events), random_(random), trace_(trace), coverage_(coverage) {}
  ~Wires();

  Link& link(const Host& a, const Host& b);  // stays where it is
  /// All links are good again.
  void repair() {
    for (auto& [hosts, link] : links_) link = {};
  }
  void set_tap(WireTap* tap) { tap_ = tap; }
  /// Its process ended: with the power, so nobody hears of it, or its kernel says goodbye.
  void host_ended(const Host& host);
  /// Connections with an end that does not know yet that it is over.
  std::vector<std::shared_ptr<Joint>> joints();

  /// The network as one host sees it; ends before the host's life does.
  std::unique_ptr<Network> network_of(Host& host);

 private:
  friend class Joint;
  friend class SimChannel;
  class HostNetwork;
  class HostDialer;
  class HostPort;
  void dial(Host& from, std::shared_ptr<bool> alive, DialRequest request,
            std::function<void(const DialResult&)> done);
  void connect(Host& from, HostPort& port, const std::shared_ptr<bool>& alive, DialRequest request,
               std::function<void(const DialResult&)> done);
  Duration delay(const Host& a, const Host& b);

  Events& events_;
  Random& random_;
  Trace& trace_;
  Coverage& coverage_;
  WireTap* tap_ = nullptr;
  std::map<std::pair<std::size_t, std::size_t>, Link> links_;  // by index, lower first
  std::map<std::string, HostPort*> ports_;
  std::vector<std::shared_ptr<Joint>> joints_;
  std::uint64_t last_id_ = 0;
};

}  // namespace postern::sim
