#pragma once

#include <memory>
#include <optional>

#include "base/log.h"
#include "net/dialer.h"
#include "net/loop.h"
#include "net/port.h"
#include "net/tls.h"

namespace postern {

/// Everything by which a node touches the network and OpenSSL's contexts. Used on the core loop;
/// outlives the dialers and ports it made.
///
/// An interface, so that a simulation can join nodes by channels of its own.
class Network {
 public:
  virtual ~Network() = default;
  virtual std::unique_ptr<Dialer> make_dialer() = 0;
  /// `handler` outlives the port.
  virtual Result<std::unique_ptr<Port>> listen(std::shared_ptr<const TlsContext> tls,
                                               PortHandler& handler, PortOptions options) = 0;
  /// For this network's dialers and ports; `invalid` as TlsContext::create() says.
  virtual Result<std::shared_ptr<const TlsContext>> make_tls(
      std::optional<TlsCredential> credential, Anchors anchors, TlsContext::Options options) = 0;
};

/// The real one. Ends before `loops` does, which `log` outlives.
class SocketNetwork final : public Network {
 public:
  SocketNetwork(Loops& loops, const Log& log) : loops_(loops), log_(log) {}

  std::unique_ptr<Dialer> make_dialer() override;
  Result<std::unique_ptr<Port>> listen(std::shared_ptr<const TlsContext> tls, PortHandler& handler,
                                       PortOptions options) override;
  Result<std::shared_ptr<const TlsContext>> make_tls(std::optional<TlsCredential> credential,
                                                     Anchors anchors,
                                                     TlsContext::Options options) override;

 private:
  Loops& loops_;
  const Log& log_;
};

}  // namespace postern
