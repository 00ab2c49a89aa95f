#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "net/channel.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/tls.h"

namespace postern {

inline constexpr std::size_t kRefusalCodes = 32;  // codes 0 to 31; higher ones count as 0

/// Somebody whose certificate we did not accept: `refused` was sent, the connection closes.
struct RefusedPeer {
  std::string address;
  std::vector<Certificate> chain;  // as shown; empty with no_certificate
  RefusalNotice notice;
};

/// What a port tells its user, on the core loop.
class PortHandler {
 public:
  virtual ~PortHandler() = default;
  /// A peer with a certificate of the group, about to say hello. Call set_handler() now.
  virtual void on_channel(std::shared_ptr<Channel> channel) = 0;
  virtual void on_refused(const RefusedPeer& peer) = 0;
  virtual void on_http(HttpRequest request, Respond respond) = 0;
};

/// Since the start; nothing is closed or dropped without being counted here.
struct PortCounters {
  std::uint64_t accepted = 0;
  std::uint64_t channels = 0;  // handshakes on postern/1 that passed the check
  std::uint64_t authenticated = 0;
  std::uint64_t rate_limited = 0;    // closed at accept: its source is over the rate
  std::uint64_t full = 0;            // closed at accept: no descriptor to spare
  std::uint64_t evicted = 0;         // closed to make room for a newer unauthenticated one
  std::uint64_t silent = 0;          // deadline passed, and not one byte came
  std::uint64_t half_handshake = 0;  // deadline or turn passed within the handshake, or it hung up
  std::uint64_t late = 0;            // deadline passed between handshake and authenticated()
  std::uint64_t not_tls = 0;         // the first bytes were no TLS
  std::uint64_t no_protocol = 0;     // ALPN offered none that we speak
  std::uint64_t handshakes_failed = 0;  // any other TLS failure
  std::uint64_t garbage = 0;            // frames that channel.md forbids
  std::uint64_t http_requests = 0;
  std::array<std::uint64_t, kRefusalCodes> refused{};          // by us for the certificate, by code
  std::array<std::uint64_t, kRefusalCodes> refused_by_peer{};  // by code
  // Now:
  std::uint64_t unauthenticated_now = 0;
  std::uint64_t handshakes_now = 0;
};

struct PortOptions {
  std::string address = "0.0.0.0";  // an IP address; "::" takes both families
  std::uint16_t port = 5723;        // 0: the kernel picks, see Port::port()
  // Rule C5: what peers get before they have authenticated.
  std::size_t unauthenticated_max = 512;
  Duration deadline = std::chrono::seconds(10);       // accept to authenticated() or extend()
  std::size_t handshakes_max = 16;                    // others wait unread
  Duration handshake_turn = std::chrono::seconds(2);  // then it yields to those who wait: closed
  double source_rate = 50;                            // connections a second and source address
  double source_burst = 200;
  std::size_t sources_max = 4096;                        // the longest quiet one is forgotten
  Duration source_trusted_for = std::chrono::hours(24);  // authenticated sources are spared
  std::size_t trusted_sources_max = 65'536;
  std::size_t descriptors_reserved = 256;  // of RLIMIT_NOFILE, for files and dialling
};

/// The one port: accepts, shakes hands, judges certificates, and hands over channels and HTTP
/// requests. Made, used and ended on the core loop; then it listens no more and unauthenticated
/// connections are cut, while authenticated channels live on.
class Port {
 public:
  virtual ~Port() = default;

  virtual std::uint16_t port() const = 0;
  /// For handshakes that begin from now on. The context has a credential.
  virtual void set_tls(std::shared_ptr<const TlsContext> tls) = 0;

  /// The product has sent welcome: no deadline and no eviction any more, and its source is trusted.
  virtual void authenticated(const Channel& channel) = 0;
  /// The product needs longer, e.g. asks up the chain for an approval (W20): the deadline is now
  /// `from_now` away.
  virtual void extend(const Channel& channel, Duration from_now) = 0;

  virtual PortCounters counters() const = 0;
};

/// A TCP port. Ends before `loops` does, which `log` outlives. Accepting happens on loops.at(0) and
/// is never delayed; handshakes go round all loops. Strangers' mistakes are counted each and logged
/// at a bounded rate.
class SocketPort final : public Port {
 public:
  static Result<std::unique_ptr<Port>> listen(Loops& loops, const Log& log,
                                              std::shared_ptr<const TlsContext> tls,
                                              PortHandler& handler, PortOptions options = {});
  ~SocketPort() override;
  SocketPort(const SocketPort&) = delete;
  SocketPort& operator=(const SocketPort&) = delete;

  std::uint16_t port() const override;
  void set_tls(std::shared_ptr<const TlsContext> tls) override;
  void authenticated(const Channel& channel) override;
  void extend(const Channel& channel, Duration from_now) override;
  PortCounters counters() const override;

 private:
  class Parts;
  explicit SocketPort(std::shared_ptr<Parts> parts);
  std::shared_ptr<Parts> parts_;  // shared with the loops, whose tasks may run a little longer
};

}  // namespace postern
