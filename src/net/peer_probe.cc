#include "net/peer_probe.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "net/handshake.h"
#include "net/socket.h"
#include "net/stream.h"

namespace postern {
namespace {

using Trouble = PeerProbe::Trouble;

constexpr std::string_view kHttp = "HTTP/";
constexpr std::string_view kHttpQuestion = "GET / HTTP/1.0\r\n\r\n";

/// False when the time is over.
bool wait_for(int descriptor, short events, TimePoint until) {
  const SystemClock clock;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock.now()).count();
    pollfd waiting{descriptor, events, 0};
    const int ready = left <= 0 ? 0 : ::poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

Trouble trouble_of_errno(int number) {
  switch (number) {
    case ECONNREFUSED:
      return Trouble::refused;
    case ETIMEDOUT:
      return Trouble::timed_out;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
      return Trouble::unreachable;
    default:
      return Trouble::failed;
  }
}

/// One probe under way.
class Attempt {
 public:
  explicit Attempt(const ProbeRequest& request) : request_(request) {}

  PeerProbe run() {
    const TimePoint begun = clock_.now();
    auto socket = connect();
    if (!socket) return std::move(probe_);
    const Duration patience = std::min(request_.timeout, 4 * (clock_.now() - begun));
    if (!shake_hands(std::move(*socket))) return std::move(probe_);
    converse(std::max(request_.quiet, patience));
    stream_->end_writing();
    return std::move(probe_);
  }

 private:
  std::nullopt_t trouble(Trouble kind, std::string words) {
    probe_.trouble = kind;
    probe_.words = std::move(words);
    return std::nullopt;
  }

  std::optional<Descriptor> connect() {
    const auto address = SocketAddress::parse(request_.address, request_.port);
    if (!address) return trouble(Trouble::failed, request_.address + " is no IP address");
    probe_.where = address->text();
    Descriptor socket(
        ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) return trouble(Trouble::failed, errno_text(errno));
    prepare_channel_socket(socket.number());
    int error = 0;
    if (::connect(socket.number(), address->native(), address->size) != 0) {
      error = errno;
      if (error == EINPROGRESS) {
        if (!wait_for(socket.number(), POLLOUT, clock_.now() + request_.timeout))
          return trouble(Trouble::timed_out, "no answer in time");
        socklen_t size = sizeof error;
        ::getsockopt(socket.number(), SOL_SOCKET, SO_ERROR, &error, &size);
      }
    }
    if (error != 0) return trouble(trouble_of_errno(error), errno_text(error));
    return socket;
  }

  /// What has not answered in TLS is asked again in plain HTTP, on a connection of its own.
  bool answers_http() {
    stream_.reset();  // whoever serves one at a time must be free
    auto socket = connect();
    if (!socket) return false;
    const TimePoint until = clock_.now() + request_.timeout;
    PlainStream stream(std::move(*socket));
    if (stream.write(as_bytes(kHttpQuestion)).kind != IoOutcome::Kind::done) return false;
    std::string answer;
    Bytes piece(kHttp.size());
    while (answer.size() < kHttp.size() && wait_for(stream.descriptor(), POLLIN, until)) {
      const IoOutcome outcome = stream.read(piece);
      if (outcome.kind == IoOutcome::Kind::want_read) continue;
      if (outcome.kind != IoOutcome::Kind::done) break;
      answer += as_text(ByteView(piece).first(outcome.bytes));
    }
    return answer.starts_with(kHttp);
  }

  bool shake_hands(Descriptor socket) {
    stream_ = TlsStream::dialling(std::move(socket), *request_.tls, request_.name);
    const TimePoint until = clock_.now() + request_.timeout;
    for (;;) {
      const IoOutcome outcome = stream_->handshake();
      if (outcome.kind == IoOutcome::Kind::done) break;
      const bool reads = outcome.kind == IoOutcome::Kind::want_read;
      if (!reads && outcome.kind != IoOutcome::Kind::want_write) {
        handshake_failed(outcome);
        return false;
      }
      if (!wait_for(stream_->descriptor(), reads ? POLLIN : POLLOUT, until)) {
        trouble(Trouble::silent, "no answer in time");
        return false;
      }
    }
    probe_.shaken = true;
    Judgement judgement = judge(*stream_, *request_.tls, probe_.where, request_.name);
    probe_.peer = std::move(judgement.peer);
    probe_.objection = std::move(judgement.objection);
    find_out();
    if (stream_->protocol() == kAlpnChannel) return true;
    trouble(Trouble::no_protocol, fmt::format("it does not agree on {}", kAlpnChannel));
    return false;
  }

