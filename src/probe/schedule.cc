#include "probe/schedule.h"

#include "base/quantity.h"

namespace postern {
namespace {

constexpr const char* kOff = "switched off";

std::string words_of(const std::vector<Error>& problems) {
  if (problems.empty()) return {};
  if (problems.size() == 1) return problems[0].message;
  return fmt::format("{} (and {} more)", problems[0].message, problems.size() - 1);
}

}  // namespace

Schedule::Schedule(const Sampling& sampling, TimePoint now, WallTime wall) {
  for (One& one : each_) one.standing.since = wall;
  set(sampling, now, wall);
  for (One& one : each_) one.due = now;
}

void Schedule::set(const Sampling& sampling, TimePoint now, WallTime wall) {
  sampling_ = sampling;
  for (const CollectorId id : all_collectors()) {
    One& one = each_[index_of(id)];
    one.due = now + sampling_.interval_of(id);
    if (!sampling_.on(id))
      becomes(one, true, kOff, wall);
    else if (one.standing.reason == kOff)
      becomes(one, true, "", wall);
  }
}

std::vector<CollectorId> Schedule::take_due(TimePoint now) {
  std::vector<CollectorId> due;
  for (const CollectorId id : all_collectors()) {
    One& one = each_[index_of(id)];
    if (!sampling_.on(id) || one.due > now || one.asked) continue;
    one.asked = now;
    move_on(id, now);
    due.push_back(id);
  }
  return due;
}

bool Schedule::answered(CollectorId id, TimePoint now, WallTime wall, Duration took,
                        const std::vector<Error>& problems) {
  One& one = each_[index_of(id)];
  one.asked.reset();
  one.standing.took = took;
  if (one.due <= now) move_on(id, now);
  if (!problems.empty() && !one.hangs) ++one.standing.failures;
  one.hangs = false;
  return sampling_.on(id) && becomes(one, problems.empty(), words_of(problems), wall);
}

std::vector<CollectorId> Schedule::look(TimePoint now, WallTime wall) {
  std::vector<CollectorId> hang;
  for (const CollectorId id : all_collectors()) {
    One& one = each_[index_of(id)];
    if (!one.asked || one.hangs || now - *one.asked < kAnswerMax) continue;
    one.hangs = true;
    ++one.standing.failures;
    if (sampling_.on(id) &&
        becomes(one, false,
                fmt::format("it has not answered within {} and is not asked again before it does",
                            format_duration(kAnswerMax)),
                wall))
      hang.push_back(id);
  }
  return hang;
}

TimePoint Schedule::next(TimePoint now) const {
  TimePoint next = now + std::chrono::hours(1);
  for (const CollectorId id : all_collectors()) {
    const One& one = each_[index_of(id)];
    if (one.asked && !one.hangs) next = std::min(next, *one.asked + kAnswerMax);
    if (!one.asked && sampling_.on(id)) next = std::min(next, one.due);
  }
  return next;
}

EntityState Schedule::state(CollectorId id, const std::string& host) const {
  const Standing& standing = this->standing(id);
  EntityState state;
  state.type = "postern.collector";
  state.id = {{"host.name", host}, {"postern.collector", std::string(name_of(id))}};
  state.attributes = {{"state", standing.healthy ? "healthy" : "warning"},
                      {"since", to_rfc3339(standing.since)}};
  if (!standing.reason.empty()) state.attributes.push_back({"reason", standing.reason});
  return state;
}

bool Schedule::becomes(One& one, bool healthy, std::string reason, WallTime wall) {
  const bool changes = one.standing.healthy != healthy;
  if (changes) one.standing.since = wall;
  one.standing.healthy = healthy;
  one.standing.reason = std::move(reason);
  return changes;
}

/// To the first time after `now` on its own grid, so that those of one interval stay together.
void Schedule::move_on(CollectorId id, TimePoint now) {
  One& one = each_[index_of(id)];
  const Duration interval = sampling_.interval_of(id);
  one.due += ((now - one.due) / interval + 1) * interval;
}

}  // namespace postern
