#include "net/http_client.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>

#include "net/http_response.h"
#include "net/socket.h"
#include "net/stream.h"

namespace postern {
namespace {

/// Waits until the descriptor is ready or the time is over.
Result<> wait(int descriptor, short events, TimePoint until, const std::string& whom) {
  const SystemClock clock;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock.now()).count();
    pollfd waiting{descriptor, events, 0};
    const int ready = left <= 0 ? 0 : ::poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return {};
    if (ready == 0)
      return fail(Errc::unavailable, "{} does not answer in time; is it busy or stopped?", whom);
    if (errno != EINTR)
      return fail(Errc::unavailable, "waiting for {}: {}", whom, errno_text(errno));
  }
}

Result<Descriptor> connect_unix(const std::filesystem::path& path, TimePoint until) {
  const auto address = unix_address(path);
  if (!address) return std::unexpected(address.error());
  Descriptor descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!descriptor) return fail(Errc::exhausted, "a socket: {}", errno_text(errno));
  while (::connect(descriptor.number(), reinterpret_cast<const sockaddr*>(&*address),
                   sizeof *address) != 0) {
    if (errno == EAGAIN) {  // its queue is full, and a Unix socket cannot be polled for room in it
      pollfd none{-1, 0, 0};
      ::poll(&none, 1, 20);
      if (SystemClock().now() < until) continue;
      return fail(Errc::unavailable, "{} takes no more connections; try again later",
                  path.native());
    }
    if (errno == EACCES || errno == EPERM)
      return fail(Errc::denied,
                  "{}: permission denied; it is open to root and to the socket's group",
                  path.native());
    if (errno == ENOENT || errno == ECONNREFUSED)
      return fail(Errc::unavailable, "nobody listens on {}; is the service running?",
                  path.native());
    return fail(Errc::unavailable, "connecting to {}: {}", path.native(), errno_text(errno));
  }
  return descriptor;
}

std::string text_of(const HttpRequest& request, const std::string& host) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
                                 request.method, request.target, host);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT" ||
      request.method == "PATCH")
    text += fmt::format("Content-Length: {}\r\n", request.body.size());
  for (const auto& [name, value] : request.headers) text += fmt::format("{}: {}\r\n", name, value);
  return text + "\r\n" + request.body;
}

/// Sends the request and reads the answer; `whom` for messages.
Result<HttpResponse> exchange(Stream& stream, const std::string& text, bool is_head,
                              const std::string& whom, TimePoint until) {
  for (std::size_t sent = 0; sent < text.size();) {
    const IoOutcome outcome = stream.write(as_bytes(std::string_view(text).substr(sent)));
    sent += outcome.bytes;
    if (outcome.kind == IoOutcome::Kind::want_write) {
      if (auto ready = wait(stream.descriptor(), POLLOUT, until, whom); !ready)
        return std::unexpected(ready.error());
    } else if (outcome.kind != IoOutcome::Kind::done) {
      break;  // it may have answered before it hung up
    }
  }

  HttpResponseReader reader(is_head);
  Bytes piece(64u << 10);
  for (bool whole = false; !whole;) {
    const IoOutcome outcome = stream.read(piece);
    if (outcome.kind == IoOutcome::Kind::want_read) {
      if (auto ready = wait(stream.descriptor(), POLLIN, until, whom); !ready)
        return std::unexpected(ready.error());
      continue;
    }
    Result<bool> done = true;
    if (outcome.kind == IoOutcome::Kind::done)
      done = reader.put(as_text(ByteView(piece).first(outcome.bytes)));
    else if (auto ended = reader.end(); !ended)
      done = std::unexpected(ended.error());
    if (!done)
      return fail(Errc::unavailable, "{} sent no proper answer: {}", whom, done.error().message);
    whole = *done;
  }
  return reader.take();
}

