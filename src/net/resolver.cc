#include "net/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <thread>

#include "net/dialer.h"
#include "net/socket.h"

namespace postern {
namespace {

/// Runs what may block for longer than we want to wait, on a thread that outlives the wait.
template <typename T>
std::optional<T> within(Duration timeout, std::function<T()> work) {
  // Shared with the thread, which may be left behind.
  auto promise = std::make_shared<std::promise<T>>();
  auto result = promise->get_future();
  std::thread([promise, work = std::move(work)] { promise->set_value(work()); }).detach();
  if (result.wait_for(timeout) != std::future_status::ready) return std::nullopt;
  return result.get();
}

std::string without_port(const SocketAddress& address) {
  const std::string text = address.text();
  const std::string ip = text.substr(0, text.rfind(':'));
  return ip.starts_with('[') ? ip.substr(1, ip.size() - 2) : ip;
}

Result<std::vector<std::string>> ask(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    const bool no_such_name = error == EAI_NONAME || error == EAI_NODATA;
    return fail(no_such_name ? Errc::invalid : Errc::unavailable, "resolve {}: {}", host,
                error == EAI_SYSTEM ? errno_text(errno) : std::string(::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, ::freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* each = all.get(); each != nullptr && addresses.size() < kAddressesMax;
       each = each->ai_next) {
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    SocketAddress address;
    std::memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
    std::string text = without_port(address);
    if (std::find(addresses.begin(), addresses.end(), text) == addresses.end())
      addresses.push_back(std::move(text));
  }
  if (addresses.empty()) return fail(Errc::invalid, "resolve {}: it has no IP address", host);
  return addresses;
}

}  // namespace

Result<std::vector<std::string>> addresses_of(const std::string& host, Duration timeout) {
  if (SocketAddress::parse(host, 0)) return std::vector{host};
  auto found = within<Result<std::vector<std::string>>>(timeout, [host] { return ask(host); });
  if (!found)
    return fail(Errc::unavailable, "resolve {}: the name servers do not answer in time", host);
  return std::move(*found);
}

std::optional<std::string> name_of_address(const std::string& address, Duration timeout) {
  const auto parsed = SocketAddress::parse(address, 0);
  if (!parsed) return std::nullopt;
  const auto found =
      within<std::optional<std::string>>(timeout, [parsed]() -> std::optional<std::string> {
        char name[NI_MAXHOST];
        if (::getnameinfo(parsed->native(), parsed->size, name, sizeof name, nullptr, 0,
                          NI_NAMEREQD) != 0)
          return std::nullopt;
        return name;
      });
  return found.value_or(std::nullopt);
}

}  // namespace postern
