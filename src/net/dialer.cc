#include "net/dialer.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "net/connection.h"
#include "net/handshake.h"
#include "net/socket.h"

namespace postern {
namespace {

using Addresses = std::vector<SocketAddress>;

/// Blocks; on a thread of its own.
Result<Addresses> resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0)
    return fail(Errc::unavailable, "resolve {}: {}", host,
                error == EAI_SYSTEM ? errno_text(errno) : std::string(::gai_strerror(error)));
  Addresses addresses;
  for (const addrinfo* each = found; each != nullptr && addresses.size() < kAddressesMax;
       each = each->ai_next) {
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    SocketAddress address;
    std::memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
    address.size = each->ai_addrlen;
    addresses.push_back(address);
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) return fail(Errc::unavailable, "resolve {}: it has no IP address", host);
  return addresses;
}

/// One attempt at one dial, on one loop: each address in turn, then the handshake, then judgement.
class Attempt final : public Loop::Watcher, public std::enable_shared_from_this<Attempt> {
 public:
  using Done = std::move_only_function<void(const DialResult&)>;

  Attempt(Loops& loops, DialRequest request, TimePoint until, Done done)
      : loops_(loops),
        loop_(loops.next()),
        request_(std::move(request)),
        until_(until),
        done_(std::move(done)) {}

  Loop& loop() { return loop_; }

  void start(Addresses addresses) {
    addresses_ = std::move(addresses);
    connect_next();
  }

  void give_up() {
    timer_.cancel();
    if (auto handshake = handshake_.lock()) handshake->abandon();
    drop_socket();
    done_ = nullptr;
  }

