#include "sim/wires.h"

#include <algorithm>

#include "identity/key.h"
#include "sim/channel.h"

namespace postern::sim {
namespace {

constexpr Duration kDialTimeMax = std::chrono::seconds(10);
constexpr Duration kUnauthenticatedTimeMax = std::chrono::seconds(10);

std::string address_of(const Host& host, std::uint64_t id) {
  return fmt::format("10.0.0.{}:{}", host.index() + 1, 20'000 + id % 40'000);
}

/// What TlsContext::objection() says, without asking OpenSSL again and again whether the same few
/// certificates are what they were: in a simulation only time and name differ.
std::optional<Finding> judge(const TlsContext& judge, std::span<const Certificate> chain,
                             const std::optional<std::string>& dialled_name) {
  const WallTime now = judge.now();
  const bool fits = !chain.empty() && chain.front().not_before() <= now &&
                    now <= chain.front().not_after() &&
                    (!dialled_name || name_matches(chain.front(), *dialled_name));
  if (fits) return std::nullopt;
  return judge.objection(chain, dialled_name);
}

}  // namespace

class Wires::HostPort final : public Port {
 public:
  HostPort(Wires& wires, Host& host, std::shared_ptr<const TlsContext> tls, PortHandler& handler)
      : wires_(wires), host_(host), life_(host.life()), tls_(std::move(tls)), handler_(handler) {
    wires_.ports_[host.label()] = this;
  }
  ~HostPort() override {
    const auto found = wires_.ports_.find(host_.label());
    if (found != wires_.ports_.end() && found->second == this) wires_.ports_.erase(found);
  }
  std::uint16_t port() const override { return 5723; }
  void set_tls(std::shared_ptr<const TlsContext> tls) override { tls_ = std::move(tls); }
  void authenticated(const Channel& channel) override { deadlines_.erase(channel.id()); }
  void extend(const Channel& channel, Duration from_now) override {
    const auto found = deadlines_.find(channel.id());
    if (found != deadlines_.end()) found->second = wires_.events_.now() + from_now;
  }
  PortCounters counters() const override { return {}; }

  Host& host() { return host_; }
  std::uint64_t life() const { return life_; }
  const std::shared_ptr<const TlsContext>& tls() const { return tls_; }
  PortHandler& handler() { return handler_; }

  /// Rule C5: who has not been welcomed in time goes.
  void watch(const std::shared_ptr<Channel>& channel) {
    deadlines_[channel->id()] = wires_.events_.now() + kUnauthenticatedTimeMax;
    look_at(channel, kUnauthenticatedTimeMax);
  }

 private:
  void look_at(std::weak_ptr<Channel> watched, Duration in) {
    Wires& wires = wires_;
    wires.events_.after(in, [&wires, label = host_.label(), life = life_, watched] {
      const auto port = wires.ports_.find(label);
      const auto channel = watched.lock();
      if (port == wires.ports_.end() || port->second->life_ != life || !channel) return;
      HostPort& self = *port->second;
      const auto found = self.deadlines_.find(channel->id());
      if (found == self.deadlines_.end()) return;
      if (found->second > wires.events_.now()) {
        self.look_at(channel, found->second - wires.events_.now());
        return;
      }
      self.deadlines_.erase(found);
      wires.coverage_.count("unauthenticated connection at its deadline");
      static_cast<SimChannel&>(*channel).joint().cut("no hello in time");
    });
  }

  Wires& wires_;
  Host& host_;
  const std::uint64_t life_;
  std::shared_ptr<const TlsContext> tls_;
  PortHandler& handler_;
  std::map<std::uint64_t, TimePoint> deadlines_;
};

class Wires::HostDialer final : public Dialer {
 public:
  HostDialer(Wires& wires, Host& host) : wires_(wires), host_(host) {}
  ~HostDialer() override { *alive_ = false; }
  void dial(DialRequest request, std::function<void(const DialResult&)> done) override {
    wires_.dial(host_, alive_, std::move(request), std::move(done));
  }

 private:
  Wires& wires_;
  Host& host_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with dials under way
};

class Wires::HostNetwork final : public Network {
 public:
  HostNetwork(Wires& wires, Host& host) : wires_(wires), host_(host) {}
  std::unique_ptr<Dialer> make_dialer() override {
    return std::make_unique<HostDialer>(wires_, host_);
  }
  Result<std::unique_ptr<Port>> listen(std::shared_ptr<const TlsContext> tls, PortHandler& handler,
                                       PortOptions) override {
    return std::make_unique<HostPort>(wires_, host_, std::move(tls), handler);
  }
  Result<std::shared_ptr<const TlsContext>> make_tls(std::optional<TlsCredential> credential,
                                                     Anchors anchors,
                                                     TlsContext::Options options) override {
    return TlsContext::without_sockets(std::move(credential), std::move(anchors),
                                       std::move(options));
  }

