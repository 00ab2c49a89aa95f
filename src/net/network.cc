#include "net/network.h"

namespace postern {

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