  void on_ready(bool, bool) override {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.number(), SOL_SOCKET, SO_ERROR, &error, &size);
    loop_.unwatch(socket_.number());
    watched_ = false;
    if (error != 0) return not_this_one(errno_text(error));
    shake_hands();
  }

 private:
  std::string where() const {
    const std::string address = addresses_[tried_ - 1].text();
    return address.starts_with(request_.host) || address.starts_with("[" + request_.host)
               ? (request_.name.empty() ? address : fmt::format("{} ({})", request_.name, address))
               : fmt::format("{} ({})", request_.host, address);
  }

  void drop_socket() {
    if (watched_) loop_.unwatch(socket_.number());
    watched_ = false;
    socket_.reset();
  }

  void connect_next() {
    // The time that is left, shared by the addresses that are left: one black hole must not use up
    // the turn of an address that answers.
    const TimePoint now = loop_.now();
    const auto left = static_cast<Duration::rep>(addresses_.size() - tried_);
    const SocketAddress& address = addresses_[tried_++];
    timer_ = loop_.after((until_ - now) / left, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->out_of_time();
    });
    socket_ = Descriptor(
        ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_) return not_this_one(errno_text(errno));
    prepare_channel_socket(socket_.number());
    if (::connect(socket_.number(), address.native(), address.size) == 0) return shake_hands();
    if (errno != EINPROGRESS) return not_this_one(errno_text(errno));
    loop_.watch(socket_.number(), false, true, shared_from_this());
    watched_ = true;
  }

  void not_this_one(const std::string& why) {
    drop_socket();
    std::string words = fmt::format("connect to {}: {}", where(), why);
    if (tried_ < addresses_.size() && loop_.now() < until_) return connect_next();
    if (tried_ > 1) words += fmt::format("; the last of {} addresses", tried_);
    finish(DialFailure::Stage::connect, std::move(words));
  }

  void out_of_time() {
    auto handshake = handshake_.lock();
    if (!handshake)
      return not_this_one("no answer in time; is a firewall in between, or the machine off?");
    // Before it goes: it may hold the last share of us.
    const auto self = shared_from_this();
    handshake->abandon();
    finish(DialFailure::Stage::tls,
           fmt::format("TLS handshake with {}: no answer in time", where()));
  }

  void shake_hands() {
    timer_ = loop_.after(until_ - loop_.now(), [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->out_of_time();
    });
    auto handshake = std::make_shared<Handshake>(
        loop_, TlsStream::dialling(std::move(socket_), *request_.tls, request_.name),
        [self = shared_from_this()](std::unique_ptr<TlsStream> stream, IoOutcome outcome) {
          self->timer_.cancel();
          self->shaken(std::move(stream), outcome);
        });
    handshake_ = handshake;
    handshake->start();
  }

  void shaken(std::unique_ptr<TlsStream> stream, const IoOutcome& outcome) {
    if (outcome.kind != IoOutcome::Kind::done)
      return finish(DialFailure::Stage::tls,
                    fmt::format("TLS handshake with {}: {}", where(), explain(*stream, outcome)));
    if (stream->protocol() != kAlpnChannel)
      return finish(DialFailure::Stage::tls,
                    fmt::format("TLS handshake with {}: it does not speak {}; is this the port of "
                                "a gateway or server?",
                                where(), kAlpnChannel));
    Judgement judgement =
        judge(*stream, *request_.tls, addresses_[tried_ - 1].text(), request_.name);
    auto objection = judgement.objection;
    auto chain = judgement.peer.chain;
    auto connection = std::make_shared<Connection>(
        Connection::Origin{loops_, loop_, loops_.new_id(), std::move(judgement.peer), request_.tls,
                           nullptr, nullptr},
        std::move(stream));
    if (objection) {
      connection->turn_away(*objection);
      // Named first: in one call the objection could be moved from before it is read.
      std::string words = fmt::format("{} answered, but we refuse it ({}): {}", where(),
                                      wire::to_string(objection->reason), objection->words);
      return finish(DialFailure::Stage::refused, std::move(words), std::move(objection),
                    std::move(chain));
    }
    report(connection);
    connection->open_for_messages();
  }

  static std::string explain(const TlsStream& stream, const IoOutcome& outcome) {
    if (stream.handshake_failure() == TlsStream::Failure::not_tls)
      return "what answers does not speak TLS; is another program on this port?";
    if (stream.handshake_failure() == TlsStream::Failure::no_protocol)
      return fmt::format("it does not speak {}; is this the port of a gateway or server?",
                         kAlpnChannel);
    return outcome.words;
  }

  void finish(DialFailure::Stage stage, std::string words,
              std::optional<RefusalNotice> refusal = {}, std::vector<Certificate> chain = {}) {
    timer_.cancel();
    report(std::unexpected(
        DialFailure{stage, std::move(words), std::move(refusal), std::move(chain)}));
  }

  void report(DialResult result) {
    if (!done_) return;
    loops_.core().post([done = std::exchange(done_, nullptr),
                        result = std::move(result)]() mutable { done(result); });
  }

  Loops& loops_;
  Loop& loop_;
  const DialRequest request_;
  const TimePoint until_;
  Done done_;
  Addresses addresses_;
  std::size_t tried_ = 0;  // the one under way is the last of them
  Descriptor socket_;      // until the handshake takes it
  bool watched_ = false;
  std::weak_ptr<Handshake> handshake_;  // it holds us, and its loop holds it
  Loop::Timer timer_;
};

/// What resolving threads share with their dialer. A name server may keep a thread for longer than
/// the process wants to live, so nobody waits for them: they find out here that they are forgotten.
struct Resolving {
  std::mutex mutex;
  bool forgotten = false;
  std::size_t running = 0;
};

}  // namespace

const char* to_string(DialFailure::Stage stage) {
  switch (stage) {
    case DialFailure::Stage::resolve:
      return "resolve";
    case DialFailure::Stage::connect:
      return "connect";
    case DialFailure::Stage::tls:
      return "tls";
    case DialFailure::Stage::refused:
      return "refused";
  }
  return "unknown";
}

class SocketDialer::Parts final : public std::enable_shared_from_this<Parts> {
 public:
  explicit Parts(Loops& loops) : loops_(loops) {}

