#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>

#include "base/log.h"
#include "events/source.h"
#include "events/state_file.h"
#include "settings/settings.h"

namespace postern::events {

/// Which sources there are now. Used on one worker.
class Sources {
 public:
  using Map = std::map<std::string, std::unique_ptr<LogSource>>;
  virtual ~Sources() = default;
  /// Looks for new ones, as often as makes sense. `known` is where all were read to; a source that
  /// is in it goes on there. Marks may be added to `moved`.
  virtual void look(Map& sources, const Positions& known, Positions& moved, TimePoint now) = 0;
};

/// The journal and the files of the settings.
class HostSources final : public Sources {
 public:
  static constexpr std::size_t kFilesMax = 256;  // of all patterns; the others are named in the log
  static constexpr Duration kLookInterval = std::chrono::seconds(5);

  /// `everything`: no position is known though there was one, so all is read from its beginning.
  HostSources(const Log& log, EventSettings settings, bool everything)
      : log_(log), settings_(std::move(settings)), everything_(everything) {}
  void look(Map& sources, const Positions& known, Positions& moved, TimePoint now) override;

 private:
  void look_for_files(const EventSettings::Files& files, Map& sources, const Positions& known,
                      Positions& moved);
  const Log& log_;
  const EventSettings settings_;
  const bool everything_;
  std::optional<TimePoint> next_look_;
  std::set<std::string> too_many_;
};

}  // namespace postern::events
