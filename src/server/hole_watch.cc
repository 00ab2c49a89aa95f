#include "server/hole_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "base/quantity.h"
#include "node/self.h"

namespace postern {
namespace {

/// Parts of a hole that were missed this much apart count as one.
constexpr Duration kSameTime = std::chrono::seconds(15);

std::string cause_of(const wire::StreamKey& stream, std::uint64_t first) {
  return fmt::format("hole {} {}", stream.text(), first);
}

/// Batches of first..last that one of `holes` still misses.
std::uint64_t missing(std::uint64_t first, std::uint64_t last, std::span<const store::Hole> holes) {
  std::uint64_t count = 0;
  for (const store::Hole& hole : holes) {
    const std::uint64_t from = std::max(first, hole.first);
    const std::uint64_t to = std::min(last, hole.last);
    if (from <= to) count += to - from + 1;
  }
  return count;
}

}  // namespace

void HoleWatch::resume(std::span<const store::Alert> alerts) {
  for (const store::Alert& alert : alerts) {
    if ((alert.closed && !alert.muted) || !alert.cause.starts_with("hole ")) continue;
    raised_.insert(alert.cause);
    resumed_.insert(alert.cause);
  }
}

HoleWatch::Round HoleWatch::look(std::span<const store::Hole> holes, TimePoint now) {
  const bool all = holes.size() < limits_.holes_max;
  holes = holes.first(std::min(holes.size(), limits_.holes_max));
  std::map<wire::StreamKey, Stream> before = std::exchange(streams_, {});
  for (std::size_t i = 0; i < holes.size();) {
    const wire::StreamKey stream = holes[i].stream;
    std::size_t end = i;
    while (end < holes.size() && holes[end].stream == stream) ++end;
    const std::span<const store::Hole> present = holes.subspan(i, end - i);
    Stream& known = before[stream];
    if (end == holes.size() && !all)  // of what lies behind the last one nothing was said
      for (Watched& watched : known)
        if (watched.hole.first > present.back().last) streams_[stream].push_back(watched);
    mark_progress(known, present, now);
    Stream now_known;
    for (const store::Hole& hole : present) now_known.push_back(follow(hole, known, now));
    Stream& stays = streams_[stream];
    stays.insert(stays.begin(), now_known.begin(), now_known.end());
    before.erase(stream);
    i = end;
  }
  if (!all)
    for (auto& [stream, known] : before)
      if (stream > holes.back().stream) streams_[stream] = std::move(known);
  if (all) adopt_resumed();

  Round round;
  choose_questions(round, now);
  choose_alerts(round, now);
  return round;
}

void HoleWatch::mark_progress(Stream& before, std::span<const store::Hole> after,
                              TimePoint now) const {
  for (Watched& watched : before) {
    const std::uint64_t were = watched.hole.last - watched.hole.first + 1;
    if (missing(watched.hole.first, watched.hole.last, after) == were) continue;
    for (Piece& piece : watched.pieces) piece.moved = now;
  }
}

/// The hole as it is now, with the ages of what it was before.
HoleWatch::Watched HoleWatch::follow(const store::Hole& hole, const Stream& before,
                                     TimePoint now) const {
  Watched watched{hole, {}};
  std::uint64_t next = hole.first;
  const auto add_new = [&](std::uint64_t last) {
    watched.pieces.push_back(
        {next, last, now, now, now + limits_.hole_grace, limits_.hole_grace, ""});
  };
  for (const Watched& old : before) {
    if (old.hole.last < hole.first) continue;
    if (old.hole.first > hole.last) break;
    for (Piece piece : old.pieces) {
      piece.first = std::max(piece.first, hole.first);
      piece.last = std::min(piece.last, hole.last);
      if (piece.first > piece.last) continue;
      if (next < piece.first) add_new(piece.first - 1);
      next = piece.last + 1;
      watched.pieces.push_back(std::move(piece));
    }
  }
  if (next <= hole.last && next != 0) add_new(hole.last);
  merge(watched.pieces, now);
  return watched;
}

/// Neighbours that are nearly of one age, or old enough for anything, are one: what is remembered
/// of a hole has a bound, however long it grows. The older age holds.
void HoleWatch::merge(std::vector<Piece>& pieces, TimePoint now) const {
  std::vector<Piece> merged;
  for (Piece& piece : pieces) {
    if (!merged.empty() && merged.back().cause == piece.cause) {
      Piece& last = merged.back();
      const Duration apart =
          last.since > piece.since ? last.since - piece.since : piece.since - last.since;
      const bool both_old = now - std::max(last.since, piece.since) >= limits_.unexplained_after;
      if (apart < kSameTime || both_old) {
        last.last = piece.last;
        if (piece.since < last.since)
          std::tie(last.since, last.pause) = std::tie(piece.since, piece.pause);
        last.moved = std::max(last.moved, piece.moved);
        last.ask_at = std::min(last.ask_at, piece.ask_at);
        continue;
      }
    }
    merged.push_back(std::move(piece));
  }
  pieces = std::move(merged);
}

void HoleWatch::choose_questions(Round& round, TimePoint now) {
  std::vector<std::pair<TimePoint, Watched*>> due;
  for (auto& [stream, holes] : streams_)
    for (Watched& watched : holes) {
      TimePoint ask_at = TimePoint::max();
      for (const Piece& piece : watched.pieces) ask_at = std::min(ask_at, piece.ask_at);
      if (ask_at <= now) due.emplace_back(ask_at, &watched);
    }
  std::sort(due.begin(), due.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second->hole.stream, a.second->hole.first) <
           std::tie(b.first, b.second->hole.stream, b.second->hole.first);
  });
  if (due.size() > limits_.asks_max) due.resize(limits_.asks_max);
  for (const auto& [ask_at, watched] : due) {
    round.ask.push_back(watched->hole);
    for (Piece& piece : watched->pieces) {
      if (piece.ask_at > now) {  // it was asked for with the rest
        piece.ask_at = std::max(piece.ask_at, now + limits_.hole_grace);
        continue;
      }
      piece.ask_at = now + piece.pause;
      piece.pause = std::min(2 * piece.pause, limits_.pause_max);
    }
  }
}