  void dial(DialRequest request, std::function<void(const DialResult&)> done) {
    const std::uint64_t id = ++last_id_;
    Dial& dial = dials_[id];
    dial.done = std::move(done);
    const TimePoint until = loops_.core().now() + request.timeout;
    const std::string host = request.host;
    const std::uint16_t port = request.port;
    dial.attempt = std::make_shared<Attempt>(
        loops_, std::move(request), until, [weak = weak_from_this(), id](const DialResult& result) {
          if (auto parts = weak.lock())
            parts->finish(id, result);
          else if (result)
            (*result)->close("nobody waits for this connection any more");
        });
    if (const auto address = SocketAddress::parse(host, port)) return go_on(id, {*address});
    dial.resolving =
        loops_.core().after(until - loops_.core().now(), [weak = weak_from_this(), id, host] {
          if (auto parts = weak.lock())
            parts->unresolved(
                id, fmt::format("resolve {}: the name servers do not answer in time", host));
        });
    ask(id, host, port);
  }

  void forget_all() {
    {
      const std::lock_guard lock(resolving_->mutex);
      resolving_->forgotten = true;
    }
    for (auto& [id, dial] : dials_) {
      Loop& loop = dial.attempt->loop();
      loop.post([attempt = dial.attempt] { attempt->give_up(); });
    }
    dials_.clear();
  }

 private:
  struct Dial {
    std::function<void(const DialResult&)> done;
    std::shared_ptr<Attempt> attempt;
    Loop::Timer resolving;
  };

  void ask(std::uint64_t id, const std::string& host, std::uint16_t port) {
    {
      const std::lock_guard lock(resolving_->mutex);
      if (resolving_->running >= kResolvesMax) {
        loops_.core().post([weak = weak_from_this(), id, host] {
          if (auto parts = weak.lock())
            parts->unresolved(
                id,
                fmt::format(
                    "resolve {}: {} names are being asked for already; do the name servers answer?",
                    host, kResolvesMax));
        });
        return;
      }
      ++resolving_->running;
    }
    std::thread([shared = resolving_, weak = weak_from_this(), &core = loops_.core(), id, host,
                 port] {
      auto addresses = resolve(host, port);
      const std::lock_guard lock(shared->mutex);
      --shared->running;
      if (shared->forgotten) return;  // the core loop may be gone
      core.post([weak, id, addresses = std::move(addresses)]() mutable {
        if (auto parts = weak.lock()) parts->resolved(id, std::move(addresses));
      });
    }).detach();
  }

  void resolved(std::uint64_t id, Result<Addresses> addresses) {
    if (!addresses) return unresolved(id, addresses.error().message);
    go_on(id, std::move(*addresses));
  }

  void unresolved(std::uint64_t id, std::string words) {
    finish(id, std::unexpected(DialFailure{DialFailure::Stage::resolve, std::move(words), {}, {}}));
  }

  void go_on(std::uint64_t id, Addresses addresses) {
    const auto dial = dials_.find(id);
    if (dial == dials_.end()) return;
    dial->second.resolving.cancel();
    auto attempt = dial->second.attempt;
    attempt->loop().post([attempt, addresses = std::move(addresses)]() mutable {
      attempt->start(std::move(addresses));
    });
  }

  void finish(std::uint64_t id, const DialResult& result) {
    auto dial = dials_.extract(id);
    if (dial) dial.mapped().done(result);
  }

  Loops& loops_;
  std::map<std::uint64_t, Dial> dials_;
  std::uint64_t last_id_ = 0;
  const std::shared_ptr<Resolving> resolving_ =
      std::make_shared<Resolving>();  // shared with threads
};

SocketDialer::SocketDialer(Loops& loops) : parts_(std::make_shared<Parts>(loops)) {}
SocketDialer::~SocketDialer() { parts_->forget_all(); }
void SocketDialer::dial(DialRequest request, std::function<void(const DialResult&)> done) {
  parts_->dial(std::move(request), std::move(done));
}

}  // namespace postern
