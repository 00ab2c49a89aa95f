#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstring>

#include "base/bytes.h"
#include "base/invariant.h"
#include "base/result.h"

namespace postern {
namespace {

// As ALPN writes them: each with its length in front.
constexpr std::string_view kOfferChannel = "\x09postern/1";
constexpr std::string_view kOfferHttp = "\x08http/1.1";

/// The first of ours in the client's list (W2); empty when there is none.
std::string_view pick_protocol(ByteView list) {
  while (list.size() > 1) {
    const auto size = std::to_integer<std::size_t>(list[0]);
    if (size == 0 || size >= list.size()) return {};
    const std::string_view name = as_text(list.subspan(1, size));
    if (name == kAlpnChannel || name == kAlpnHttp) return name;
    list = list.subspan(1 + size);
  }
  return {};
}

/// Certificates are recorded by OpenSSL and judged by us after the handshake: an abort here would
/// reach the peer as a bare alert (rule C8).
int record_only(X509_STORE_CTX*, void*) { return 1; }

/// Decides, before anything is asked for, what is spoken and whether we want a certificate (W3).
int on_client_hello(SSL* ssl, int* alert, void*) {
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data,
                                &size) == 1 &&
      size > 2) {
    const auto list = std::as_bytes(std::span(data, size)).subspan(2);  // after its own length
    const std::string_view protocol = pick_protocol(list);
    if (!protocol.empty()) {
      SSL_set_verify(ssl, protocol == kAlpnChannel ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
      return SSL_CLIENT_HELLO_SUCCESS;
    }
  }
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

int on_select(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
              unsigned in_size, void*) {
  const std::string_view protocol = pick_protocol(std::as_bytes(std::span(in, in_size)));
  if (protocol.empty()) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = reinterpret_cast<const unsigned char*>(protocol.data());
  *out_size = static_cast<unsigned char>(protocol.size());
  return SSL_TLSEXT_ERR_OK;
}

SSL_CTX* common_context(const SSL_METHOD* method) {
  SSL_CTX* context = SSL_CTX_new(method);
  invariant(context != nullptr, "memory for a TLS context");
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
  // Weak certificates are refused by our own check, in words; OpenSSL's level would turn them into
  // an alert. Versions, groups and signature algorithms are bounded right here instead.
  SSL_CTX_set_security_level(context, 0);
  const bool set =
      SSL_CTX_set_ciphersuites(
          context, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") ==
          1 &&
      SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
      SSL_CTX_set1_sigalgs_list(
          context,
          "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:ed448:"
          "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
          "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512") == 1;
  invariant(set, "OpenSSL knows the algorithms of TLS 1.3");
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);  // header and body of a record in one system call
  SSL_CTX_set_max_cert_list(context, static_cast<long>(kPeerChainBytesMax));
  SSL_CTX_set_cert_verify_callback(context, record_only, nullptr);
  return context;
}

Result<> use_credential(SSL_CTX* context, const TlsCredential& credential) {
  if (credential.chain.empty())
    return fail(Errc::invalid, "a TLS credential without a certificate");
  const Certificate& leaf = credential.chain.front();
  if (!credential.key.matches(leaf))
    return fail(Errc::invalid, "the key is not that of the certificate '{}' (serial {})",
                leaf.subject(), leaf.serial());
  // OpenSSL would take it and then show nothing at all: a peer could not say what is wrong.
  if (!leaf.key_strong() && !leaf.key_kind().starts_with("RSA"))
    return fail(Errc::invalid,
                "the certificate '{}' has a key {}, which TLS 1.3 cannot sign with; needed is RSA "
                "from 2048 bits, EC P-256, P-384 or P-521, or Ed25519: request one for a new key "
                "({})",
                leaf.subject(), leaf.key_kind(), to_string(Reason::weak_key));
  ERR_clear_error();
  bool taken = SSL_CTX_use_certificate(context, leaf.native()) == 1 &&
               SSL_CTX_use_PrivateKey(context, credential.key.native()) == 1;
  for (std::size_t i = 1; taken && i < credential.chain.size(); ++i)
    taken = SSL_CTX_add1_chain_cert(context, credential.chain[i].native()) == 1;
  if (taken) return {};
  const char* words = ERR_reason_error_string(ERR_peek_error());
  ERR_clear_error();
  return fail(Errc::invalid, "the certificate '{}' with its {} key cannot be used for TLS: {}",
              leaf.subject(), credential.key.kind_text(),
              words != nullptr ? words : "OpenSSL gives no reason");
}

}  // namespace

TlsContext::TlsContext(std::optional<TlsCredential> credential, Anchors anchors, Options options)
    : credential_(std::move(credential)),
      anchors_(std::move(anchors)),
      options_(std::move(options)) {}

Result<std::shared_ptr<const TlsContext>> TlsContext::create(
    std::optional<TlsCredential> credential, Anchors anchors, Options options) {
  invariant(options.now != nullptr, "a TLS context knows the time");
  std::shared_ptr<TlsContext> made(
      new TlsContext(std::move(credential), std::move(anchors), std::move(options)));
  made->client_ = common_context(TLS_client_method());
  SSL_CTX_set_verify(made->client_, SSL_VERIFY_PEER, nullptr);
  const std::string_view offer = made->options_.dials_http ? kOfferHttp : kOfferChannel;
  SSL_CTX_set_alpn_protos(made->client_, reinterpret_cast<const unsigned char*>(offer.data()),
                          static_cast<unsigned>(offer.size()));
  if (made->credential_) {
    made->server_ = common_context(TLS_server_method());
    SSL_CTX_set_client_hello_cb(made->server_, on_client_hello, nullptr);
    SSL_CTX_set_alpn_select_cb(made->server_, on_select, nullptr);
    for (SSL_CTX* context : {made->client_, made->server_})
      if (auto used = use_credential(context, *made->credential_); !used)
        return std::unexpected(used.error());
  }
  return made;
}

std::shared_ptr<const TlsContext> TlsContext::without_sockets(
    std::optional<TlsCredential> credential, Anchors anchors, Options options) {
  invariant(options.now != nullptr, "a TLS context knows the time");
  return std::shared_ptr<TlsContext>(
      new TlsContext(std::move(credential), std::move(anchors), std::move(options)));
}

TlsContext::~TlsContext() {
  SSL_CTX_free(client_);
  SSL_CTX_free(server_);
}

std::string TlsContext::name() const {
  if (!credential_ || credential_->chain.front().dns_names().empty()) return {};
  return credential_->chain.front().dns_names().front();
}

std::optional<Finding> TlsContext::objection(std::span<const Certificate> chain,
                                             const std::optional<std::string>& dialled_name) const {
  if (options_.accept_any_certificate_for_canary_tests_only) return std::nullopt;
  CheckOptions check;
  check.now = now();
  check.name = dialled_name;
  check.as_server = dialled_name.has_value();
  check.as_client = !dialled_name.has_value();
  check.require_client_auth = options_.require_client_auth;
  if (auto wrong = why_refused(chain, anchors_, check)) return wrong;
  return revoked(chain);
}

std::optional<Finding> TlsContext::revoked(std::span<const Certificate> chain) const {
  if (!options_.revocations) return std::nullopt;
  return options_.revocations->objection(chain, now());
}

wire::Refusal refusal_of(Reason reason) {
  switch (reason) {
    case Reason::no_certificate:
      return wire::Refusal::no_certificate;
    case Reason::wrong_name:
      return wire::Refusal::wrong_name;
    case Reason::expired:
      return wire::Refusal::expired;
    case Reason::not_yet_valid:
      return wire::Refusal::not_yet_valid;
    case Reason::issuer_expired:
      return wire::Refusal::issuer_expired;
    case Reason::issuer_not_yet_valid:
      return wire::Refusal::issuer_not_yet_valid;
    case Reason::bad_chain:
      return wire::Refusal::bad_chain;
    case Reason::weak_key:
      return wire::Refusal::weak_key;
    case Reason::weak_signature:
      return wire::Refusal::weak_signature;
    case Reason::not_an_end_entity:
      return wire::Refusal::not_an_end_entity;
    case Reason::malformed:
      return wire::Refusal::malformed;
    case Reason::unknown_ca:
      return wire::Refusal::unknown_ca;
    case Reason::wrong_usage:
      return wire::Refusal::wrong_usage;
    case Reason::other_group:
      return wire::Refusal::wrong_group;
    case Reason::revoked:
      return wire::Refusal::revoked;
    case Reason::ok:
    case Reason::stale_revocation_list:
    case Reason::no_private_key:
    case Reason::unsafe_permissions:
    case Reason::wrong_password:
      break;
  }
  return wire::Refusal::bad_certificate;
}

}  // namespace postern
