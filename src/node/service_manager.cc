#include "node/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace postern::node {
namespace {

std::optional<std::uint64_t> number(const std::optional<std::string>& text) {
  std::uint64_t value = 0;
  if (!text) return std::nullopt;
  const auto [end, wrong] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (wrong != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

// The manager compares it with the time of its signal on the same clock, which none of ours is.
std::uint64_t monotonic_microseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec) / 1'000u;
}

}  // namespace

ServiceManager::ServiceManager(const Environment& environment) {
  const std::string socket = environment("NOTIFY_SOCKET").value_or("");
  sockaddr_un address{};
  const bool usable = socket.size() > 1 && (socket[0] == '/' || socket[0] == '@') &&
                      socket.size() < sizeof address.sun_path;
  if (usable) socket_ = socket;
  const auto limit = number(environment("WATCHDOG_USEC"));
  const auto process = number(environment("WATCHDOG_PID"));
  const bool meant = !process || *process == static_cast<std::uint64_t>(::getpid());
  if (usable && meant && limit && *limit > 0 && *limit < std::uint64_t{1} << 50)
    alive_interval_ = std::chrono::microseconds(*limit) / 2;
}

void ServiceManager::ready() { send("READY=1"); }

void ServiceManager::reloading() {
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()));
}

void ServiceManager::stopping() { send("STOPPING=1"); }

void ServiceManager::status(const std::string& words) {
  if (words == last_status_) return;
  last_status_ = words;
  std::string line = words;
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';  // a line break would begin another variable
  send("STATUS=" + line);
}

void ServiceManager::alive() { send("WATCHDOG=1"); }

void ServiceManager::send(const std::string& state) const {
  if (socket_.empty()) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';  // a name without a file
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  [[maybe_unused]] const auto ignored =
      ::sendto(descriptor, state.data(), state.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), length);
  ::close(descriptor);
}

std::optional<std::string> environment_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return value;
}

}  // namespace postern::node
