#include "server/settler.h"

#include <algorithm>

namespace postern {

void Settler::on_coverage(wire::Coverage coverage, std::uint32_t generation, TimePoint now) {
  forget_rested(now);
  const wire::StreamKey key = coverage.stream;
  const auto known = streams_.find(key);
  if (known == streams_.end()) {
    if (streams_.size() >= limits_.streams_max) make_room(now);
    streams_[key] = {{std::move(coverage), generation}, true, now};
    due_.emplace(now, key);
    return;
  }
  Stream& stream = known->second;
  if (generation < stream.said.generation) return;
  stream.said = {std::move(coverage), generation};
  if (stream.due) return;
  resting_.erase({stream.at, key});
  due_.emplace(stream.at, key);
  stream.due = true;
}

std::vector<Settler::Due> Settler::take_due(TimePoint now) {
  forget_rested(now);
  std::vector<Due> taken;
  while (!due_.empty() && due_.begin()->first <= now) {
    const wire::StreamKey key = due_.begin()->second;
    due_.erase(due_.begin());
    Stream& stream = streams_.at(key);
    taken.push_back({std::move(stream.said.coverage), stream.said.generation});
    stream.said.coverage = {};  // the generation stays: nothing older is said behind it
    stream.due = false;
    stream.at = now + limits_.interval;
    resting_.emplace(stream.at, key);
  }
  return taken;
}

TimePoint Settler::wake_at() const { return due_.empty() ? TimePoint::max() : due_.begin()->first; }

void Settler::forget_rested(TimePoint now) {
  while (!resting_.empty() && resting_.begin()->first <= now) {
    streams_.erase(resting_.begin()->second);
    resting_.erase(resting_.begin());
  }
}

void Settler::make_room(TimePoint now) {
  if (!resting_.empty()) {
    streams_.erase(resting_.begin()->second);
    resting_.erase(resting_.begin());
    return;
  }
  // All of them wait: the first that would have to wait longer goes with the next take_due().
  const auto next = due_.lower_bound({now + Duration(1), wire::StreamKey{}});
  if (next == due_.end()) return;
  const wire::StreamKey key = next->second;
  due_.erase(next);
  streams_.at(key).at = now;
  due_.emplace(now, key);
}

}  // namespace postern
