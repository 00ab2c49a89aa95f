// Our own batches: what the origin decides, done on the disk.

#include <algorithm>

#include "base/invariant.h"
#include "node/node.h"

namespace postern::node {
namespace {

constexpr Duration kDiskRetry = std::chrono::seconds(2);
constexpr Duration kTraceAgeMax = std::chrono::seconds(60);  // channel.md#W54
constexpr std::uint64_t kDropsLoggedEvery = 60;

relay::Held held_from(const Outbox::Sealed& sealed) {
  auto stamped = wire::read_stamped(*sealed.message);
  auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
  invariant(batch.has_value(), "what we sealed can be read");
  return relay::held_of(batch->header, sealed.hash, sealed.message);
}

}  // namespace

void Node::on_sample(Sampler::Sample sample) {
  std::vector<Origin::Observation> observations;
  for (Payload& payload : sample.inventory)
    observations.push_back({wire::Lane::state, wire::PayloadKind::logs, std::move(payload)});
  for (Payload& payload : sample.metrics)
    observations.push_back({wire::Lane::metric, wire::PayloadKind::metrics, std::move(payload)});
  if (!origin_->on_sample(std::move(observations), around_.clock.wall())) {
    // Dropped before it had a number: no hole, but said aloud (rule D7).
    const std::uint64_t dropped = origin_->counts().samples_dropped;
    if (dropped % kDropsLoggedEvery == 1)
      log_.error("the disk takes nothing; measurements are not kept ({} rounds so far)", dropped);
    return;
  }
  drive();
}

std::optional<events::BatchNumber> Node::reserve_event() {
  const auto reserved = origin_->reserve_event();
  if (!reserved) return std::nullopt;
  const wire::Epoch& epoch = reserved->stream.epoch;
  return events::BatchNumber{epoch.ordinal, epoch.random, reserved->sequence};
}

void Node::seal_event(const Payload& payload) {
  origin_->seal_reserved(wire::PayloadKind::logs, payload, around_.clock.wall());
  drive();
}

bool Node::was_sealed(const events::BatchNumber& batch) const {
  const auto last = relay_.last_of(
      {identity_.self.id, {batch.epoch_ordinal, batch.epoch_random}, wire::Lane::event});
  return last && last->first >= batch.sequence;
}

void Node::drive() {
  origin_->step(around_.clock.wall());
  if (!file_retry_.running())
    if (auto file = origin_->file_to_write()) write_file(std::move(*file));
  for (const wire::Lane lane : wire::kLanes) {
    const std::size_t i = wire::index_of(lane);
    if (!write_retries_[i].running()) write_own(lane);
    if (read_retries_[i].running()) continue;
    if (const auto wanted = origin_->next_to_read(lane)) read_again(lane, *wanted);
  }
  for (const Origin::Done& done : origin_->take_done()) finish(done);
}

void Node::write_file(Bytes bytes) {
  files_->post([this, alive = alive_, bytes = std::move(bytes)] {
    auto written = around_.disk.write_file(epoch_file(settings_.state_dir), bytes, 0600);
    core_.post([this, alive, written = std::move(written)] {
      if (!*alive) return;
      if (written) {
        origin_->file_durable();
      } else {
        log_.error("the epoch cannot be written down, trying again: {}", written.error().message);
        origin_->file_failed();
        file_retry_ = core_.after(kDiskRetry, [this] { drive(); });
      }
      drive();
    });
  });
}

void Node::write_own(wire::Lane lane) {
  const Outbox::Sealed* next = origin_->next_to_write(lane);
  if (next == nullptr) return;
  relay_.writing(next->stream, next->sequence, next->hash);
  spool_->append(
      {next->stream, next->sequence, next->hash, next->message, next->makes_room},
      [this, lane](Result<spool::Location> stored) {
        if (!stored) {
          if (!disk_ails_)
            log_.error("the spool does not take a batch, trying again: {}", stored.error().message);
          disk_ails_ = true;
          origin_->write_failed(lane);
          write_retries_[wire::index_of(lane)] = core_.after(kDiskRetry, [this] { drive(); });
          if (stored.error().code == Errc::exhausted) make_room(0);
          return;
        }
        if (disk_ails_) log_.info("the spool takes batches again");
        disk_ails_ = false;
        ++own_batches_;
        relay::Held held = held_from(origin_->written(lane));
        held.location = *stored;
        relay_.added(std::move(held));
        if (events_ && lane == wire::Lane::event) events_->on_durable();
        drive();
        look_at_space();
        uplink_.pump();
      });
}

/// Something that was refused in an older epoch and gets a new number (batch.md#B26).
void Node::read_again(wire::Lane lane, const Origin::Wanted& wanted) {
  const relay::Held* copy = relay_.copy_of(wanted.stream, wanted.sequence);
  if (copy == nullptr) {
    origin_->read_gone(wanted);
    core_.post([this, alive = alive_] {
      if (*alive) drive();
    });
    return;
  }
  spool_->read(copy->location, [this, lane, wanted](Result<Bytes> message) {
    if (message) {
      origin_->read(wanted, *message, around_.clock.wall());
    } else if (message.error().code == Errc::unavailable) {
      origin_->read_failed(wanted);
      read_retries_[wire::index_of(lane)] = core_.after(kDiskRetry, [this] { drive(); });
      return;
    } else {
      log_.error("batch {} of {} cannot be sealed again: {}", wanted.sequence, wanted.stream.text(),
                 message.error().message);
      origin_->read_unreadable(wanted);
      if (auto location = relay_.unreadable(wanted.stream, wanted.sequence))
        spool_->release({*location});
    }
    drive();
  });
}

void Node::finish(const Origin::Done& done) {
  const relay::Range range{done.range.first, done.range.last};
  std::vector<spool::Location> free;
  switch (done.what) {
    case Origin::Done::What::shed:
      free = relay_.shed(done.stream, range);
      break;
    case Origin::Done::What::released:
      free = relay_.released(done.stream, range);
      break;
    case Origin::Done::What::sealed_again:
      free = relay_.forget(done.stream, range);
      break;
  }
  for (const spool::Location& location : free)
    promised_ -= std::min<std::uint64_t>(promised_, location.bytes);
  spool_->release(std::move(free));
}

// ---- What it is told

void Node::on_set_back(const wire::Coverage& coverage) {
  if (origin_->on_settled(coverage))
    log_.error(
        "the management server knows batches of {} that this node never made: its state folder was "
        "set back or copied; it goes on in a new epoch",
        coverage.stream.text());
  drive();
}

void Node::on_evidence(const wire::StreamKey& stream, ByteView evidence) {
  if (origin_->on_evidence(evidence))
    log_.error(
        "{} shows a batch of {} with our own signature that this node never made: its state folder "
        "was set back or copied; it goes on in a new epoch",
        uplink_.parent(), stream.text());
  drive();
}

void Node::on_hole(const Origin::Hole& hole) {
  const Origin::Answer answer = origin_->on_question(hole);
  if (answer.gaps > 0)
    log_.warning(
        "the management server asks for batches {} to {} of {}: they are not here any more",
        hole.range.first, hole.range.last, hole.stream.text());
  drive();
}

void Node::on_trace(const wire::pb::TraceQuestion& trace) {
  Origin::ProbeId id;
  if (trace.id().size() != id.size()) return;
  const ByteView bytes = as_bytes(trace.id());
  std::copy(bytes.begin(), bytes.end(), id.begin());
  const auto tick = trust_.newest_tick();
  if (tick && *tick - wall_from_ms(trace.issued_ms()) > kTraceAgeMax) return;
  if (origin_->on_trace(id, core_.now())) drive();
}

/// Asks for the newest batch that is held of every older epoch: of one that was set back we do not
/// know how it ended, so the server's settled of it may name nothing that we have (W55).
void Node::confirm_older_epochs() {
  std::uint64_t id = kOwnRequest;
  for (const wire::StreamKey& stream : relay_.streams()) {
    if (stream.node != identity_.self.id || stream.epoch == origin_->epoch()) continue;
    const auto held = relay_.held_ranges(stream);
    const relay::Held* newest = held.empty() ? nullptr : relay_.copy_of(stream, held.back().last);
    if (newest == nullptr) continue;
    Writer key;
    stream.write(key);
    wire::pb::Confirm confirm;
    confirm.set_stream(field_of(key.written()));
    confirm.set_sequence(newest->sequence);
    confirm.set_hash(field_of(newest->hash));
    wire::pb::Request request;
    request.set_id(++id);
    request.set_kind(kConfirmRequest);
    request.set_body(confirm.SerializeAsString());
    uplink_.send(message_of(wire::Type::request, request));
  }
}

// ---- Origin::Holdings

std::vector<Origin::Range> Node::held(const wire::StreamKey& stream) const {
  std::vector<Origin::Range> ranges;
  for (const relay::Range& range : relay_.held_ranges(stream))
    ranges.push_back({range.first, range.last});
  return ranges;
}

std::vector<Origin::Range> Node::settled(const wire::StreamKey& stream) const {
  std::vector<Origin::Range> ranges;
  if (const wire::Settled* known = relay_.settled(stream))
    for (const wire::Interval& interval : known->coverage.intervals)
      ranges.push_back({interval.first, interval.last});
  return ranges;
}

std::vector<wire::ReleaseRecord> Node::released(const wire::StreamKey& stream,
                                                Origin::Range range) const {
  return relay_.releases_within(stream, {range.first, range.last}, core_.now());
}

std::vector<Origin::Range> Node::lost_above(const wire::StreamKey& stream,
                                            Origin::Range range) const {
  std::vector<Origin::Range> ranges;
  for (const relay::Range& lost :
       relay_.lost_releases_within(stream, {range.first, range.last}, core_.now()))
    ranges.push_back({lost.first, lost.last});
  return ranges;
}

std::optional<Digest> Node::hash(const wire::StreamKey& stream, std::uint64_t sequence) const {
  return relay_.hash_of(stream, sequence);
}

}  // namespace postern::node