  /// What stands behind the objection.
  void find_out() {
    if (!probe_.objection) return;
    if (probe_.objection->reason == wire::Refusal::malformed && probe_.peer.chain.empty())
      probe_.finding = Finding{Reason::malformed, "form", false, probe_.objection->words};
    else
      probe_.finding = request_.tls->objection(probe_.peer.chain, request_.name);
    // A certificate whose time came between the two looks.
    if (!probe_.finding) probe_.objection.reset();
  }

  void handshake_failed(const IoOutcome& outcome) {
    const bool version = outcome.words.find("protocol version") != std::string::npos ||
                         outcome.words.find("unsupported protocol") != std::string::npos;
    switch (stream_->handshake_failure()) {
      case TlsStream::Failure::hung_up:
        trouble(Trouble::hung_up, outcome.words);
        return;
      case TlsStream::Failure::not_tls:
        if (answers_http())
          trouble(Trouble::http, "it answers in HTTP");
        else
          trouble(Trouble::not_tls, outcome.words);
        return;
      case TlsStream::Failure::no_protocol:
        trouble(Trouble::no_protocol, fmt::format("it does not agree on {}", kAlpnChannel));
        return;
      case TlsStream::Failure::none:
      case TlsStream::Failure::other:
        trouble(version ? Trouble::tls_version : Trouble::tls_failed, outcome.words);
        return;
    }
  }

  void converse(Duration quiet) {
    // A peer that objects to us says so at once, whatever we have to say (W3).
    listen(clock_.now() + quiet);
    if (probe_.refused || !probe_.ended.empty()) return;
    if (probe_.objection) {
      say(wire::make_message(wire::Type::refused, encode_refused(*probe_.objection)));
      return;
    }
    if (!request_.first_words) return;
    auto words = request_.first_words(probe_.peer);
    if (!words) return;
    say(std::move(*words));
    listen(clock_.now() + request_.answer_timeout);
  }

  void say(wire::Message message) {
    wire::FrameWriter writer;
    writer.queue(std::move(message));
    Bytes out;
    while (writer.next_frame(out)) {
    }
    const TimePoint until = clock_.now() + request_.timeout;
    for (ByteView left = out; !left.empty();) {
      const IoOutcome outcome = stream_->write(left);
      left = left.subspan(outcome.bytes);
      const bool blocked =
          outcome.kind == IoOutcome::Kind::want_write || outcome.kind == IoOutcome::Kind::want_read;
      if (outcome.kind == IoOutcome::Kind::done) continue;
      const short events = outcome.kind == IoOutcome::Kind::want_read ? POLLIN : POLLOUT;
      if (!blocked || !wait_for(stream_->descriptor(), events, until)) return;
    }
  }

  /// Until a message came, the peer ended it, or the time is over.
  void listen(TimePoint until) {
    Bytes piece(16u << 10);
    for (;;) {
      const IoOutcome outcome = stream_->read(piece);
      if (outcome.kind == IoOutcome::Kind::want_read ||
          outcome.kind == IoOutcome::Kind::want_write) {
        const short events = outcome.kind == IoOutcome::Kind::want_read ? POLLIN : POLLOUT;
        if (!wait_for(stream_->descriptor(), events, until)) return;
        continue;
      }
      if (outcome.kind != IoOutcome::Kind::done) {
        probe_.ended = outcome.words;
        return;
      }
      if (auto fed = reader_.feed(ByteView(piece).first(outcome.bytes)); !fed) {
        probe_.ended = "it sent what is no frame: " + fed.error().message;
        return;
      }
      if (auto message = reader_.next()) {
        take(std::move(*message));
        return;
      }
    }
  }

  void take(wire::Message message) {
    if (message.type != wire::Type::refused) {
      probe_.answer = std::move(message);
      return;
    }
    auto notice = decode_refused(message.bytes());
    if (notice)
      probe_.refused = std::move(*notice);
    else
      probe_.ended = notice.error().message;
  }

  const ProbeRequest& request_;
  const SystemClock clock_;
  PeerProbe probe_;
  std::unique_ptr<TlsStream> stream_;
  wire::FrameReader reader_;
};

}  // namespace

PeerProbe probe_peer(const ProbeRequest& request) { return Attempt(request).run(); }

std::optional<bool> somebody_listens(const std::filesystem::path& path) {
  const auto address = unix_address(path);
  if (!address) return std::nullopt;
  Descriptor descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!descriptor) return std::nullopt;
  if (::connect(descriptor.number(), reinterpret_cast<const sockaddr*>(&*address),
                sizeof *address) == 0 ||
      errno == EAGAIN)  // its queue is full
    return true;
  if (errno == ENOENT || errno == ECONNREFUSED) return false;
  return std::nullopt;
}

}  // namespace postern