void HoleWatch::choose_alerts(Round& round, TimePoint now) {
  std::set<std::string> open;
  for (auto& [stream, holes] : streams_)
    for (Watched& watched : holes) {
      std::string cause;
      Duration age{};
      bool old_and_quiet = false;
      for (const Piece& piece : watched.pieces) {
        if (cause.empty()) cause = piece.cause;
        age = std::max(age, now - piece.since);
        old_and_quiet |= now - piece.since >= limits_.unexplained_after &&
                         now - piece.moved >= limits_.hole_grace;
      }
      if (cause.empty() && old_and_quiet) {
        cause = cause_of(stream, watched.hole.first);
        round.raise.push_back({watched.hole, cause, age});
      }
      // One alert for the whole hole: what it grew by, and what it splits into, belong to it.
      for (Piece& piece : watched.pieces)
        if (piece.cause.empty()) piece.cause = cause;
      for (const Piece& piece : watched.pieces)
        if (!piece.cause.empty()) open.insert(piece.cause);
    }
  open.insert(resumed_.begin(), resumed_.end());
  std::set_difference(raised_.begin(), raised_.end(), open.begin(), open.end(),
                      std::back_inserter(round.close));
  raised_ = std::move(open);
}

/// An alert of an earlier life says only stream and first: it belongs to the holes that begin, or
/// still go on, behind that, up to where the next one begins. One without such a hole is closed.
void HoleWatch::adopt_resumed() {
  if (resumed_.empty()) return;
  for (auto& [stream, holes] : streams_) {
    const std::string stem = fmt::format("hole {} ", stream.text());
    std::map<std::uint64_t, std::string> firsts;
    for (auto cause = resumed_.lower_bound(stem);
         cause != resumed_.end() && cause->starts_with(stem); ++cause) {
      std::uint64_t first = 0;
      const char* end = cause->data() + cause->size();
      if (std::from_chars(cause->data() + stem.size(), end, first).ptr == end)
        firsts.emplace(first, *cause);
    }
    for (Watched& watched : holes) {
      const auto behind = firsts.upper_bound(watched.hole.last);
      if (behind == firsts.begin()) continue;
      for (Piece& piece : watched.pieces) piece.cause = std::prev(behind)->second;
    }
  }
  resumed_.clear();
}

std::vector<HoleWatch::Unexplained> HoleWatch::open(TimePoint now) const {
  std::vector<Unexplained> list;
  for (const auto& [stream, holes] : streams_)
    for (const Watched& watched : holes) {
      Unexplained one{watched.hole, "", {}};
      for (const Piece& piece : watched.pieces) {
        if (one.cause.empty()) one.cause = piece.cause;
        one.age = std::max(one.age, now - piece.since);
      }
      if (one.age >= limits_.hole_grace || !one.cause.empty()) list.push_back(std::move(one));
    }
  return list;
}

std::size_t HoleWatch::pieces() const {
  std::size_t count = 0;
  for (const auto& [stream, holes] : streams_)
    for (const Watched& watched : holes) count += watched.pieces.size();
  return count;
}

store::Alert hole_alert(const HoleWatch::Unexplained& unexplained,
                        const std::optional<store::Node>& node, WallTime now) {
  const store::Hole& hole = unexplained.hole;
  const std::string name = node ? node->name : hole.stream.node.hex();
  const WallTime since =
      now - std::chrono::duration_cast<std::chrono::milliseconds>(unexplained.age);
  std::string way = "no path to it is known";
  if (node && !node->path.empty())
    way = fmt::format("it came last by way of {}", fmt::join(node->path, ", "));
  store::Alert alert;
  alert.cause = unexplained.cause;
  alert.severity = "critical";
  alert.node = hole.stream.node;
  alert.words = fmt::format(
      "unexplained loss: batches {} to {} of {} (lane {}, epoch {}) are missing since {} and "
      "nobody says why; {}. It is asked for again; see postern loss list --node {}",
      hole.first, hole.last, name, wire::to_string(hole.stream.lane), hole.stream.epoch.ordinal,
      to_rfc3339(since), way, name);
  alert.raised = alert.last = now;
  return alert;
}

wire::pb::HoleQuestion hole_question(const store::Hole& hole, std::uint32_t generation,
                                     WallTime now) {
  wire::pb::HoleQuestion question;
  Writer stream;
  hole.stream.write(stream);
  question.set_stream(to_string(ByteView(stream.take())));
  question.set_first(hole.first);
  question.set_last(hole.last);
  if (hole.before) question.set_before(node::field_of(*hole.before));
  if (hole.at_last) question.set_at_last(node::field_of(*hole.at_last));
  question.set_generation(generation);
  question.set_issued_ms(to_ms(now));
  return question;
}

}  // namespace postern
