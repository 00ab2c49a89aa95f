#include "net/port.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mutex>

#include "base/invariant.h"
#include "net/connection.h"
#include "net/gate.h"
#include "net/handshake.h"
#include "net/http_connection.h"

namespace postern {
namespace {

constexpr int kBacklog = 65'535;  // the kernel caps it at net.core.somaxconn

std::size_t connections_max(std::size_t reserved) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  return limit.rlim_cur > 2 * reserved ? limit.rlim_cur - reserved : limit.rlim_cur / 2;
}

Result<Descriptor> listening_socket(const SocketAddress& address) {
  Descriptor listener(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1, off = 0;
  if (listener) {
    ::setsockopt(listener.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.storage.ss_family == AF_INET6)
      ::setsockopt(listener.number(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (::bind(listener.number(), address.native(), address.size) == 0 &&
        ::listen(listener.number(), kBacklog) == 0)
      return listener;
  }
  const int why = errno;
  std::string fix;
  if (why == EADDRINUSE) fix = "; another process has this port: stop it or choose another port";
  if (why == EACCES) fix = "; ports below 1024 need CAP_NET_BIND_SERVICE";
  if (why == EADDRNOTAVAIL) fix = "; no interface of this machine has this address";
  return fail(why == EACCES ? Errc::denied : Errc::unavailable, "listening on {}: {}{}",
              address.text(), errno_text(why), fix);
}

}  // namespace

class SocketPort::Parts final : public std::enable_shared_from_this<Parts> {
 public:
  Parts(Loops& loops_in, PortHandler& handler, std::shared_ptr<const TlsContext> tls)
      : loops(loops_in), gate_loop(loops_in.at(0)), handler_(&handler), tls_(std::move(tls)) {}

  Loops& loops;
  Loop& gate_loop;
  std::uint16_t port = 0;
  int listener = -1;  // the gate's
  const std::shared_ptr<AtomicPortCounters> counters = std::make_shared<AtomicPortCounters>();
  std::shared_ptr<Gate> gate;

  void set_tls(std::shared_ptr<const TlsContext> tls) {
    const std::lock_guard lock(tls_mutex_);
    tls_ = std::move(tls);
  }
  void forget_handler() { handler_ = nullptr; }

  /// On the gate's loop: a handshake begins on the next loop.
  Gate::Cut begin(std::uint64_t id, Descriptor descriptor, const SocketAddress& address,
                  std::shared_ptr<void> ticket) {
    Loop& loop = loops.next();
    const auto tls = current_tls();
    auto done = [parts = shared_from_this(), id, address, tls, &loop, ticket = std::move(ticket)](
                    std::unique_ptr<TlsStream> stream, IoOutcome outcome) mutable {
      parts->shaken({id, address, tls, &loop, std::move(ticket)}, std::move(stream), outcome);
    };
    auto handshake = std::make_shared<Handshake>(
        loop, TlsStream::accepting(std::move(descriptor), *tls), std::move(done));
    loop.post([handshake] { handshake->start(); });
    return [&loop, weak = std::weak_ptr(handshake)](wire::Refusal, std::string) {
      loop.post([weak] {
        if (auto alive = weak.lock()) alive->abandon();
      });
    };
  }

 private:
  struct Guest {
    std::uint64_t id;
    SocketAddress address;
    std::shared_ptr<const TlsContext> tls;
    Loop* loop;
    std::shared_ptr<void> ticket;
  };

  std::shared_ptr<const TlsContext> current_tls() {
    const std::lock_guard lock(tls_mutex_);
    return tls_;
  }

  /// On the guest's loop, like all that follows but where posted.
  void shaken(Guest guest, std::unique_ptr<TlsStream> stream, const IoOutcome& outcome) {
    if (outcome.kind != IoOutcome::Kind::done) return failed(guest, *stream, outcome);
    if (stream->protocol() == kAlpnHttp) return serve(std::move(guest), std::move(stream));
    Judgement judgement = judge(*stream, *guest.tls, guest.address.text(), std::nullopt);
    if (judgement.objection)
      return turn_away(std::move(guest), std::move(stream), std::move(judgement));
    welcome(std::move(guest), std::move(stream), std::move(judgement.peer));
  }

  void failed(const Guest& guest, const TlsStream& stream, const IoOutcome& outcome) {
    switch (stream.handshake_failure()) {
      case TlsStream::Failure::not_tls:
        counters->not_tls++;
        break;
      case TlsStream::Failure::no_protocol:
        counters->no_protocol++;
        break;
      case TlsStream::Failure::hung_up:
        counters->half_handshake++;
        break;
      case TlsStream::Failure::none:
      case TlsStream::Failure::other:
        counters->handshakes_failed++;
        break;
    }
    gate_loop.post([gate = gate, line = fmt::format("{}: closed: {}", guest.address.text(),
                                                    outcome.words)] { gate->note(line); });
  }

  void serve(Guest guest, std::unique_ptr<TlsStream> stream) {
    HttpHandler handler = [parts = shared_from_this()](HttpRequest request, Respond respond) {
      parts->counters->http_requests++;
      if (parts->handler_ != nullptr)
        parts->handler_->on_http(std::move(request), std::move(respond));
      else
        respond(HttpResponse{.status = 503,
                             .content_type = "text/plain; charset=utf-8",
                             .body = "stopping\n",
                             .headers = {}});
    };
    HttpConnection::Origin origin{.loop = *guest.loop,
                                  .core = loops.core(),
                                  .handler = std::move(handler),
                                  .address = guest.address.text(),
                                  .loopback = guest.address.loopback(),
                                  .unix_peer = std::nullopt,
                                  .ticket = std::move(guest.ticket)};
    auto connection = std::make_shared<HttpConnection>(std::move(origin), std::move(stream));
    connection->start();
    meet(
        guest.id,
        [loop = guest.loop, weak = std::weak_ptr(connection)](wire::Refusal, std::string) {
          loop->post([weak] {
            if (auto alive = weak.lock()) alive->end();
          });
        },
        false);  // it has deadlines of its own
  }

  void turn_away(Guest guest, std::unique_ptr<TlsStream> stream, Judgement judgement) {
    of_code(counters->refused, judgement.objection->reason)++;
    RefusedPeer refused{judgement.peer.address, judgement.peer.chain, *judgement.objection};
    auto connection = connect(std::move(guest), std::move(stream), std::move(judgement.peer));
    connection->turn_away(refused.notice);
    loops.core().post([parts = shared_from_this(), refused = std::move(refused)] {
      if (parts->handler_ != nullptr) parts->handler_->on_refused(refused);
    });
  }

  void welcome(Guest guest, std::unique_ptr<TlsStream> stream, ChannelPeer peer) {
    counters->channels++;
    const std::uint64_t id = guest.id;
    auto connection = connect(std::move(guest), std::move(stream), std::move(peer));
    // The gate first: what the core says about this guest must find it met.
    meet(
        id,
        [&core = loops.core(), weak = std::weak_ptr<Channel>(connection)](wire::Refusal reason,
                                                                          std::string words) {
          core.post([weak, reason, words = std::move(words)] {
            if (auto alive = weak.lock()) alive->refuse(reason, words, std::chrono::seconds(5));
          });
        },
        true);
    loops.core().post([parts = shared_from_this(), connection] {
      if (parts->handler_ != nullptr)
        parts->handler_->on_channel(connection);
      else
        connection->close("the port is closed");
    });
    connection->open_for_messages();
  }

  std::shared_ptr<Connection> connect(Guest guest, std::unique_ptr<TlsStream> stream,
                                      ChannelPeer peer) {
    return std::make_shared<Connection>(
        Connection::Origin{loops, *guest.loop, guest.id, std::move(peer), std::move(guest.tls),
                           counters, std::move(guest.ticket)},
        std::move(stream));
  }

  void meet(std::uint64_t id, Gate::Cut cut, bool has_deadline) {
    gate_loop.post([gate = gate, id, cut = std::move(cut), has_deadline] {
      gate->met(id, cut, has_deadline);
    });
  }

  PortHandler* handler_;  // core; null once the port has ended
  std::mutex tls_mutex_;  // the core sets, every loop's handshakes take
  std::shared_ptr<const TlsContext> tls_;
};

Result<std::unique_ptr<Port>> SocketPort::listen(Loops& loops, const Log& log,
                                                 std::shared_ptr<const TlsContext> tls,
                                                 PortHandler& handler, PortOptions options) {
  invariant(tls != nullptr && tls->for_accepting() != nullptr, "a port has a credential");
  const auto address = SocketAddress::parse(options.address, options.port);
  if (!address)
    return fail(Errc::invalid, "the address to listen on is '{}', must be an IP address",
                options.address);
  auto listener = listening_socket(*address);
  if (!listener) return std::unexpected(listener.error());

  SocketAddress bound;
  bound.size = sizeof bound.storage;
  ::getsockname(listener->number(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.size);
  auto parts = std::make_shared<Parts>(loops, handler, std::move(tls));
  parts->port = bound.port();
  parts->listener = listener->number();
  const std::size_t reserved = options.descriptors_reserved;
  parts->gate =
      std::make_shared<Gate>(loops, parts->gate_loop, log, std::move(options), std::move(*listener),
                             parts->counters, connections_max(reserved));
  // Weak: the gate is one of the parts.
  parts->gate->set_begin([weak = std::weak_ptr(parts)](std::uint64_t id, Descriptor descriptor,
                                                       SocketAddress from,
                                                       std::shared_ptr<void> ticket) -> Gate::Cut {
    auto alive = weak.lock();
    return alive ? alive->begin(id, std::move(descriptor), from, std::move(ticket)) : Gate::Cut();
  });
  parts->gate_loop.post([gate = parts->gate] { gate->start(); });
  return std::unique_ptr<Port>(new SocketPort(std::move(parts)));
}

SocketPort::SocketPort(std::shared_ptr<Parts> parts) : parts_(std::move(parts)) {}

SocketPort::~SocketPort() {
  parts_->forget_handler();
  parts_->gate->close();
  ::shutdown(parts_->listener, SHUT_RDWR);  // at once; the gate closes it on its own loop
  parts_->gate_loop.post([parts = parts_] { parts->gate->stop(); });
}

std::uint16_t SocketPort::port() const { return parts_->port; }
void SocketPort::set_tls(std::shared_ptr<const TlsContext> tls) {
  invariant(tls != nullptr && tls->for_accepting() != nullptr, "a port has a credential");
  parts_->set_tls(std::move(tls));
}

void SocketPort::authenticated(const Channel& channel) {
  parts_->gate_loop.post([gate = parts_->gate, id = channel.id()] { gate->authenticated(id); });
}

void SocketPort::extend(const Channel& channel, Duration from_now) {
  parts_->gate_loop.post([gate = parts_->gate, id = channel.id(),
                          until = parts_->gate_loop.now() + from_now] { gate->extend(id, until); });
}

PortCounters SocketPort::counters() const {
  const AtomicPortCounters& now = *parts_->counters;
  PortCounters copy;
  copy.accepted = now.accepted;
  copy.channels = now.channels;
  copy.authenticated = now.authenticated;
  copy.rate_limited = now.rate_limited;
  copy.full = now.full;
  copy.evicted = now.evicted;
  copy.silent = now.silent;
  copy.half_handshake = now.half_handshake;
  copy.late = now.late;
  copy.not_tls = now.not_tls;
  copy.no_protocol = now.no_protocol;
  copy.handshakes_failed = now.handshakes_failed;
  copy.garbage = now.garbage;
  copy.http_requests = now.http_requests;
  copy.unauthenticated_now = now.unauthenticated_now;
  copy.handshakes_now = now.handshakes_now;
  for (std::size_t i = 0; i < kRefusalCodes; ++i) {
    copy.refused[i] = now.refused[i];
    copy.refused_by_peer[i] = now.refused_by_peer[i];
  }
  return copy;
}

}  // namespace postern
