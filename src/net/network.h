#pragma once

#include <memory>
#include <optional>

#include "base/log.h"
#include "base/worker.h"
#include "net/dialer.h"
#include "net/http.h"
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

  using Answered = std::function<void(Result<HttpResponse>)>;
  /// One request to whoever answers at `host`, over TLS that verifies nobody, see
  /// http_over_unverified_tls(). `done` is told on the core loop, later, unless the network ends
  /// first. Without an own implementation nobody answers.
  virtual void ask(std::string host, std::uint16_t port, HttpRequest request, Answered done);
};

/// The real one. Ends before `loops` does, which `log` outlives.
class SocketNetwork final : public Network {
 public:
  SocketNetwork(Loops& loops, const Log& log) : loops_(loops), log_(log) {}
  ~SocketNetwork() override;

  std::unique_ptr<Dialer> make_dialer() override;
  Result<std::unique_ptr<Port>> listen(std::shared_ptr<const TlsContext> tls, PortHandler& handler,
                                       PortOptions options) override;
  Result<std::shared_ptr<const TlsContext>> make_tls(std::optional<TlsCredential> credential,
                                                     Anchors anchors,
                                                     TlsContext::Options options) override;
  /// On a thread of its own, one after the other, each for at most kAskMax.
  void ask(std::string host, std::uint16_t port, HttpRequest request, Answered done) override;

 private:
  static constexpr Duration kAskMax = std::chrono::seconds(15);
  static constexpr std::size_t kAsksMax = 4;  // under way or waiting

  Loops& loops_;
  const Log& log_;
  std::shared_ptr<std::size_t> asks_ = std::make_shared<std::size_t>(0);  // the core's
  std::unique_ptr<Worker> asker_;                                         // once something is asked
};

}  // namespace postern
