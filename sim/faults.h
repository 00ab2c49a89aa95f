#pragma once

#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "sim/captured.h"
#include "sim/group.h"

namespace postern::sim {

/// What goes wrong, drawn from the seed: which kinds in this run, when, and to whom. It all ends
/// with repair(): then the group has to come to rest by itself.
class Faults {
 public:
  enum class Kind {
    kill,
    power,
    crash_in_io,
    restart,
    cut,
    half_open,
    one_side,
    stall,
    link_down,
    slow_link,
    disk_error,
    disk_full,
    disk_hang,
    rot,
    restored,
    cloned,
    wiped,
    clock,
    parents,
    captured,
    removed,
    lost_commits,
    store_error,
    count_
  };
  static std::string_view name_of(Kind kind);                 // "fault: kill"
  static std::optional<Kind> kind_of(std::string_view name);  // "kill"

  Faults(Surface& surface, Group& group);
  /// The gateway in wrong hands, when this run has one.
  Captured& captured() { return captured_; }

  /// Plans faults between now and `end`. `only`: no other kinds; empty: as the seed says.
  void plan(TimePoint end, const std::vector<Kind>& only, const std::vector<Kind>& without);
  void repair();
  /// The kinds that did happen: "kill, rot".
  std::string happened() const;
  /// Nodes that an administrator removed, by the server's word.
  const std::set<std::size_t>& removed() const { return removed_; }

 private:
  void happen(Kind kind);
  Machine& anybody();
  Machine& node();  // an agent or a gateway
  std::shared_ptr<Joint> any_joint();
  Link* any_link();
  Duration up_to(int seconds_max);
  void set_back(Machine& machine, const WatchedDisk::Files& files);
  void rot(Machine& machine);
  void clone(Machine& machine, const WatchedDisk::Files& files);
  void remove_agent();
  void take_backup();
  void lose_commits();
  void say(const Machine& machine, std::string_view what);

  Surface& surface_;
  Group& group_;
  Captured captured_;
  std::map<std::size_t, WatchedDisk::Files> snapshots_;  // of machines, some time before
  std::unique_ptr<store::MemoryStore> backup_;           // of the store, some time before
  Oracle::Ledger backup_ledger_;
  std::vector<Machine*> clones_;
  std::set<std::size_t> removed_;
  std::set<Kind> happened_;
};

}  // namespace postern::sim
