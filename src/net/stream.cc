#include "net/stream.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/invariant.h"

namespace postern {
namespace {

using Kind = IoOutcome::Kind;

IoOutcome of_errno(Kind want) {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {want, 0, {}};
  if (errno == ECONNRESET || errno == EPIPE)
    return {Kind::closed, 0, "the peer reset the connection"};
  return {Kind::failed, 0, errno_text(errno)};
}

}  // namespace

IoOutcome PlainStream::read(std::span<std::byte> out) {
  const ssize_t size = ::recv(descriptor_.number(), out.data(), out.size(), 0);
  if (size > 0) return {Kind::done, static_cast<std::size_t>(size), {}};
  if (size == 0) return {Kind::closed, 0, "the peer closed the connection"};
  return of_errno(Kind::want_read);
}

IoOutcome PlainStream::write(ByteView bytes) {
  const ssize_t size = ::send(descriptor_.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (size > 0) return {Kind::done, static_cast<std::size_t>(size), {}};
  return of_errno(Kind::want_write);
}

void PlainStream::end_writing() { ::shutdown(descriptor_.number(), SHUT_WR); }

TlsStream::TlsStream(Descriptor descriptor, SSL_CTX* context)
    : descriptor_(std::move(descriptor)), ssl_(SSL_new(context)) {
  invariant(ssl_ != nullptr && SSL_set_fd(ssl_.get(), descriptor_.number()) == 1,
            "memory for a TLS connection");
}

std::unique_ptr<TlsStream> TlsStream::accepting(Descriptor descriptor, const TlsContext& context) {
  std::unique_ptr<TlsStream> stream(new TlsStream(std::move(descriptor), context.for_accepting()));
  SSL_set_accept_state(stream->ssl_.get());
  return stream;
}

std::unique_ptr<TlsStream> TlsStream::dialling(Descriptor descriptor, const TlsContext& context,
                                               const std::string& name) {
  std::unique_ptr<TlsStream> stream(new TlsStream(std::move(descriptor), context.for_dialling()));
  SSL_set_connect_state(stream->ssl_.get());
  SSL_set_tlsext_host_name(stream->ssl_.get(), name.c_str());
  return stream;
}

IoOutcome TlsStream::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) return {};
  IoOutcome failed = outcome(result, "the TLS handshake");
  if (failed.kind == Kind::closed) failure_ = Failure::hung_up;
  if (failed.kind == Kind::failed && failure_ == Failure::none) failure_ = Failure::other;
  return failed;
}

IoOutcome TlsStream::outcome(int result, const char* doing) {
  const int system_error = errno;
  const int error = SSL_get_error(ssl_.get(), result);
  switch (error) {
    case SSL_ERROR_WANT_READ:
      return {Kind::want_read, 0, {}};
    case SSL_ERROR_WANT_WRITE:
      return {Kind::want_write, 0, {}};
    case SSL_ERROR_ZERO_RETURN:
      return {Kind::closed, 0, "the peer closed the connection"};
    case SSL_ERROR_SYSCALL: {
      ERR_clear_error();
      errno = system_error;
      if (system_error == 0) return {Kind::closed, 0, "the connection ended without a goodbye"};
      IoOutcome failed = of_errno(Kind::want_read);
      if (failed.kind == Kind::want_read) failed = {Kind::closed, 0, "the connection ended"};
      return failed;
    }
    default:
      break;
  }
  const unsigned long code = ERR_peek_error();  // the first one says what went wrong
  const int reason = ERR_GET_REASON(code);
  ERR_clear_error();
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
      return {Kind::closed, 0, "the connection ended without a goodbye"};
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
        reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
        reason == SSL_R_UNKNOWN_PROTOCOL || reason == SSL_R_BAD_RECORD_TYPE)
      failure_ = Failure::not_tls;
    // The client hello callback's way to say so; on the dialling side it is the peer's alert.
    if (reason == SSL_R_CALLBACK_FAILED || reason == SSL_R_NO_APPLICATION_PROTOCOL ||
        reason == SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL)
      failure_ = Failure::no_protocol;
  }
  if (failure_ == Failure::no_protocol)
    return {Kind::failed, 0,
            fmt::format("{}: no common protocol ({} or {})", doing, kAlpnChannel, kAlpnHttp)};
  if (failure_ == Failure::not_tls)
    return {Kind::failed, 0, fmt::format("{}: what came is not TLS", doing)};
  const char* words = ERR_reason_error_string(code);
  return {Kind::failed, 0,
          fmt::format("{}: {}", doing, words != nullptr ? words : "an unnamed error")};
}

std::string TlsStream::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return std::string(reinterpret_cast<const char*>(name), name == nullptr ? 0 : size);
}

Result<std::vector<Certificate>> TlsStream::chain() const {
  std::vector<Certificate> chain;
  X509* leaf = SSL_get0_peer_certificate(ssl_.get());
  if (leaf == nullptr) return chain;
  auto first = Certificate::from_native(leaf);
  if (!first) return fail(first.error(), "the peer's certificate");
  chain.push_back(std::move(*first));
  // With the leaf on the dialling side, without it on the accepting one.
  const STACK_OF(X509)* rest = SSL_get_peer_cert_chain(ssl_.get());
  for (int i = 0; rest != nullptr && i < sk_X509_num(rest); ++i) {
    X509* next = sk_X509_value(rest, i);
    if (i == 0 && X509_cmp(next, leaf) == 0) continue;
    auto certificate = Certificate::from_native(next);
    if (!certificate) return fail(certificate.error(), "a certificate of the peer's chain");
    chain.push_back(std::move(*certificate));
  }
  return chain;
}

std::array<std::byte, 32> TlsStream::exporter() const {
  static constexpr std::string_view kLabel = "EXPORTER-postern-channel";
  std::array<std::byte, 32> material{};
  invariant(
      SSL_export_keying_material(ssl_.get(), reinterpret_cast<unsigned char*>(material.data()),
                                 material.size(), kLabel.data(), kLabel.size(), nullptr, 0, 1) == 1,
      "a finished handshake exports keying material");
  return material;
}

IoOutcome TlsStream::read(std::span<std::byte> out) {
  ERR_clear_error();
  errno = 0;
  std::size_t size = 0;
  const int result = SSL_read_ex(ssl_.get(), out.data(), out.size(), &size);
  if (result == 1) return {Kind::done, size, {}};
  return outcome(result, "reading");
}

IoOutcome TlsStream::write(ByteView bytes) {
  ERR_clear_error();
  errno = 0;
  std::size_t size = 0;
  const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &size);
  if (result == 1) return {Kind::done, size, {}};
  return outcome(result, "writing");
}

void TlsStream::end_writing() {
  ERR_clear_error();
  SSL_shutdown(ssl_.get());  // sends close_notify if there is room; the TCP end says it anyway
  ERR_clear_error();
  ::shutdown(descriptor_.number(), SHUT_WR);
}

bool TlsStream::holds_unread() const { return SSL_has_pending(ssl_.get()) == 1; }

}  // namespace postern