 private:
  Wires& wires_;
  Host& host_;
};

std::unique_ptr<Network> Wires::network_of(Host& host) {
  return std::make_unique<HostNetwork>(*this, host);
}

Link& Wires::link(const Host& a, const Host& b) {
  return links_[std::minmax(a.index(), b.index())];
}

Duration Wires::delay(const Host& a, const Host& b) {
  const Link& between = link(a, b);
  const auto jitter = static_cast<std::uint64_t>(between.jitter.count());
  return between.latency + Duration(static_cast<std::int64_t>(random_.below(jitter + 1)));
}

Wires::~Wires() {
  for (const auto& joint : joints_) joint->let_go();
}

std::vector<std::shared_ptr<Joint>> Wires::joints() {
  std::erase_if(joints_, [](const auto& joint) {
    if (joint->open()) return false;
    joint->let_go();
    return true;
  });
  return joints_;
}

void Wires::host_ended(const Host& host) {
  for (const auto& joint : joints()) {
    for (const int side : {0, 1}) {
      Joint::End& end = joint->ends_[side];
      if (end.host != &host || end.gone) continue;
      end.closing = true;
      end.gone = true;
      end.handler = nullptr;
      for (auto& lane : end.waiting) lane.clear();
      if (host.powered())
        joint->put(side, {Joint::Item::Kind::end, {}, {}, "connection reset by peer", false});
      // Without power: silence. What the other one sends is answered with a reset once it is back.
    }
  }
}

void Wires::dial(Host& from, std::shared_ptr<bool> alive, DialRequest request,
                 std::function<void(const DialResult&)> done) {
  const std::uint64_t life = from.life();
  // Up to the moment when the other side's kernel answers.
  events_.after(
      Duration(std::chrono::microseconds(100 + random_.below(1000))),
      [this, &from, life, alive, request, done] {
        const auto tell = [&](Duration in, const char* words) {
          events_.after(in, [&from, life, alive, done,
                             text = fmt::format("connect to {}: {}", request.host, words)] {
            from.enter(life, [&] {
              if (*alive)
                done(std::unexpected(DialFailure{DialFailure::Stage::connect, text, {}, {}}));
            });
          });
        };
        if (from.life() != life || !*alive) return;
        const auto port = ports_.find(request.host);
        if (port == ports_.end()) return tell(std::chrono::milliseconds(1), "connection refused");
        Host& to = port->second->host();
        if (link(from, to).down || !to.powered()) return tell(kDialTimeMax, "timed out");
        if (!to.running()) return tell(delay(from, to), "connection refused");
        connect(from, *port->second, alive, request, done);
      });
}

void Wires::connect(Host& from, HostPort& port, const std::shared_ptr<bool>& alive,
                    DialRequest request, std::function<void(const DialResult&)> done) {
  Host& to = port.host();
  const auto joint = std::make_shared<Joint>(*this, ++last_id_, from, to);
  ChannelPeer seen_by_acceptor, seen_by_dialler;
  const auto chain_of = [](const TlsContext& tls) {
    return tls.credential() ? tls.credential()->chain : std::vector<Certificate>();
  };
  Writer nonce;
  nonce.u64(joint->id()).u64(random_.u64());
  const Digest exporter = sha256(nonce.written());
  seen_by_acceptor.address = address_of(from, joint->id());
  seen_by_acceptor.chain = chain_of(*request.tls);
  seen_by_acceptor.exporter = exporter;
  seen_by_acceptor.own_tls_key = port.tls()->credential()->key.spki_sha256();
  seen_by_dialler.address = address_of(to, 5723);
  seen_by_dialler.chain = chain_of(*port.tls());
  seen_by_dialler.exporter = exporter;
  seen_by_dialler.own_tls_key = request.tls->credential()->key.spki_sha256();
  seen_by_dialler.dialled = true;
  seen_by_dialler.dialled_name = request.name;

  const auto acceptor_objects = judge(*port.tls(), seen_by_acceptor.chain, std::nullopt);
  const auto dialler_objects = judge(*request.tls, seen_by_dialler.chain, request.name);
  const auto accepted =
      std::make_shared<SimChannel>(joint, 1, std::move(seen_by_acceptor), port.tls());
  const auto dialled =
      std::make_shared<SimChannel>(joint, 0, std::move(seen_by_dialler), request.tls);
  joint->ends_[0].channel = dialled;
  joint->ends_[1].channel = accepted;
  joints_.push_back(joint);
  trace_.note(1000, from.index() * 64 + to.index(), joint->id());

  const Duration there = delay(from, to);
  const std::uint64_t to_life = to.life(), from_life = from.life();
  if (!dialler_objects && !acceptor_objects)
    events_.after(there, [this, &to, to_life, accepted, joint] {
      if (joint->ends_[1].gone) return;
      const auto found = ports_.find(to.label());
      if (found == ports_.end() || found->second->life() != to_life) return;
      found->second->watch(accepted);
      to.enter(to_life, [&] { found->second->handler().on_channel(accepted); });
    });
  // One way more: whoever dials knows before anything that it sends can arrive.
  events_.after(there * 2, [=, &from, this] {
    from.enter(from_life, [&] {
      if (!*alive) {
        dialled->close("forgotten");
      } else if (joint->ends_[0].gone) {
        done(std::unexpected(DialFailure{DialFailure::Stage::connect,
                                         fmt::format("connect to {}: reset", request.host),
                                         {},
                                         {}}));
      } else if (dialler_objects) {
        const RefusalNotice notice{refusal_of(dialler_objects->reason),
                                   dialler_objects->words,
                                   request.tls->now(),
                                   {},
                                   request.tls->name(),
                                   true};
        coverage_.count("dialler refuses a certificate");
        done(std::unexpected(DialFailure{DialFailure::Stage::refused, dialler_objects->words,
                                         notice, dialled->peer().chain}));
      } else {
        done(dialled);
      }
    });
    if (dialler_objects) joint->cut("the dialler refused the certificate");
    if (!acceptor_objects || dialler_objects) return;
    coverage_.count("acceptor refuses a certificate");
    const RefusalNotice notice{
        refusal_of(acceptor_objects->reason), acceptor_objects->words, {}, {}, "", false};
    joint->put(1, {Joint::Item::Kind::refused, {}, notice, {}, false});
    joint->ends_[1].gone = true;
  });
}

}  // namespace postern::sim
