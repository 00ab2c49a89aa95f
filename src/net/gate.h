#pragma once

// For net's own .cc files: rule C5, what strangers get before they have authenticated.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "net/counters.h"
#include "net/loop.h"
#include "net/port.h"
#include "net/socket.h"
#include "net/sources.h"

namespace postern {

/// Accepts on its loop and keeps the list of those who have not authenticated yet. Everything but
/// what is marked otherwise is called on its loop.
///
/// A guest is first *silent* (only its descriptor is kept), then *waits* for one of the handshake
/// turns, *shakes* hands on some loop, and is *met* when the handshake ended well. It leaves the
/// list when it is authenticated, gone, or cut.
class Gate final : public Loop::Watcher, public std::enable_shared_from_this<Gate> {
 public:
  /// Ends a guest with these words, from the gate's loop, wherever it is by now.
  using Cut = std::function<void(wire::Refusal reason, std::string words)>;
  /// Begins a handshake on another loop. The ticket goes along and ends with the connection.
  using Begin = std::function<Cut(std::uint64_t id, Descriptor descriptor, SocketAddress address,
                                  std::shared_ptr<void> ticket)>;

  Gate(Loops& loops, Loop& loop, const Log& log, PortOptions options, Descriptor listener,
       std::shared_ptr<AtomicPortCounters> counters, std::size_t connections_max);

  void set_begin(Begin begin) { begin_ = std::move(begin); }
  void start();
  void stop();  // listens no more, cuts every guest
  /// Any thread: no ticket needs to come back any more. From now on connections may end later than
  /// the loops do.
  void close() { closed_ = true; }

  void on_ready(bool readable, bool writable) override;
  void met(std::uint64_t id, Cut cut, bool has_deadline);  // the handshake ended well
  void authenticated(std::uint64_t id);
  void extend(std::uint64_t id, TimePoint deadline);
  /// For the log, at most kLinesMax within kLinesTime; what is left out is counted.
  void note(const std::string& line);

 private:
  enum class Stage { silent, waiting, shaking, met };
  struct Guest {
    SocketAddress address;
    Stage stage = Stage::silent;
    TimePoint deadline;
    TimePoint turn_ends;
    Descriptor descriptor;  // while silent or waiting
    Cut cut;                // from shaking on
  };
  using Guests = std::map<std::uint64_t, Guest>;  // by age: ids ascend
  class Knock;

  void take(Descriptor descriptor, const SocketAddress& address);
  void spare_a_descriptor();
  void knocked(std::uint64_t id);
  void give_turns();
  void evict_one();
  void gone(std::uint64_t id);
  void cut(Guests::iterator guest, wire::Refusal reason, const std::string& words);
  void erase(Guests::iterator guest);
  void look_at_clock();
  void set_alarm(TimePoint at);

  Loops& loops_;
  Loop& loop_;
  const Log& log_;
  const PortOptions options_;
  Descriptor listener_;
  Descriptor spare_;  // given up for a moment when there are no others
  const std::shared_ptr<AtomicPortCounters> counters_;
  const std::size_t connections_max_;
  Begin begin_;
  Sources sources_;
  Guests guests_;
  std::deque<std::uint64_t> waiting_;
  std::size_t shaking_ = 0;
  std::size_t alive_ = 0;  // connections, authenticated or not
  bool stopped_ = false;
  std::atomic<bool> closed_ = false;
  Loop::Timer alarm_;
  TimePoint alarm_at_ = TimePoint::max();
  TimePoint lines_since_{};
  std::size_t lines_ = 0, lines_left_out_ = 0;
};

}  // namespace postern
