#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/channel.h"
#include "net/loop.h"
#include "net/tls.h"

namespace postern {

inline constexpr std::size_t kResolvesMax = 8;   // names asked for at once; more fail at once
inline constexpr std::size_t kAddressesMax = 8;  // tried of one name

struct DialRequest {
  std::string host;  // a name or an IP address: where to
  std::uint16_t port = 5723;
  std::string name;  // who must answer: stands in its certificate's SAN, and is sent as SNI
  std::shared_ptr<const TlsContext> tls;
  Duration timeout = std::chrono::seconds(10);  // for everything up to our judgement
};

/// `words` name who, where, what failed: "connect to gw1.example (192.0.2.1:5723): connection
/// refused". With several addresses the last one's failure, and how many were tried.
struct DialFailure {
  enum class Stage { resolve, connect, tls, refused };
  Stage stage = Stage::connect;
  std::string words;
  std::optional<RefusalNotice> refusal;  // stage refused: what we told the other side
  std::vector<Certificate> chain;        // stage refused: what it showed
};
const char* to_string(DialFailure::Stage stage);

using DialResult = std::expected<std::shared_ptr<Channel>, DialFailure>;

/// Opens channels. Made, used and ended on the core loop; ending it forgets the dials under way,
/// without a callback.
///
/// That the other side objects to *our* certificate shows only after our own handshake ended: the
/// dial succeeds, then the channel's on_refused says so (rule C8).
class Dialer {
 public:
  virtual ~Dialer() = default;
  /// `done` is called once, on the core loop, never inside this call. Call set_handler() in it.
  virtual void dial(DialRequest request, std::function<void(const DialResult&)> done) = 0;
};

/// Over TCP and TLS. Ends before `loops` does.
class SocketDialer final : public Dialer {
 public:
  explicit SocketDialer(Loops& loops);
  ~SocketDialer() override;
  SocketDialer(const SocketDialer&) = delete;
  SocketDialer& operator=(const SocketDialer&) = delete;

  void dial(DialRequest request, std::function<void(const DialResult&)> done) override;

 private:
  class Parts;
  std::shared_ptr<Parts> parts_;  // shared with dials under way
};

}  // namespace postern
