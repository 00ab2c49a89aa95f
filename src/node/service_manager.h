#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"

namespace postern::node {

/// Tells the service manager that started us how we are (sd_notify(3)): one datagram a state to the
/// socket that $NOTIFY_SOCKET names. Without the variable every call does nothing. Nothing is
/// reported back and nothing waits: a manager that does not listen must not hold us up.
class ServiceManager {
 public:
  using Environment = std::function<std::optional<std::string>(const char* name)>;

  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID once.
  explicit ServiceManager(const Environment& environment);

  void ready();
  void reloading();  // ready() ends it
  void stopping();
  /// What `systemctl status` shows; the same words twice are sent once.
  void status(const std::string& words);
  void alive();  // the watchdog

  /// How often alive() must come: half of what the manager allows. Nothing: it does not ask.
  std::optional<Duration> alive_interval() const { return alive_interval_; }
  bool listens() const { return !socket_.empty(); }

 private:
  void send(const std::string& state) const;

  std::string socket_;
  std::string last_status_;
  std::optional<Duration> alive_interval_;
};

/// The variables of this process.
std::optional<std::string> environment_variable(const char* name);

}  // namespace postern::node
