#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/log_event.h"

namespace postern::events {

/// Bytes of one line or message; what is longer is cut and marked `log.record.truncated`.
inline constexpr std::size_t kLineBytesMax = 64u << 10;
/// Bytes of what a source writes down of how far it was read.
inline constexpr std::size_t kPositionBytesMax = 2048;

/// What one read, and one batch, may have. The last event may go beyond the bytes. So small that
/// a batch is always within the limits of a payload (model/payload.h), all bytes being no UTF-8.
struct ReadLimit {
  std::size_t records = 500;
  std::size_t bytes = 96u << 10;  // by weight_of()
};

inline std::size_t weight_of(const LogEvent& event) {
  std::size_t weight = event.body.size();
  for (const Attribute& attribute : event.attributes)
    if (const auto* text = std::get_if<std::string>(&attribute.value)) weight += text->size();
  return weight;
}

/// Something that tells events in an order, and can be read again from a place in it. Used on one
/// worker; calls may block on a disk, never for long on what nobody has written yet.
class LogSource {
 public:
  struct Read {
    std::vector<LogEvent> events;
    std::string position;  // behind the last of them, at most kPositionBytesMax
    bool more = false;     // the limit ended it, not the source
    /// What an operator must know: the way out is in it. Empty: all is well.
    std::string problem;
  };

  virtual ~LogSource() = default;
  /// What comes next. Nothing is skipped silently: what is known to be lost is an event of its own
  /// (`postern.events.lost`).
  virtual Read read(const ReadLimit& limit, TimePoint now, WallTime wall) = 0;
  /// Goes on at a position that read() gave; what was read behind it is read again.
  virtual void seek(const std::string& position) = 0;
};

/// An event about the reading of events.
inline LogEvent notice(std::string name, std::string words, WallTime wall) {
  LogEvent event;
  event.time = event.observed = wall;
  event.severity = Severity::warning;
  event.severity_text = "warning";
  event.event_name = std::move(name);
  event.body = std::move(words);
  return event;
}

inline constexpr const char* kLost = "postern.events.lost";
inline constexpr const char* kHeldBack = "postern.events.held_back";
inline constexpr const char* kUnreadable = "postern.events.unreadable";

}  // namespace postern::events
