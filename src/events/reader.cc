#include "events/reader.h"

#include <algorithm>

namespace postern::events {
namespace {

constexpr Duration kToldEvery = std::chrono::minutes(1);

}  // namespace

Reader::Reader(Disk& disk, std::filesystem::path path, const Log& log, Resource resource,
               std::unique_ptr<Sources> sources, StateFile state,
               std::uint32_t records_per_second_max)
    : disk_(disk),
      path_(std::move(path)),
      log_(log),
      resource_(std::move(resource)),
      rate_(records_per_second_max),
      all_(std::move(sources)),
      state_(std::move(state)) {}

/// A source that tells more than its rate waits; what it waits with stays where it is.
bool Reader::may_read(const std::string& name, std::vector<LogEvent>& events, TimePoint now,
                      WallTime wall) {
  Allowance& allowance = allowances_[name];
  const double seconds =
      allowance.at ? std::chrono::duration<double>(now - *allowance.at).count() : 1.0;
  allowance.at = now;
  allowance.records = std::min(allowance.records + seconds * rate_, rate_);
  if (allowance.records >= 1) return true;
  ++allowance.pauses;
  if (allowance.told_at && now - *allowance.told_at < kToldEvery) return false;
  allowance.told_at = now;
  const std::string words = fmt::format(
      "{} tells more than {} events a second (events.records_per_second_max): it is read later, "
      "nothing is left out; held back {} times so far",
      name, rate_, allowance.pauses);
  log_.warning("{}", words);
  events.push_back(notice(kHeldBack, words, wall));
  return false;
}

void Reader::tell(const std::string& name, const std::string& problem,
                  std::vector<LogEvent>& events, WallTime wall) {
  std::string& known = problems_[name];
  if (known == problem) return;
  known = problem;
  if (problem.empty()) {
    log_.info("{} is read again", name);
    return;
  }
  log_.warning("events: {}", problem);
  events.push_back(notice(kUnreadable, problem, wall));
}

void Reader::read(const std::string& name, LogSource& source, std::vector<LogEvent>& events,
                  std::size_t& bytes, bool& more, TimePoint now, WallTime wall) {
  const ReadLimit whole;
  if (events.size() >= whole.records || bytes >= whole.bytes) {
    more = true;
    return;
  }
  if (!may_read(name, events, now, wall)) return;
  Allowance& allowance = allowances_[name];
  ReadLimit limit{whole.records - events.size(), whole.bytes - bytes};
  limit.records = std::min(limit.records, static_cast<std::size_t>(allowance.records));
  LogSource::Read read = source.read(limit, now, wall);
  allowance.records -= static_cast<double>(read.events.size());
  for (LogEvent& event : read.events) {
    bytes += weight_of(event);
    events.push_back(std::move(event));
  }
  more = more || read.more;
  tell(name, read.problem, events, wall);
  const auto known = state_.positions.find(name);
  if (known == state_.positions.end() || known->second != read.position)
    moved_[name] = read.position;
  turn_ = name;
}

Reader::Batch Reader::collect(TimePoint now, WallTime wall) {
  std::vector<LogEvent> events;
  Batch batch;
  std::size_t bytes = 0;
  moved_.clear();
  all_->look(sources_, state_.positions, moved_, now);
  std::erase_if(moved_, [this](const auto& entry) {
    const auto known = state_.positions.find(entry.first);
    return known != state_.positions.end() && known->second == entry.second;
  });
  // Beginning behind the one that was last, so that a loud one leaves the others their turn.
  const auto first = sources_.upper_bound(turn_);
  const std::string last_turn = turn_;
  for (auto at = first; at != sources_.end(); ++at)
    read(at->first, *at->second, events, bytes, batch.more, now, wall);
  for (auto at = sources_.begin(); at != sources_.end() && at->first <= last_turn; ++at)
    read(at->first, *at->second, events, bytes, batch.more, now, wall);

  under_way_ = events.size();
  if (!events.empty()) {
    auto payload = encode_logs(resource_, events);
    if (payload) {
      batch.payload = std::move(*payload);
      return batch;
    }
    log_.error("{} events are lost: {}", events.size(), payload.error().message);
    under_way_ = 0;
  }
  if (!moved_.empty()) sealed();
  if (written_) return batch;
  forget_some();
  if (auto written = disk_.write_file(path_, encode(state_), 0600); written)
    written_ = true;
  else
    log_.warning("how far events were read is not kept: {}", written.error().message);
  return batch;
}

Result<> Reader::write_intent(const BatchNumber& batch) {
  forget_some();
  StateFile file = state_;
  file.intent = {batch, moved_};
  written_ = false;
  return disk_.write_file(path_, encode(file), 0600);
}

void Reader::sealed() {
  for (auto& [name, position] : moved_) state_.positions[name] = std::move(position);
  moved_.clear();
  events_ += under_way_;
  under_way_ = 0;
  written_ = false;
}

/// Of files that are gone something is known for ever; a bounded ever.
void Reader::forget_some() {
  for (auto at = state_.positions.begin();
       at != state_.positions.end() &&
       state_.positions.size() + moved_.size() > StateFile::kSourcesMax;) {
    const bool gone = at->first.starts_with("file:") && !sources_.contains(at->first);
    at = gone ? state_.positions.erase(at) : std::next(at);
  }
}

}  // namespace postern::events
