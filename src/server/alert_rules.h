#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/node_id.h"
#include "settings/alert_limits.h"
#include "store/store.h"

namespace postern {

/// What is known of an approved node. What nobody measured is none, and opens or closes nothing.
struct NodeView {
  std::string name;
  std::optional<NodeId> id;
  store::Role role = store::Role::agent;
  std::optional<WallTime> approved, first_seen, last_seen;  // by the server's clock
  std::vector<std::string> gateways;  // the way up, nearest first, without the server
  TimePoint since{};                  // it is waited for: approved, or known to this process
  std::optional<TimePoint> heard;     // its own newest head, since this process runs
  Duration interval = std::chrono::seconds(60);  // of its heads
  std::optional<TimePoint> reported_gone;        // by its parent, and no head since (rule D6)
  std::optional<Duration> clock_difference, oldest_unsettled;
  std::optional<std::uint64_t> spool_bytes, spool_bytes_max;
  std::optional<WallTime> certificate_not_before, certificate_not_after;
  std::string renewal_missed;  // why it will not be renewed in time; "": it will, or nobody knows
  // Of the authority that signs certificates, where this is the server that has it:
  std::optional<WallTime> authority_not_before, authority_not_after;
  std::uint64_t findings = 0;  // wrong signatures and equivocations, since this process runs
  std::string found;           // the newest of them, in words; "": not known
};

/// Decides which alerts about nodes are open. Views and the time go in; what is to be raised,
/// changed and closed comes out, and is for the caller to do. Owns no clock, thread or store.
///
/// One alert a cause. A condition that nothing is known of stays as it is: after a restart nothing
/// is raised for want of news, and nothing is closed for it either. What an operator closed stays
/// closed until the condition has ended once. A node behind a lost gateway has no alert of its
/// own: the topmost lost one names how many are behind it (rule P7).
class AlertRules {
 public:
  enum class Kind : std::uint8_t {
    heartbeat,
    never_connected,
    clock,
    finding,
    spool_fill,
    spool_age,
    certificate,
    authority
  };
  static constexpr std::size_t kKinds = 8;
  static std::string_view word_of(Kind kind);  // the first word of the cause

  /// `started`: nodes that were not heard since are silent since then.
  explicit AlertRules(TimePoint started, AlertLimits limits = {})
      : started_(started), limits_(limits) {}

  /// Alerts that the store had open or muted. Once, before the first round; causes of others, and
  /// what is closed and not muted, are left alone.
  void resume(std::span<const store::Alert> alerts);
  /// An operator closed it. False: no such alert is open here.
  bool on_closed(std::string_view cause);
  void set_limits(const AlertLimits& limits) { limits_ = limits; }
  const AlertLimits& limits() const { return limits_; }

  /// `nodes`: all approved ones, each name once; of servers only the one that this is. A node that
  /// is missing is no member any more: what was open about it closes. What is to be done is for
  /// Store::update_alerts(); until it is done, the same is not decided again.
  store::AlertChanges evaluate(std::span<const NodeView> nodes, TimePoint now, WallTime wall);

  /// As the last round found it.
  bool is_lost(std::string_view node) const { return silent_.contains(node); }
  /// The lost gateway that this node is unknown by.
  std::optional<std::string> unknown_via(std::string_view node) const;
  /// Whom an alert of these rules is about, by its cause.
  static std::optional<std::string_view> node_of(std::string_view cause);

 private:
  enum class Level : std::uint8_t { none, warning, critical };
  /// What is so. `level` none of `std::nullopt`: nothing is known.
  struct Finding {
    std::optional<Level> level = Level::none;
    std::string words = {};
    bool anew = false;
  };
  struct Tracked {
    Level level = Level::none;
    std::string words;
    bool closed_by_operator = false;
  };
  struct Known {
    std::array<std::optional<Tracked>, kKinds> tracked;
    std::uint64_t findings = 0;
    std::optional<TimePoint> found;  // when `findings` rose last
    std::uint64_t round = 0;
  };
  struct Silence {
    bool lost = false;
    TimePoint judged{};  // heard later than this, a node is not silent because of this one
  };

  Silence silence(const NodeView& node, TimePoint now) const;
  Finding heartbeat(const NodeView& node, TimePoint now) const;
  Finding never_connected(const NodeView& node, WallTime wall) const;
  Finding clock(const NodeView& node, Level before) const;
  Finding finding(const NodeView& node, Known& known, TimePoint now) const;
  Finding spool_fill(const NodeView& node, Level before) const;
  Finding spool_age(const NodeView& node, Level before) const;
  Finding certificate(const NodeView& node, WallTime wall) const;
  Finding authority(const NodeView& node, WallTime wall) const;
  void settle(const NodeView& node, Kind kind, Known& known, Finding found, WallTime wall,
              store::AlertChanges& round);
  void find_lost(std::span<const NodeView> nodes, TimePoint now);
  const std::string* topmost_lost(const NodeView& node) const;

  TimePoint started_;
  AlertLimits limits_;
  std::uint64_t round_ = 0;
  std::map<std::string, Known, std::less<>> known_;
  std::map<std::string, TimePoint, std::less<>> lost_;  // gateways of this round: Silence::judged
  std::map<std::string, std::size_t, std::less<>> behind_;   // of this round, by the topmost lost
  std::set<std::string, std::less<>> silent_;                // of this round
  std::map<std::string, std::string, std::less<>> unknown_;  // of this round: by which gateway
};

}  // namespace postern
