#include "server/alert_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/quantity.h"

namespace postern {
namespace {

constexpr std::array<std::string_view, AlertRules::kKinds> kWords = {
    "heartbeat",  "never-connected", "clock",       "finding",
    "spool-fill", "spool-age",       "certificate", "authority"};

std::string cause_of(AlertRules::Kind kind, std::string_view name) {
  return fmt::format("{} {}", AlertRules::word_of(kind), name);
}

/// Kind and node of a cause; none for those of others.
std::optional<std::pair<std::size_t, std::string_view>> parse_cause(std::string_view cause) {
  const std::size_t space = cause.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto word = std::ranges::find(kWords, cause.substr(0, space));
  if (word == kWords.end()) return std::nullopt;
  return std::pair(static_cast<std::size_t>(word - kWords.begin()), cause.substr(space + 1));
}

bool above(double value, const Threshold& threshold, bool already) {
  return already ? value >= threshold.close : value > threshold.open;
}

double seconds_of(Duration d) { return std::chrono::duration<double>(d).count(); }

/// Of a certificate's life; none when that is not known.
std::optional<double> part_left(const std::optional<WallTime>& not_before,
                                const std::optional<WallTime>& not_after, WallTime wall) {
  if (!not_before || !not_after || *not_after <= *not_before) return std::nullopt;
  return static_cast<double>((*not_after - wall).count()) /
         static_cast<double>((*not_after - *not_before).count());
}

}  // namespace

std::string_view AlertRules::word_of(Kind kind) { return kWords[static_cast<std::size_t>(kind)]; }

std::optional<std::string_view> AlertRules::node_of(std::string_view cause) {
  const auto parsed = parse_cause(cause);
  if (!parsed) return std::nullopt;
  return parsed->second;
}

void AlertRules::resume(std::span<const store::Alert> alerts) {
  for (const store::Alert& alert : alerts) {
    const auto cause = parse_cause(alert.cause);
    if (!cause || (alert.closed && !alert.muted)) continue;
    known_[std::string(cause->second)].tracked[cause->first] = Tracked{
        alert.severity == "critical" ? Level::critical : Level::warning, alert.words, alert.muted};
  }
}

std::optional<std::string> AlertRules::unknown_via(std::string_view node) const {
  const auto found = unknown_.find(node);
  if (found == unknown_.end()) return std::nullopt;
  return found->second;
}

bool AlertRules::on_closed(std::string_view cause) {
  const auto parsed = parse_cause(cause);
  const auto known = parsed ? known_.find(parsed->second) : known_.end();
  if (known == known_.end()) return false;
  auto& tracked = known->second.tracked[parsed->first];
  if (!tracked || tracked->closed_by_operator) return false;
  tracked->closed_by_operator = true;
  return true;
}

store::AlertChanges AlertRules::evaluate(std::span<const NodeView> nodes, TimePoint now,
                                         WallTime wall) {
  ++round_;
  find_lost(nodes, now);
  store::AlertChanges round;
  for (const NodeView& node : nodes) {
    Known& known = known_[node.name];
    known.round = round_;
    const auto before = [&](Kind kind) {
      const auto& tracked = known.tracked[static_cast<std::size_t>(kind)];
      return tracked ? tracked->level : Level::none;
    };
    const auto say = [&](Kind kind, Finding found) {
      settle(node, kind, known, std::move(found), wall, round);
    };
    say(Kind::heartbeat, heartbeat(node, now));
    say(Kind::never_connected, never_connected(node, wall));
    say(Kind::clock, clock(node, before(Kind::clock)));
    say(Kind::finding, finding(node, known, now));
    say(Kind::spool_fill, spool_fill(node, before(Kind::spool_fill)));
    say(Kind::spool_age, spool_age(node, before(Kind::spool_age)));
    say(Kind::certificate, certificate(node, wall));
    say(Kind::authority, authority(node, wall));
  }
  for (auto known = known_.begin(); known != known_.end();) {
    if (known->second.round == round_) {
      ++known;
      continue;
    }
    for (std::size_t i = 0; i < kKinds; ++i)
      if (known->second.tracked[i])
        round.close.push_back(cause_of(static_cast<Kind>(i), known->first));
    known = known_.erase(known);
  }
  return round;
}

void AlertRules::settle(const NodeView& node, Kind kind, Known& known, Finding found, WallTime wall,
                        store::AlertChanges& round) {
  if (!found.level) return;
  auto& tracked = known.tracked[static_cast<std::size_t>(kind)];
  if (*found.level == Level::none) {
    // Also what an operator closed: it is forgotten that he did.
    if (tracked) round.close.push_back(cause_of(kind, node.name));
    tracked.reset();
    return;
  }
  if (found.words.empty() && tracked) found.words = tracked->words;
  // News after an operator closed it is another matter than what he closed.
  const bool raise = !tracked || found.anew;
  const bool change = tracked && !tracked->closed_by_operator &&
                      (tracked->level != *found.level || tracked->words != found.words);
  if (!raise && !change) {
    tracked->level = *found.level;
    return;
  }
  store::Alert alert;
  alert.cause = cause_of(kind, node.name);
  alert.severity = *found.level == Level::critical ? "critical" : "warning";
  alert.node = node.id;
  alert.words = found.words;
  alert.raised = alert.last = wall;
  (!raise ? round.change : (tracked ? round.again : round.raise)).push_back(std::move(alert));
  tracked = Tracked{*found.level, std::move(found.words)};
}

/// By its own heads; what a parent says of it can only make it worse (rule D6).
AlertRules::Silence AlertRules::silence(const NodeView& node, TimePoint now) const {
  const TimePoint since = node.heard.value_or(std::max(started_, node.since));
  TimePoint judged = since + limits_.patience(node.interval, !node.gateways.empty());
  if (node.reported_gone)
    judged = std::min(judged, *node.reported_gone + limits_.patience(node.interval, false));
  return {now > judged, judged};
}

void AlertRules::find_lost(std::span<const NodeView> nodes, TimePoint now) {
  lost_.clear();
  behind_.clear();
  silent_.clear();
  unknown_.clear();
  for (const NodeView& node : nodes) {
    if (!node.first_seen) continue;
    const Silence how = silence(node, now);
    // Lost before we began, and not heard since.
    const auto known = known_.find(node.name);
    const bool still = !node.heard && known != known_.end() &&
                       known->second.tracked[static_cast<std::size_t>(Kind::heartbeat)];
    if (!how.lost && !still) continue;
    silent_.insert(node.name);
    if (node.role == store::Role::gateway)
      lost_.emplace(node.name, how.lost ? how.judged : started_);
  }
  if (lost_.empty()) return;
  for (const NodeView& node : nodes)
    if (const std::string* top = topmost_lost(node)) {
      ++behind_[*top];
      unknown_.emplace(node.name, *top);
    }
}

/// None when all gateways above it are well, or it was heard although one is lost.
const std::string* AlertRules::topmost_lost(const NodeView& node) const {
  if (!node.first_seen) return nullptr;
  for (auto gateway = node.gateways.rbegin(); gateway != node.gateways.rend(); ++gateway) {
    const auto lost = lost_.find(*gateway);
    if (lost != lost_.end() && !(node.heard && *node.heard > lost->second)) return &lost->first;
  }
  return nullptr;
}

AlertRules::Finding AlertRules::heartbeat(const NodeView& node, TimePoint now) const {
  if (!node.first_seen) return {};  // never-connected speaks of it
  if (topmost_lost(node) != nullptr) return {std::nullopt};
  if (!silence(node, now).lost) {
    if (!node.heard) return {std::nullopt};  // not since we run: neither lost nor well
    return {};
  }
  // The last time it was seen, not how long ago: the words stay as they are from round to round.
  std::string words = fmt::format("{} is not heard since {}", node.name,
                                  to_rfc3339(node.last_seen.value_or(*node.first_seen)));
  const auto behind = behind_.find(node.name);
  if (behind != behind_.end())
    words += fmt::format("; {} {} behind it unknown", behind->second,
                         behind->second == 1 ? "node" : "nodes");
  words += "; see whether it runs and reaches its parent";
  return {node.role == store::Role::gateway ? Level::critical : Level::warning, std::move(words)};
}

AlertRules::Finding AlertRules::never_connected(const NodeView& node, WallTime wall) const {
  if (node.first_seen || !node.approved || wall - *node.approved <= limits_.never_connected_after)
    return {};
  return {Level::warning,
          fmt::format("{} was approved at {} and never connected; start it there, or remove it "
                      "if the name is wrong",
                      node.name, to_rfc3339(*node.approved))};
}

AlertRules::Finding AlertRules::clock(const NodeView& node, Level before) const {
  if (!node.clock_difference) return {std::nullopt};
  const double seconds = std::abs(seconds_of(*node.clock_difference));
  const bool critical = above(seconds, limits_.clock_critical, before == Level::critical);
  if (!critical && !above(seconds, limits_.clock_warning, before != Level::none)) return {};
  const double limit = critical ? limits_.clock_critical.open : limits_.clock_warning.open;
  return {critical ? Level::critical : Level::warning,
          fmt::format("the clock of {} is more than {:g} s {} ours; set up time synchronisation "
                      "there, or here",
                      node.name, limit,
                      *node.clock_difference < Duration::zero() ? "behind" : "ahead of")};
}

/// Findings have no end that could be seen: they close when none came for long.
AlertRules::Finding AlertRules::finding(const NodeView& node, Known& known, TimePoint now) const {
  const bool anew = node.findings > known.findings;
  if (anew || !known.found) known.found = now;  // one that was open before we began, too
  known.findings = node.findings;
  const auto& tracked = known.tracked[static_cast<std::size_t>(Kind::finding)];
  if (!anew && (!tracked || now - *known.found > limits_.finding_quiet)) return {};
  if (node.found.empty()) return {Level::critical, "", anew};  // as it was said before
  return {Level::critical,
          fmt::format("{}; see whether {} was copied or set back, then enrol it anew", node.found,
                      node.name),
          anew};
}

AlertRules::Finding AlertRules::spool_fill(const NodeView& node, Level before) const {
  if (!node.spool_bytes || !node.spool_bytes_max || *node.spool_bytes_max == 0)
    return {std::nullopt};
  const double percent =
      100 * static_cast<double>(*node.spool_bytes) / static_cast<double>(*node.spool_bytes_max);
  const bool critical = above(percent, limits_.fill_critical, before == Level::critical);
  if (!critical && !above(percent, limits_.fill_warning, before != Level::none)) return {};
  const double limit = critical ? limits_.fill_critical.open : limits_.fill_warning.open;
  return {critical ? Level::critical : Level::warning,
          fmt::format("the spool of {} is over {:g} % of its {}; see why its parent does not take "
                      "more, or raise spool.bytes_max there",
                      node.name, limit, format_bytes(*node.spool_bytes_max))};
}

AlertRules::Finding AlertRules::spool_age(const NodeView& node, Level before) const {
  if (!node.oldest_unsettled) return {std::nullopt};
  if (!above(seconds_of(*node.oldest_unsettled), limits_.age_warning, before != Level::none))
    return {};
  return {Level::warning,
          fmt::format("the oldest batch that {} keeps waits longer than {:g} s to be settled; see "
                      "its way up, and postern loss list --node {}",
                      node.name, limits_.age_warning.open, node.name)};
}

AlertRules::Finding AlertRules::certificate(const NodeView& node, WallTime wall) const {
  const auto left = part_left(node.certificate_not_before, node.certificate_not_after, wall);
  if (!left) return {std::nullopt};
  if (*left > limits_.certificate_warning && node.renewal_missed.empty()) return {};
  const bool critical = *left <= limits_.certificate_critical;
  const std::string end = to_rfc3339(*node.certificate_not_after);
  if (!node.renewal_missed.empty())
    return {critical ? Level::critical : Level::warning,
            fmt::format("the certificate of {} ends at {} and will not be renewed in time: {}",
                        node.name, end, node.renewal_missed)};
  return {critical ? Level::critical : Level::warning,
          fmt::format("the certificate of {} ends at {} and was not renewed; see its log for why, "
                      "or enrol it anew",
                      node.name, end)};
}

AlertRules::Finding AlertRules::authority(const NodeView& node, WallTime wall) const {
  const auto left = part_left(node.authority_not_before, node.authority_not_after, wall);
  if (!left) return {std::nullopt};
  if (*left > limits_.certificate_warning) return {};
  return {*left <= limits_.certificate_critical ? Level::critical : Level::warning,
          fmt::format("the authority that signs the group's certificates ends at {}, and they with "
                      "it; make the next one: postern-server ca issue-intermediate, or postern ca "
                      "roll when the root ends then too",
                      to_rfc3339(*node.authority_not_after))};
}

}  // namespace postern
