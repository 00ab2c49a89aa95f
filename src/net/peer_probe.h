#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/channel.h"
#include "net/tls.h"

namespace postern {

/// One attempt to open a channel, step by step, for a tool that wants to say where it ends.
struct ProbeRequest {
  std::string address;  // an IP address
  std::uint16_t port = 5723;
  std::string name;  // who must answer, as in DialRequest
  std::shared_ptr<const TlsContext> tls;
  Duration timeout = std::chrono::seconds(10);  // of TCP, and of TLS
  /// Of the answer to first_words: approval may be asked for up a chain (channel.md#W20).
  Duration answer_timeout = std::chrono::seconds(20);
  /// How long a peer that objects to us may take to say so before its silence means consent; four
  /// times as long as the TCP handshake took, if that is longer.
  Duration quiet = std::chrono::seconds(1);
  /// What to say on the open channel, hello; without it the probe says nothing. Not asked when
  /// either side objects to the other's certificate.
  std::function<std::optional<wire::Message>(const ChannelPeer&)> first_words = nullptr;
};

/// What the attempt met. Members behind the stage where it ended are empty.
struct PeerProbe {
  enum class Trouble {
    none,         // the channel was opened; objection, refused and ended say what became of it
    refused,      // TCP: nobody listens
    timed_out,    // TCP: no answer
    unreachable,  // TCP: no route
    failed,       // TCP: anything else
    silent,       // TLS: no answer
    hung_up,      // TLS: the connection was closed
    http,         // an HTTP answer came
    not_tls,      // another answer came
    tls_version,  // no common TLS version
    no_protocol,  // TLS, and no postern/1 by ALPN
    tls_failed,   // TLS: anything else
  };
  Trouble trouble = Trouble::none;
  std::string words;                       // the trouble's
  std::string where;                       // "192.0.2.1:5723"
  bool shaken = false;                     // TLS 1.3 is up, whatever ALPN said
  ChannelPeer peer;                        // `chain` may be empty, and has not passed any check
  std::optional<Finding> finding;          // what our check says against the peer's certificate
  std::optional<RefusalNotice> objection;  // the same as we told it
  std::optional<RefusalNotice> refused;    // the peer's word against us
  std::optional<wire::Message> answer;     // to first_words
  std::string ended;                       // the peer ended it without a word
};

/// Blocks; for a tool, never on a loop. Shows our certificate, judges the peer's as a dialler does,
/// tells it our objection, and closes.
PeerProbe probe_peer(const ProbeRequest& request);

/// Whether a process listens on the Unix socket; nothing when that cannot be known (no permission,
/// a path too long).
std::optional<bool> somebody_listens(const std::filesystem::path& path);

}  // namespace postern
