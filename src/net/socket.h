#pragma once

// For net's own .cc files: descriptors and addresses.

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/result.h"

namespace postern {

/// Owns a descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~Descriptor() { reset(); }

  int number() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }
  void reset();

 private:
  int number_ = -1;
};

/// An IP address with a port.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  /// nullopt when `ip` is no IP address (a scope such as %eth0 is not taken).
  static std::optional<SocketAddress> parse(const std::string& ip, std::uint16_t port);

  const sockaddr* native() const { return reinterpret_cast<const sockaddr*>(&storage); }
  std::string text() const;  // "192.0.2.1:5723", "[2001:db8::1]:5723"
  std::uint16_t port() const;
  bool loopback() const;
  /// Whom a rate limit counts together: an IPv4 address, or an IPv6 /64 (one customer's network).
  std::string source() const;
};

/// IPv4 addresses that came over an IPv6 socket become plain ones.
SocketAddress unmapped(const SocketAddress& address);

/// `invalid` when the path is too long for a socket.
Result<sockaddr_un> unix_address(const std::filesystem::path& path);

/// Non-blocking, close-on-exec, TCP_NODELAY, TCP_NOTSENT_LOWAT.
void prepare_channel_socket(int descriptor);
std::string errno_text(int number);  // "connection refused"

}  // namespace postern
