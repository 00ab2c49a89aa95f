#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "identity/certificate.h"
#include "identity/check.h"
#include "identity/revocation_list.h"
#include "wire/frame.h"

struct ssl_ctx_st;

namespace postern {

inline constexpr const char* kAlpnChannel = "postern/1";
inline constexpr const char* kAlpnHttp = "http/1.1";
inline constexpr std::size_t kPeerChainBytesMax = 64u << 10;  // more ends the handshake

/// How we show ourselves and whom we trust: what every handshake of the node uses. Immutable and
/// thread-safe; a reload makes a new one and hands it to Port::set_tls() and the next dials, while
/// open channels keep the one they began with.
///
/// TLS 1.3 only; X25519 and P-256; no tickets, no resumption, no 0-RTT, no renegotiation. ALPN is
/// read before a certificate is asked for, so browsers are never asked (W2, W3). Certificates are
/// only recorded during the handshake and judged right after it (rule C8).
class TlsContext {
 public:
  struct Options {
    /// Now, for validity: the wall clock or the newest tick, whichever is later (rule T6). Called
    /// on any loop's thread.
    std::function<WallTime()> now;
    /// Dials for HTTP, where nobody asks for our certificate.
    bool dials_http = false;
    /// Of outside authorities; null: none. Shared with every context of the same settings.
    std::shared_ptr<const RevocationLists> revocations = nullptr;
    bool require_client_auth = true;  // false for public CAs, which leave clientAuth out (rule T1)
    /// Takes every peer for verified. Exists so that a test can show that the check after the
    /// handshake, and nothing else, is what refuses a wrong certificate.
    bool accept_any_certificate_for_canary_tests_only = false;
  };

  /// `invalid` when key and certificate do not belong together or OpenSSL takes neither. Without a
  /// credential it can dial (and will be refused with no_certificate), not listen.
  static Result<std::shared_ptr<const TlsContext>> create(std::optional<TlsCredential> credential,
                                                          Anchors anchors, Options options);
  /// Without OpenSSL's contexts, for a network that has no sockets: it only knows who we are and
  /// judges peers. No port and no dialer that shakes hands takes it.
  static std::shared_ptr<const TlsContext> without_sockets(std::optional<TlsCredential> credential,
                                                           Anchors anchors, Options options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  const std::optional<TlsCredential>& credential() const { return credential_; }
  const Anchors& anchors() const { return anchors_; }
  std::string name() const;  // the first DNS name of our certificate, or ""
  WallTime now() const { return options_.now(); }

  /// What is wrong with what the peer showed: it dialled us, or we dialled `dialled_name`.
  std::optional<Finding> objection(std::span<const Certificate> chain,
                                   const std::optional<std::string>& dialled_name) const;

  /// The part of objection() that goes by the revocation lists of outside authorities.
  std::optional<Finding> revoked(std::span<const Certificate> chain) const;
  const std::shared_ptr<const RevocationLists>& revocations() const { return options_.revocations; }

  ssl_ctx_st* for_accepting() const { return server_; }  // null without a credential
  ssl_ctx_st* for_dialling() const { return client_; }

 private:
  TlsContext(std::optional<TlsCredential> credential, Anchors anchors, Options options);
  const std::optional<TlsCredential> credential_;
  const Anchors anchors_;
  const Options options_;
  ssl_ctx_st* server_ = nullptr;
  ssl_ctx_st* client_ = nullptr;
};

/// The word for the wire of what a check found (W28): the same one wherever a peer can see the
/// fault, so that logs on both sides and `postern cert verify` agree.
wire::Refusal refusal_of(Reason reason);

}  // namespace postern