/// The first address that takes the connection.
Result<Descriptor> connect_tcp(const std::string& host, std::uint16_t port, TimePoint until) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0)
    return fail(Errc::unavailable, "the name {} is not found: {}", host, ::gai_strerror(failed));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, ::freeaddrinfo);
  std::string why = "it has no address";
  for (const addrinfo* one = all.get(); one != nullptr; one = one->ai_next) {
    Descriptor descriptor(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!descriptor) return fail(Errc::exhausted, "a socket: {}", errno_text(errno));
    int error = 0;
    socklen_t size = sizeof error;
    if (::connect(descriptor.number(), one->ai_addr, one->ai_addrlen) != 0) {
      if (errno != EINPROGRESS) {
        why = errno_text(errno);
        continue;
      }
      if (auto ready = wait(descriptor.number(), POLLOUT, until, host); !ready)
        return std::unexpected(ready.error());
      ::getsockopt(descriptor.number(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) return descriptor;
    why = errno_text(error);
  }
  return fail(Errc::unavailable, "connecting to {} port {}: {}", host, port, why);
}

Result<> shake_hands(TlsStream& stream, const std::string& whom, TimePoint until) {
  for (;;) {
    const IoOutcome outcome = stream.handshake();
    if (outcome.kind == IoOutcome::Kind::done) return {};
    const bool reads = outcome.kind == IoOutcome::Kind::want_read;
    if (!reads && outcome.kind != IoOutcome::Kind::want_write)
      return fail(Errc::unavailable, "the TLS handshake with {} failed: {}", whom, outcome.words);
    if (auto ready = wait(stream.descriptor(), reads ? POLLIN : POLLOUT, until, whom); !ready)
      return ready;
  }
}

}  // namespace

Result<HttpResponse> http_over_unix(const std::filesystem::path& path, const HttpRequest& request,
                                    Duration timeout) {
  const TimePoint until = SystemClock().now() + timeout;
  auto connected = connect_unix(path, until);
  if (!connected) return std::unexpected(connected.error());
  PlainStream stream(std::move(*connected));
  return exchange(stream, text_of(request, "localhost"), request.method == "HEAD", path.native(),
                  until);
}

namespace {

/// `name`: whom the certificate must name and lead to `anchors` for; nothing: nobody is verified.
Result<HttpResponse> over_tls(const std::optional<std::string>& name, const std::string& dial,
                              std::uint16_t port, const Anchors& anchors,
                              const HttpRequest& request, Duration timeout) {
  const TimePoint until = SystemClock().now() + timeout;
  TlsContext::Options options;
  options.now = [] { return SystemClock().wall(); };
  options.dials_http = true;
  auto context = TlsContext::create(std::nullopt, anchors, std::move(options));
  if (!context) return std::unexpected(context.error());
  auto connected = connect_tcp(dial, port, until);
  if (!connected) return std::unexpected(connected.error());
  auto stream = TlsStream::dialling(std::move(*connected), **context, name.value_or(dial));
  const std::string whom = fmt::format("{}:{}", name.value_or(dial), port);
  if (auto shaken = shake_hands(*stream, whom, until); !shaken)
    return std::unexpected(shaken.error());
  if (name) {
    // Before a single byte of ours, which has the token in it.
    auto chain = stream->chain();
    if (!chain) return std::unexpected(chain.error());
    if (const auto wrong = (*context)->objection(*chain, *name))
      return fail(Errc::denied, "{} is not believed: {} ({})", whom, wrong->words,
                  to_string(wrong->reason));
  }
  return exchange(*stream, text_of(request, whom), request.method == "HEAD", whom, until);
}

}  // namespace

Result<HttpResponse> http_over_tls(const std::string& name, const std::string& dial,
                                   std::uint16_t port, const Anchors& anchors,
                                   const HttpRequest& request, Duration timeout) {
  return over_tls(name, dial, port, anchors, request, timeout);
}

Result<HttpResponse> http_over_unverified_tls(const std::string& dial, std::uint16_t port,
                                              const HttpRequest& request, Duration timeout) {
  return over_tls(std::nullopt, dial, port, Anchors(), request, timeout);
}

}  // namespace postern
