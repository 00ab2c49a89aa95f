#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "net/http.h"

namespace postern {

inline constexpr std::size_t kChangesKept = 4096;  // for who was away for a moment
inline constexpr std::size_t kChangeListenersMax = 64;

/// What has changed, as Server-Sent Events: each says of what kind and about whom, and the listener
/// asks the API for how it is now. So an event may stand for several changes, and one too many does
/// no harm. Belongs to the core loop.
class Changes {
 public:
  /// `life` is another one for each start: the numbers of an older life mean nothing.
  explicit Changes(std::uint64_t life) : life_(life) {}

  /// To be said with the next flush(); the same again before it is one.
  /// `kind`: node, pending, alert, loss, values, token. `subject`: what {node} or {id} takes.
  void note(std::string kind, std::string subject) {
    noted_.emplace(std::move(kind), std::move(subject));
  }
  void flush();
  /// A comment to everybody, so that a connection that broke is noticed.
  void say_alive();

  /// From now on; first what came after `last_id` (of the header Last-Event-ID, may be empty). When
  /// that is not known any more, an event `reset` says that everything may have changed.
  /// `kinds`: only these; empty: all but values.
  void listen(std::shared_ptr<HttpStream> stream, std::set<std::string> kinds,
              const std::string& last_id);
  bool was_asked() const { return asked_; }  // somebody has ever listened
  bool full() const { return listeners_.size() >= kChangeListenersMax; }
  std::size_t listeners() const { return listeners_.size(); }

 private:
  struct Change {
    std::uint64_t number = 0;
    std::string kind, subject;
  };
  struct Listener {
    std::shared_ptr<HttpStream> stream;
    std::set<std::string> kinds;
    bool wants(const std::string& kind) const {
      return kinds.empty() ? kind != "values" : kinds.contains(kind);
    }
  };
  std::string event(const Change& change) const;

  const std::uint64_t life_;
  std::uint64_t newest_ = 0;
  bool asked_ = false;
  std::set<std::pair<std::string, std::string>> noted_;
  std::deque<Change> kept_;  // oldest first
  std::vector<Listener> listeners_;
};

}  // namespace postern
