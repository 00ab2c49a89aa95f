#include "node/origin.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/invariant.h"

namespace postern::node {
namespace {

/// What of an evidence matters here. Its format needs no check: only we could sign it.
struct Other {
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  Digest hash{}, previous{};
};

std::optional<Other> read_evidence(ByteView evidence, const PublicKey& key) {
  if (evidence.size() != wire::kBatchHeaderBytes) return std::nullopt;
  const ByteView signed_part = evidence.first(wire::kBatchSignedBytes);
  Reader signature(evidence.subspan(wire::kBatchSignedBytes));
  if (!key.verifies(wire::kBatchContext, signed_part, signature.array<64>())) return std::nullopt;
  Reader in(signed_part);
  Other other;
  in.view(5);  // magic, version
  const std::uint8_t lane = in.u8();
  in.view(2);  // kind, compression
  other.stream.node.bytes = in.array<16>();
  other.stream.epoch.ordinal = in.u32();
  in.u32();  // flags
  other.stream.epoch.random = in.u64();
  other.sequence = in.u64();
  other.previous = in.array<32>();
  if (!wire::is_lane(lane) || other.sequence == 0) return std::nullopt;
  other.stream.lane = static_cast<wire::Lane>(lane);
  other.hash = sha256(signed_part);
  return other;
}

/// Whether `later` goes on where `earlier` ends.
bool follows(const wire::GapRecord& earlier, const wire::GapRecord& later) {
  return earlier.stream == later.stream && earlier.reason == later.reason &&
         earlier.last == later.first - 1;
}

void append(wire::GapRecord& gap, const wire::GapRecord& next) {
  gap.last = next.last;
  gap.at_last = next.at_last;
  const bool has_times = gap.records > 0, next_has = next.records > 0;
  if (next_has) {
    gap.first_time = has_times ? std::min(gap.first_time, next.first_time) : next.first_time;
    gap.last_time = has_times ? std::max(gap.last_time, next.last_time) : next.last_time;
  }
  gap.records += next.records;
  gap.bytes += next.bytes;
}

}  // namespace

Origin::Origin(const PrivateKey& identity, const Holdings& holdings, Random& random,
               EpochChoice choice, Limits limits)
    : identity_(identity),
      node_(identity.node_id()),
      holdings_(holdings),
      random_(random),
      limits_(limits),
      file_(std::move(choice.file)),
      opening_(choice.opening) {
  outbox_.emplace(identity_, choice.epoch);
  for (const wire::GapRecord& gap : choice.given_up) on_gap(gap);
}

void Origin::resume(const relay::Relay& relay) {
  // Old disputes of which not even a leftover came back from the disk are over.
  while (file_.disputed.size() > EpochFile::kDisputedMax / 2) {
    const auto over = std::find_if(
        file_.disputed.begin(), file_.disputed.end(), [this](const EpochFile::Disputed& disputed) {
          return std::all_of(std::begin(wire::kLanes), std::end(wire::kLanes),
                             [&](wire::Lane lane) {
                               return holdings_.held({node_, disputed.epoch, lane}).empty();
                             });
        });
    if (over == file_.disputed.end()) break;
    file_.disputed.erase(over);
  }
  outbox_->resume(relay);
  for (const wire::Lane lane : wire::kLanes) {
    const auto index = wire::index_of(lane);
    LaneState& state = lanes_[index];
    state.durable = outbox_->position(lane);
    const EpochFile::Plan& copies = file_.plans[index];
    state.copied = state.copies_on_disk = copies.made(state.durable.sequence);
    state.look = !file_.disputed.empty();
    for (const EpochFile::Disputed& disputed : file_.disputed) {
      const wire::StreamKey stream{node_, disputed.epoch, lane};
      NumberSet over = disputed.done[index];
      for (std::size_t i = 0; i < copies.copies.size(); ++i) {
        if (copies.copies[i].epoch != disputed.epoch) continue;
        const Range one{copies.copies[i].sequence, copies.copies[i].sequence};
        if (i < state.copied)
          over.add(one);
        else
          over.remove(one);
      }
      for (const Range& held : holdings_.held(stream)) {
        NumberSet back;
        back.add(held);
        for (const Range& stays : over.missing(held)) back.remove(stays);
        for (const Range& range : back.ranges())
          done_.push_back({Done::What::sealed_again, stream, range});
      }
    }
  }
}

// ---- What is known

std::optional<Outbox::Position> Origin::position(wire::Lane lane) const {
  const Outbox::Position& durable = of(lane).durable;
  if (durable.sequence == 0) return std::nullopt;
  return durable;
}

bool Origin::idle() const {
  return std::all_of(lanes_.begin(), lanes_.end(),
                     [](const LaneState& lane) { return lane.sealed.empty(); });
}

std::size_t Origin::waiting() const {
  std::size_t sum = 0;
  for (const LaneState& lane : lanes_) sum += lane.sealed.size() + lane.waiting.size();
  return sum - reserved();
}

std::size_t Origin::reserved() const {
  std::size_t sum = 0;
  for (const Item& item : lanes_[0].sealed) sum += item.reserved ? 1 : 0;
  return sum;
}

Origin::Counts Origin::counts() const {
  Counts counts = counts_;
  counts.waiting = waiting() + reserved();
  return counts;
}

std::optional<Digest> Origin::hash(const wire::StreamKey& stream, std::uint64_t sequence) const {
  if (sequence == 0) return std::nullopt;
  for (const Item& item : of(stream.lane).sealed)
    if (item.sealed.stream == stream && item.sealed.sequence == sequence) return item.sealed.hash;
  const Outbox::Position& durable = of(stream.lane).durable;
  if (stream == this->stream(stream.lane) && sequence == durable.sequence) return durable.hash;
  return holdings_.hash(stream, sequence);
}

NumberSet Origin::queued(const wire::StreamKey& stream) const {
  NumberSet numbers;
  for (const Item& item : of(stream.lane).sealed)
    if (item.sealed.stream == stream) numbers.add({item.sealed.sequence, item.sealed.sequence});
  return numbers;
}

// ---- Set back or cloned

bool Origin::on_evidence(ByteView evidence) {
  const auto other = read_evidence(evidence, identity_.public_key());
  if (!other || other->stream.node != node_) {
    ++counts_.evidence_refused;
    return false;
  }
  // Both what it is and what it goes on from may be none of ours.
  const bool itself = dispute(other->stream, other->sequence, other->hash);
  const bool before =
      other->sequence > 1 && dispute(other->stream, other->sequence - 1, other->previous);
  return itself || before;
}

bool Origin::on_settled(const wire::Coverage& coverage) {
  if (coverage.stream.node != node_) return false;
  bool set_back = false;
  for (const wire::Interval& interval : coverage.intervals) {
    if (const auto gone = gone_.find(coverage.stream); gone != gone_.end()) {
      // A gap record that is not sealed yet keeps its range: its effect is a set union.
      gone->second.remove({interval.first, interval.last});
      if (gone->second.ranges().empty()) gone_.erase(gone);
    }
    if (dispute(coverage.stream, interval.last, interval.hash)) set_back = true;
  }
  return set_back;
}

/// What was settled was not sealed again and counts as done; it is held again now. Of what is
/// sealed again twice the store knows that it is one (batch.md#B28).
void Origin::on_rewound() {
  for (EpochFile::Disputed& disputed : file_.disputed)
    for (const wire::Lane lane : wire::kLanes) {
      NumberSet& done = disputed.done[wire::index_of(lane)];
      const NumberSet before = done;
      for (const Range& held : holdings_.held({node_, disputed.epoch, lane})) done.remove(held);
      of(lane).look = true;
      if (done != before) ++revision_;
    }
}

/// Somebody has, with our signature or under the server's, another batch of this number.
bool Origin::dispute(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& other) {
  const bool current = stream.epoch == epoch();
  const auto ours = hash(stream, sequence);
  if (ours && *ours == other) return false;
  const auto lane = wire::index_of(stream.lane);
  if (!ours && !(current && sequence > outbox_->position(stream.lane).sequence)) return false;
  // Of a number that we never reached nothing of ours is refused yet.
  const std::uint64_t from = ours ? sequence : 0;

  if (current) {
    if (file_.epoch != epoch()) return true;  // about to end already; what is refused shows again
    if (file_.disputed.size() >= EpochFile::kDisputedMax) {
      ++counts_.evidence_refused;
      return false;
    }
    begin_epoch(wire::EpochOpening::Reason::rolled_back);
    change_->reason = wire::EpochOpening::Reason::rolled_back;
    std::uint64_t& known = change_->disputed_from[lane];
    if (from != 0 && (known == 0 || from < known)) known = from;
    return true;
  }
  EpochFile::Disputed* disputed = file_.find(stream.epoch);
  if (disputed == nullptr) {
    if (file_.disputed.size() >= EpochFile::kDisputedMax) {
      ++counts_.evidence_refused;
      return false;
    }
    file_.disputed.push_back({stream.epoch, {}, {}});
    disputed = &file_.disputed.back();
  }
  std::uint64_t& known = disputed->from[lane];
  if (known != 0 && known <= from) return false;
  // Nothing before what was disputed so far is sealed again yet, whatever the list says.
  if (known != 0) disputed->done[lane].remove({from, known - 1});
  known = from;
  lanes_[lane].look = true;
  return true;
}

void Origin::begin_epoch(wire::EpochOpening::Reason reason) {
  if (!change_) change_ = Change{reason, {}, 0};
}

/// Everything sealed is on disk. What the new epoch is called stands in the file before anything
/// is sealed in it.
void Origin::change_epoch() {
  const Change change = *std::exchange(change_, std::nullopt);
  for (const wire::Lane lane : wire::kLanes) {
    // Copies that are made are over; the others are found again and planned for the new epoch.
    EpochFile::Plan old = std::exchange(plan(lane), {});
    LaneState& state = of(lane);
    for (std::size_t i = 0; i < state.copied; ++i) file_.done_up_to(old.copies[i], lane);
    state.copied = state.copies_on_disk = 0;
    state.reading = false;
    state.look = true;
  }
  wire::EpochOpening opening;
  opening.previous = epoch();
  opening.reason = change.reason;
  for (const wire::Lane lane : wire::kLanes) {
    const Outbox::Position& durable = of(lane).durable;
    opening.lanes[wire::index_of(lane)] = {durable.sequence, durable.hash};
  }
  if (change.reason == wire::EpochOpening::Reason::rolled_back) {
    file_.disputed.push_back({epoch(), change.disputed_from, {}});
    ++counts_.set_back;
  }
  file_.epoch = {std::max(epoch().ordinal, change.above) + 1, random_.u64()};
  opening_ = opening;
  ++revision_;
}

// ---- The file

std::optional<Bytes> Origin::file_to_write() {
  if (!file_is_due() || writing_revision_) return std::nullopt;
  writing_revision_ = revision_;
  return encode(file_);
}

void Origin::file_durable() {
  invariant(writing_revision_.has_value(), "the epoch file was being written");
  durable_revision_ = *std::exchange(writing_revision_, std::nullopt);
  if (file_.epoch == epoch()) return;
  outbox_.emplace(identity_, file_.epoch);
  for (LaneState& lane : lanes_) lane.durable = {};
}

void Origin::file_failed() { writing_revision_ = std::nullopt; }

// ---- Sealing

void Origin::step(WallTime now) {
  if (file_is_due()) return;
  if (change_) {
    if (idle() && !event_reserved_) change_epoch();
    return;
  }
  if (opening_) {
    push(outbox_->seal_opening(*opening_, now), std::nullopt, true);
    opening_ = std::nullopt;
  }
  make_plans();
  if (file_is_due()) return;
  for (const wire::Lane lane : wire::kLanes) seal_lane(lane, now);
}

void Origin::push(Outbox::Sealed sealed, std::optional<Done> done, bool reserved) {
  LaneState& lane = of(sealed.stream.lane);
  Item item;
  item.sealed = std::move(sealed);
  item.done = std::move(done);
  item.reserved = reserved;
  lane.sealed.push_back(std::move(item));
}

/// A lane's plan is made when nothing of the lane waits for the disk, so that its base is the end
/// of the lane on disk; the lane seals nothing else meanwhile.
void Origin::make_plans() {
  // An epoch without its opening on disk is given up at a restart, and its plans with it.
  if (lanes_[0].durable.sequence == 0) return;
  for (const wire::Lane lane : wire::kLanes) {
    if (lane == wire::Lane::event && event_reserved_) continue;
    LaneState& state = of(lane);
    EpochFile::Plan& current = plan(lane);
    if (state.copies_on_disk < current.copies.size()) continue;
    if (!current.copies.empty()) {
      for (const EpochFile::Copy& copy : current.copies) file_.done_up_to(copy, lane);
      current = {};
      state.copied = state.copies_on_disk = 0;
      state.look = true;  // there may be more than a plan holds
      ++revision_;
    }
    if (!state.look || !state.sealed.empty()) continue;
    state.look = false;
    std::vector<EpochFile::Copy> copies = find_copies(lane);
    if (copies.empty()) continue;
    current = {state.durable.sequence, std::move(copies)};
    ++revision_;
  }
}

std::vector<EpochFile::Copy> Origin::find_copies(wire::Lane lane) const {
  const auto index = wire::index_of(lane);
  std::vector<EpochFile::Copy> copies;
  for (const EpochFile::Disputed& disputed : file_.disputed) {
    if (disputed.from[index] == 0) continue;
    for (const Range& held : holdings_.held({node_, disputed.epoch, lane})) {
      if (held.last < disputed.from[index]) continue;
      const Range refused{std::max(held.first, disputed.from[index]), held.last};
      for (const Range& range : disputed.done[index].missing(refused))
        for (std::uint64_t n = range.first; n <= range.last; ++n) {
          if (copies.size() == EpochFile::kCopiesMax) return copies;
          copies.push_back({disputed.epoch, n});
        }
    }
  }
  return copies;
}

void Origin::seal_lane(wire::Lane lane, WallTime now) {
  LaneState& state = of(lane);
  if (state.look || state.copied < plan(lane).copies.size()) return;
  if (lane == wire::Lane::event && event_reserved_) return;
  if (lane == wire::Lane::state) seal_records(now);
  while (!state.waiting.empty()) {
    const Observation& next = state.waiting.front();
    push(outbox_->seal(lane, next.kind, next.payload, now), std::nullopt, false);
    state.waiting.pop_front();
  }
}

void Origin::seal_records(WallTime now) {
  std::size_t used = reserved();
  for (; !releases_.empty() && used < limits_.reserve_max; ++used) {
    const wire::ReleaseRecord release = releases_.front();
    releases_.pop_front();
    push(outbox_->seal_release(release, now),
         Done{Done::What::released, release.stream, {release.first, release.last}}, true);
  }
  for (; !gaps_.empty() && used < limits_.reserve_max; ++used) {
    const wire::GapRecord gap = gaps_.front();
    gaps_.pop_front();
    std::optional<Done> done;
    if (gap.reason == wire::GapRecord::Reason::shed)
      done = Done{Done::What::shed, gap.stream, {gap.first, gap.last}};
    push(outbox_->seal_gap(gap, now), done, true);
  }
  if (probe_ && used < limits_.reserve_max) {
    push(outbox_->seal_probe(*probe_, now), std::nullopt, true);
    probe_ = std::nullopt;
  }
}

bool Origin::on_sample(std::vector<Observation> sample, WallTime now) {
  if (waiting() >= limits_.sealed_max) {
    ++counts_.samples_dropped;
    return false;
  }
  for (Observation& observation : sample)
    of(observation.lane).waiting.push_back(std::move(observation));
  step(now);
  return true;
}

std::optional<Origin::Reserved> Origin::reserve_event() {
  const LaneState& lane = of(wire::Lane::event);
  const bool changing = file_is_due() || change_ || opening_ || file_.epoch != epoch() ||
                        of(wire::Lane::state).durable.sequence == 0;
  if (changing || event_reserved_ || !lane.sealed.empty() || !lane.waiting.empty() || lane.look ||
      !plan(wire::Lane::event).copies.empty() || waiting() >= limits_.sealed_max)
    return std::nullopt;
  event_reserved_ = true;
  return Reserved{stream(wire::Lane::event), outbox_->position(wire::Lane::event).sequence + 1};
}

void Origin::seal_reserved(wire::PayloadKind kind, const Payload& payload, WallTime now) {
  invariant(event_reserved_, "the number was reserved");
  event_reserved_ = false;
  push(outbox_->seal(wire::Lane::event, kind, payload, now), std::nullopt, false);
}

bool Origin::on_trace(const ProbeId& id, TimePoint now) {
  if (probe_ || (probed_at_ && now - *probed_at_ < limits_.probe_interval)) {
    ++counts_.probes_refused;
    return false;
  }
  probe_ = id;
  probed_at_ = now;
  return true;
}

// ---- Gaps and releases

bool Origin::on_gap(const wire::GapRecord& gap) {
  if (gap.stream.node != node_ || gap.first == 0 || gap.last < gap.first) return false;
  NumberSet& gone = gone_[gap.stream];
  for (const Range& range : gone.missing({gap.first, gap.last})) {
    wire::GapRecord piece = gap;
    piece.first = range.first;
    piece.last = range.last;
    if (range.first != gap.first || range.last != gap.last) {
      // A part of it was said before: counts and times of the rest alone are not known.
      piece.records = piece.bytes = 0;
      if (range.first != gap.first)
        piece.before = hash(gap.stream, range.first - 1).value_or(Digest{});
      if (range.last != gap.last) piece.at_last = hash(gap.stream, range.last).value_or(Digest{});
    }
    bool merged = false;
    for (auto known = gaps_.begin(); known != gaps_.end() && !merged; ++known) {
      if (follows(*known, piece)) {
        append(*known, piece);
        merged = true;
      } else if (follows(piece, *known)) {
        append(piece, *known);
        *known = piece;
        merged = true;
      }
    }
    if (!merged) {
      if (gaps_.size() >= limits_.pending_max) {
        ++counts_.records_refused;
        if (gone.ranges().empty()) gone_.erase(gap.stream);
        return false;
      }
      gaps_.push_back(piece);
    }
    gone.add(range);
  }
  return true;
}

bool Origin::on_release(const wire::ReleaseRecord& release) {
  if (release.stream.node != node_ || release.first == 0 || release.last < release.first)
    return false;
  for (wire::ReleaseRecord& known : releases_) {
    if (known.stream != release.stream || known.parent != release.parent) continue;
    if (release.first >= known.first && release.last <= known.last) return true;
    if (known.last == release.first - 1) {
      known.last = release.last;
      known.at_last = release.at_last;
      return true;
    }
    if (release.last == known.first - 1) {
      known.first = release.first;
      return true;
    }
  }
  if (releases_.size() >= limits_.pending_max) {
    ++counts_.records_refused;
    return false;
  }
  releases_.push_back(release);
  return true;
}

void Origin::on_state_given_up() {
  gone_.clear();
  for (const wire::GapRecord& gap : gaps_) gone_[gap.stream].add({gap.first, gap.last});
}

void Origin::on_unreadable(const wire::StreamKey& stream, std::uint64_t sequence) {
  if (stream.node != node_) return;
  if (stream == this->stream(stream.lane) && sequence == of(stream.lane).durable.sequence)
    begin_epoch(wire::EpochOpening::Reason::unreadable);
  if (stream.lane == wire::Lane::state) on_state_given_up();
  if (const auto* disputed = file_.find(stream.epoch))
    if (disputed->done[wire::index_of(stream.lane)].contains(sequence)) return;  // a leftover
  drop_copy(stream, sequence);
  wire::GapRecord gap;
  gap.stream = stream;
  gap.first = gap.last = sequence;
  gap.before = hash(stream, sequence - 1).value_or(Digest{});
  gap.at_last = hash(stream, sequence).value_or(Digest{});
  gap.reason = wire::GapRecord::Reason::unreadable;
  on_gap(gap);
}

Origin::Answer Origin::on_question(const Hole& hole) {
  Answer answer;
  Range range = hole.range;
  if (hole.stream.node != node_ || range.first == 0 || range.last < range.first) return answer;
  const bool current = hole.stream.epoch == epoch();
  if (!current && hole.stream.epoch.ordinal >= epoch().ordinal) {
    outlive(hole.stream.epoch);
    return answer;
  }
  if (const auto end = of(hole.stream.lane).durable.sequence; current && range.last > end) {
    // There are later ones than we ever made. What is missing is closed when this epoch is over.
    if (file_.epoch == epoch() && file_.disputed.size() < EpochFile::kDisputedMax)
      begin_epoch(wire::EpochOpening::Reason::rolled_back);
    range.last = end;
  }
  if (range.last < range.first) return answer;
  if (hole.at_last) dispute(hole.stream, hole.range.last, *hole.at_last);
  if (hole.before && range.first > 1) dispute(hole.stream, range.first - 1, *hole.before);

  NumberSet explained = queued(hole.stream);
  for (const Range& held : holdings_.held(hole.stream)) {
    explained.add(held);
    if (held.last >= range.first && held.first <= range.last)
      answer.send_again.push_back(
          {std::max(held.first, range.first), std::min(held.last, range.last)});
  }
  for (const Range& settled : holdings_.settled(hole.stream)) explained.add(settled);
  for (const wire::ReleaseRecord& release : holdings_.released(hole.stream, range)) {
    explained.add({release.first, release.last});
    if (on_release(release)) ++answer.releases;
  }
  if (const auto gone = gone_.find(hole.stream); gone != gone_.end())
    for (const Range& said : gone->second.ranges()) explained.add(said);

  NumberSet lost;
  for (const Range& shed : holdings_.lost_above(hole.stream, range))
    for (const Range& missing :
         explained.missing({std::max(shed.first, range.first), std::min(shed.last, range.last)}))
      lost.add(missing);
  for (const Range& missing : explained.missing(range))
    for (const Range& piece : lost.missing(missing))
      if (give_up(hole, piece,
                  file_.find(hole.stream.epoch) != nullptr ? Reason::set_back : Reason::unreadable))
        ++answer.gaps;
  for (const Range& shed : lost.ranges())
    if (give_up(hole, shed, Reason::shed)) ++answer.gaps;
  return answer;
}

/// An epoch of another life of this node, with holes that it does not close: its folder is gone, or
/// has a newer copy in this one. Of ours, when it is behind that one, we are asked again.
void Origin::outlive(const wire::Epoch& other) {
  if (file_.find(other) != nullptr || other.ordinal == std::numeric_limits<std::uint32_t>::max())
    return;
  if (file_.disputed.size() >= EpochFile::kDisputedMax) {
    ++counts_.evidence_refused;
    return;
  }
  file_.disputed.push_back({other, {}, {}});
  ++revision_;
  begin_epoch(wire::EpochOpening::Reason::rolled_back);
  change_->above = std::max(change_->above, other.ordinal);
}

/// What nobody has any more. The record must fit what the server has on both sides of it: its
/// hashes come before ours, which may be of a batch that it refused.
bool Origin::give_up(const Hole& hole, const Range& range, Reason reason) {
  wire::GapRecord gap;
  gap.stream = hole.stream;
  gap.first = range.first;
  gap.last = range.last;
  gap.reason = reason;
  if (range.first > 1) {
    const auto ours = hash(hole.stream, range.first - 1);
    const auto told = range.first == hole.range.first ? hole.before : std::nullopt;
    gap.before = told ? *told : ours.value_or(Digest{});
  }
  const auto ours = hash(hole.stream, range.last);
  const auto told = range.last == hole.range.last ? hole.at_last : std::nullopt;
  gap.at_last = told ? *told : ours.value_or(Digest{});
  return on_gap(gap);
}

// ---- To and from the disk

const Outbox::Sealed* Origin::next_to_write(wire::Lane lane) {
  LaneState& state = of(lane);
  if (state.writing || state.sealed.empty()) return nullptr;
  state.writing = true;
  // What stands before a record that makes room must not keep it from the disk.
  Outbox::Sealed& next = state.sealed.front().sealed;
  next.makes_room =
      std::ranges::any_of(state.sealed, [](const Item& item) { return item.sealed.makes_room; });
  return &next;
}

Outbox::Sealed Origin::written(wire::Lane lane) {
  LaneState& state = of(lane);
  invariant(state.writing, "a batch of this lane was being written");
  state.writing = false;
  Item item = std::move(state.sealed.front());
  state.sealed.pop_front();
  state.durable = {item.sealed.sequence, item.sealed.hash};
  if (item.copy) ++state.copies_on_disk;
  if (item.done) done_.push_back(*item.done);
  return std::move(item.sealed);
}

void Origin::write_failed(wire::Lane lane) { of(lane).writing = false; }

std::vector<Origin::Done> Origin::take_done() { return std::exchange(done_, {}); }

// ---- Sealing again

std::optional<Origin::Wanted> Origin::next_to_read(wire::Lane lane) {
  LaneState& state = of(lane);
  const auto& copies = plan(lane).copies;
  if (file_is_due() || change_ || opening_ || state.reading || state.copied >= copies.size() ||
      state.sealed.size() >= limits_.reserve_max)
    return std::nullopt;
  state.reading = true;
  const EpochFile::Copy& next = copies[state.copied];
  return Wanted{{node_, next.epoch, lane}, next.sequence};
}

void Origin::read_failed(const Wanted& wanted) { of(wanted.stream.lane).reading = false; }

void Origin::read_unreadable(const Wanted& wanted) {
  of(wanted.stream.lane).reading = false;
  on_unreadable(wanted.stream, wanted.sequence);
}

void Origin::read_gone(const Wanted& wanted) {
  of(wanted.stream.lane).reading = false;
  drop_copy(wanted.stream, wanted.sequence);
}

/// No copy is to be made of this one, if there is none yet. The next one is made when the file
/// says so.
void Origin::drop_copy(const wire::StreamKey& stream, std::uint64_t sequence) {
  const auto lane = stream.lane;
  auto& copies = plan(lane).copies;
  const EpochFile::Copy copy{stream.epoch, sequence};
  const auto at =
      std::find(copies.begin() + static_cast<std::ptrdiff_t>(of(lane).copied), copies.end(), copy);
  if (at == copies.end()) return;
  copies.erase(at);
  file_.done(copy, lane);
  of(lane).look = true;  // an emptied plan may have left more behind
  ++revision_;
}

void Origin::read(const Wanted& wanted, ByteView message, WallTime now) {
  const wire::Lane lane = wanted.stream.lane;
  LaneState& state = of(lane);
  state.reading = false;
  const auto& copies = plan(lane).copies;
  // What was asked for before something changed is asked for again.
  if (file_is_due() || change_ || opening_ || state.copied >= copies.size() ||
      copies[state.copied] != EpochFile::Copy{wanted.stream.epoch, wanted.sequence})
    return;
  const auto stamped = wire::read_stamped(message);
  if (!stamped) return read_unreadable(wanted);
  const auto batch = wire::read_batch(stamped->body);
  if (!batch || batch->header.stream != wanted.stream ||
      batch->header.sequence != wanted.sequence ||
      sha256(batch->payload) != batch->header.payload_hash)
    return read_unreadable(wanted);
  const Range range{wanted.sequence, wanted.sequence};
  const Done done{Done::What::sealed_again, wanted.stream, range};
  if (batch->header.kind == wire::PayloadKind::epoch_opening ||
      batch->header.kind == wire::PayloadKind::release) {
    // True of the old epoch only.
    drop_copy(wanted.stream, wanted.sequence);
    done_.push_back(done);
    return;
  }
  push(outbox_->seal_again(*batch, now), done, false);
  state.sealed.back().copy = true;
  ++state.copied;
  ++counts_.sealed_again;
}

}  // namespace postern::node
