#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/alert_rules.h"
#include "server/group.h"
#include "server/renewal_outlook.h"
#include "wire/batch.h"
#include "wire/channel.pb.h"

namespace postern {

inline constexpr Duration kNodesLookedAtEvery = std::chrono::seconds(5);
/// For each so many nodes as long again: looking takes about 5 us a node, so it costs well below a
/// hundredth of the store thread, whatever their number.
inline constexpr std::size_t kNodesPerLook = 2000;
inline constexpr Duration kHeadIntervalMax = std::chrono::hours(1);  // more is not believed

/// Knows what AlertRules wants to know of each node: by the store's rows, and by what this server
/// has seen itself. Owns no store or clock; belongs to the store thread.
///
/// A node is heard when its head's number rises, or when it came to us itself (Node::last_seen).
/// Whether its clock is right shows the time of its head against the time at which its parent
/// received it, up to us: so a gateway's wrong clock is not its agents'. A delay on the way looks
/// like a clock that is behind; hence the better one of the two newest heads counts. Likewise for
/// the age of what is unsettled: a node that comes back has old batches, and sends them at once.
class NodeWatch {
 public:
  /// What is known of this server itself.
  struct Own {
    NodeId id;
    std::string name;
    WallTime certificate_not_before{}, certificate_not_after{};
    Duration interval{};  // of heads of nodes that do not say theirs
  };
  NodeWatch(Own own, TimePoint started, AlertLimits limits = {})
      : own_(std::move(own)), started_(started), rules_(started, limits) {}

  /// As the store was opened: nobody was heard yet. Once, before all else.
  void resume(std::span<const store::Node> rows, std::span<const store::Alert> alerts);
  void set_limits(const AlertLimits& limits) { rules_.set_limits(limits); }
  void set_own(Own own) { own_ = std::move(own); }
  void set_authority(GroupFolder::Facts authority) { authority_ = std::move(authority); }

  /// A head that the node signed. `stamps`: as it came, without ours; `by`: the child that handed
  /// it over; `received`: by our clock.
  void on_head(const wire::pb::Head& head, std::span<const wire::Stamp> stamps, const NodeId& by,
               TimePoint now, WallTime received);
  /// Something came as this node's that it did not sign, or that contradicts what it signed.
  void on_finding(const NodeId& node, std::string words);
  bool on_closed(std::string_view cause) { return rules_.on_closed(cause); }

  /// Whether look() is due; costs nothing.
  bool due(TimePoint now) const { return !looked_ || now >= *looked_ + pause_; }
  /// `rows`: all that the store has.
  store::AlertChanges look(std::span<const store::Node> rows, TimePoint now, WallTime wall);

  /// By the node's own word, as the rules see it: never connected while it counts as lost, or is
  /// behind a gateway that does.
  bool connected(const store::Node& node, WallTime wall) const;
  std::optional<std::string> unknown_via(std::string_view node) const {
    return rules_.unknown_via(node);
  }

 private:
  struct Known {  // of one identity
    std::uint64_t number = 0;
    std::optional<WallTime> last_seen;
    std::optional<TimePoint> heard, reported_gone;
    TimePoint since{};
    std::uint64_t findings = 0;
    std::string found;
    // Of the head with the number `read`:
    std::uint64_t read = 0;
    Duration interval{};
    std::optional<Duration> oldest_unsettled, oldest_before;  // before: by the head read before
    std::optional<std::uint64_t> spool_bytes, spool_bytes_max;
    CertificateFacts certificate;
    // Against its parent's clock, by the newest two heads that came to us:
    std::uint64_t clock_number = 0;
    NodeId clock_parent{};  // ours: the server
    std::optional<Duration> newest, before;
    std::uint64_t round = 0;
  };
  void follow(Known& known, const store::Node& row, TimePoint now);
  void read_head(Known& known, const store::Node& row) const;
  NodeView view_of(const store::Node& row, const Known& known,
                   const std::vector<std::string>& servers, WallTime wall) const;
  NodeView own_view(TimePoint now) const;
  std::optional<Duration> clock_difference(const NodeId& node) const;

  Own own_;
  std::optional<GroupFolder::Facts> authority_;
  const TimePoint started_;
  AlertRules rules_;
  std::map<NodeId, Known> known_;  // approved ones, as of the last look, and who came since
  std::uint64_t own_findings_ = 0;
  std::string own_found_;
  std::optional<TimePoint> looked_;
  Duration pause_ = kNodesLookedAtEvery;
  std::uint64_t round_ = 0;
};

/// The newest head that the store has; none when there is none that can be read.
std::optional<wire::pb::Head> newest_head(const store::Node& node);

/// What the newest head that the store has says of the node's certificate. Whether it is connected
/// is for the caller to add.
CertificateFacts certificate_facts(const wire::pb::Head& head,
                                   const std::map<Digest, std::string>& authority);

/// How often a node sends heads, by the newest one that the store has; `otherwise` when it does not
/// say.
Duration head_interval(const store::Node& node, Duration otherwise);

}  // namespace postern
