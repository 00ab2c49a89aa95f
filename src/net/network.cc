#include "net/network.h"

#include "net/http_client.h"

namespace postern {

void Network::ask(std::string, std::uint16_t, HttpRequest, Answered done) {
  done(fail(Errc::unavailable, "this network has no HTTP"));
}

SocketNetwork::~SocketNetwork() = default;

void SocketNetwork::ask(std::string host, std::uint16_t port, HttpRequest request, Answered done) {
  if (*asks_ >= kAsksMax)
    return loops_.core().post([done = std::move(done)] {
      done(fail(Errc::exhausted, "{} requests are under way already", kAsksMax));
    });
  ++*asks_;
  if (!asker_) asker_ = std::make_unique<ThreadWorker>("asker");
  asker_->post([&core = loops_.core(), asks = asks_, host = std::move(host), port,
                request = std::move(request), done = std::move(done)]() mutable {
    core.post([asks, done = std::move(done),
               response = http_over_unverified_tls(host, port, request, kAskMax)] {
      --*asks;
      done(response);
    });
  });
}

std::unique_ptr<Dialer> SocketNetwork::make_dialer() {
  return std::make_unique<SocketDialer>(loops_);
}

Result<std::unique_ptr<Port>> SocketNetwork::listen(std::shared_ptr<const TlsContext> tls,
                                                    PortHandler& handler, PortOptions options) {
  return SocketPort::listen(loops_, log_, std::move(tls), handler, std::move(options));
}

Result<std::shared_ptr<const TlsContext>> SocketNetwork::make_tls(
    std::optional<TlsCredential> credential, Anchors anchors, TlsContext::Options options) {
  return TlsContext::create(std::move(credential), std::move(anchors), std::move(options));
}

}  // namespace postern
