#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"

namespace postern {

/// What a node observes of its machine and of itself, one a subject.
enum class CollectorId : std::uint8_t {
  cpu,
  load,
  pressure,
  memory,
  swap,
  filesystems,
  remote_filesystems,
  disks,
  network,
  connections,
  processes,
  uptime,
  clock,
  temperature,
  units,
  inventory,
  self,
};

/// Their names in settings and documents, in the order of CollectorId.
inline constexpr std::array<std::string_view, 17> kCollectorNames = {
    "cpu",   "load",      "pressure",    "memory",    "swap",   "filesystems", "remote_filesystems",
    "disks", "network",   "connections", "processes", "uptime", "clock",       "temperature",
    "units", "inventory", "self"};
inline constexpr std::size_t kCollectorCount = kCollectorNames.size();

constexpr std::size_t index_of(CollectorId id) { return static_cast<std::size_t>(id); }
constexpr std::string_view name_of(CollectorId id) { return kCollectorNames[index_of(id)]; }

/// All of them, in that order.
constexpr std::array<CollectorId, kCollectorCount> all_collectors() {
  std::array<CollectorId, kCollectorCount> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<CollectorId>(i);
  return all;
}

struct CollectorSetting {
  bool on = true;
  std::optional<Duration> interval;  // nothing: see Sampling::interval_of()
  bool operator==(const CollectorSetting&) const = default;
};
using CollectorSettings = std::array<CollectorSetting, kCollectorCount>;

/// What is observed, and how often.
struct Sampling {
  Duration interval = std::chrono::seconds(60);
  CollectorSettings collectors{};
  bool operator==(const Sampling&) const = default;

  bool on(CollectorId id) const { return collectors[index_of(id)].on; }
  /// As set, else `interval`; what costs a process of its own or many files, and changes rarely,
  /// then at most once a minute.
  Duration interval_of(CollectorId id) const {
    const CollectorSetting& setting = collectors[index_of(id)];
    if (setting.interval) return *setting.interval;
    const bool dear = id == CollectorId::units || id == CollectorId::inventory;
    return dear ? std::max<Duration>(interval, std::chrono::minutes(1)) : interval;
  }
};

}  // namespace postern
