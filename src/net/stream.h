#pragma once

// For net's own .cc files: bytes over TLS or over a plain socket, never blocking, on no loop.

#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "identity/certificate.h"
#include "net/socket.h"
#include "net/tls.h"

namespace postern {

/// What became of one attempt.
struct IoOutcome {
  enum class Kind { done, want_read, want_write, closed, failed };
  Kind kind = Kind::done;
  std::size_t bytes = 0;  // done: at least 1
  std::string words;      // closed, failed: why
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual IoOutcome read(std::span<std::byte> out) = 0;
  /// A call after want_write begins with the bytes that were not taken.
  virtual IoOutcome write(ByteView bytes) = 0;
  /// Says that we send no more; reading goes on.
  virtual void end_writing() = 0;
  /// Bytes were received that a descriptor's readiness will not announce again.
  virtual bool holds_unread() const = 0;
  virtual int descriptor() const = 0;
};

class PlainStream final : public Stream {
 public:
  explicit PlainStream(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}
  IoOutcome read(std::span<std::byte> out) override;
  IoOutcome write(ByteView bytes) override;
  void end_writing() override;
  bool holds_unread() const override { return false; }
  int descriptor() const override { return descriptor_.number(); }

 private:
  Descriptor descriptor_;
};

/// OpenSSL straight on the non-blocking socket: no BIO pair, no copy, and buffers that are given
/// back whenever they are empty.
class TlsStream final : public Stream {
 public:
  enum class Failure { none, hung_up, not_tls, no_protocol, other };  // of a handshake

  static std::unique_ptr<TlsStream> accepting(Descriptor descriptor, const TlsContext& context);
  /// `name` goes out as SNI.
  static std::unique_ptr<TlsStream> dialling(Descriptor descriptor, const TlsContext& context,
                                             const std::string& name);

  IoOutcome handshake();
  Failure handshake_failure() const { return failure_; }

  // After the handshake:
  std::string protocol() const;  // what ALPN picked
  /// As the peer showed it, leaf first. `invalid` when one of them contradicts itself.
  Result<std::vector<Certificate>> chain() const;
  std::array<std::byte, 32> exporter() const;

  IoOutcome read(std::span<std::byte> out) override;
  IoOutcome write(ByteView bytes) override;
  void end_writing() override;
  bool holds_unread() const override;
  int descriptor() const override { return descriptor_.number(); }

 private:
  struct FreeSsl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  TlsStream(Descriptor descriptor, SSL_CTX* context);
  IoOutcome outcome(int result, const char* doing);

  Descriptor descriptor_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  Failure failure_ = Failure::none;
};

}  // namespace postern
